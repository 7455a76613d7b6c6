"""The dock: choose layers, see the settings, run, watch, keep."""

from __future__ import annotations

import logging
import math
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from napari.layers import Image
from napari.utils import progress
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QLabel, QVBoxLayout, QWidget

from napari_dip.core.errors import RestorationError
from napari_dip.core.progress import Progress
from napari_dip.plugin import preferences as remembered
from napari_dip.plugin.docks.scrolling_dock import ScrollingDock, ignore_wheel, set_tab_order
from napari_dip.plugin.session.forecast_worker import Forecast, ForecastReport
from napari_dip.plugin.session.run import State
from napari_dip.plugin.session.session import Session
from napari_dip.plugin.widgets.export_buttons import ExportButtons
from napari_dip.plugin.widgets.inputs import Inputs
from napari_dip.plugin.widgets.loss_plot import LossPlot
from napari_dip.plugin.widgets.recipe_form import RecipeForm, spare_threads
from napari_dip.plugin.widgets.result_controls import ResultControls
from napari_dip.plugin.widgets.run_controls import RunControls, cost_text, progress_text
from napari_dip.run.forecast import typical_steps
from napari_dip.run.recipe import Recipe

if TYPE_CHECKING:
    import napari

log = logging.getLogger(__name__)

DRAWING_SHARE = 8  # for each second of drawing, seconds without
SLOW_DRAWING = 0.03  # seconds; a window without a graphics card takes three times as long
IDLE_MESSAGE = "Press Run: it stops by itself, and your image is not changed."


class RestoreDock(ScrollingDock):
    """One task's dock, opened on its preset; it can do all tasks."""

    preset: ClassVar[str]

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        viewer = self._viewer = napari_viewer  # napari gives the viewer to an argument of this name
        self.session = Session(viewer)
        self._activity: Any = None
        self._quiet_until = self._next_preview = 0.0
        self._typical_steps, self._device = 0, "cpu"
        self.plot = LossPlot(get_theme(viewer.theme))
        super().__init__()

        self.form = RecipeForm(self.preset)
        self.inputs = Inputs(viewer, self.form)
        self.form.lay_out()
        self.forecast = Forecast()
        self.run_controls, self.result_controls = RunControls(), ResultControls(self.session)
        self.export_buttons = ExportButtons(self._collect, lambda: (self.form.recipe(), self.form.title))
        self.say(IDLE_MESSAGE)
        self._lay_out()
        self._connect()
        self._update_forecast()
        self._show_state(State.IDLE)

    def stop_work(self) -> None:
        """Cancel what runs."""
        self.forecast.close()
        self.session.cancel()
        self._close_activity()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Follow napari's theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange and not self.session.closed:
            self.plot.restyle(get_theme(self._viewer.theme))

    def reset_choices(self, event: Any = None) -> None:
        """Called by napari when layers come, go, move or change their names."""
        if self.session.closed:
            return
        self.inputs.refresh()
        self._show_state(self.session.state)

    def run(self) -> None:
        """Begin, or say in one sentence why not."""
        if self.inputs.layer is None:
            return
        self.plot.clear_curves()
        self.say("Starting ...")
        self.window().destroyed.connect(_close_session(self.session))
        self.forecast.cancel()
        try:
            recipe, layer, inputs = self._collect()
            self._typical_steps = typical_steps(recipe)
            self._device = recipe.compute.resolve_device().type
            self.session.run(recipe, layer, **inputs)
        except (RestorationError, MemoryError, OSError) as error:  # also of lazily read layers
            self.say(str(error) or "the memory is full: restore a smaller crop", error=True)
            return
        try:
            remembered.save_recipe(remembered.LAST_RUN, self.form.recipe())
        except OSError:
            log.exception("the settings of this run could not be kept")
        self.form.list_tasks()

    def _collect(self) -> tuple[Recipe, Image, dict[str, Any]]:
        """What a run would be given."""
        recipe = self.form.recipe(threads=spare_threads())
        return recipe, self.inputs.image.layer(), self.inputs.collect(recipe)

    def _update_forecast(self) -> None:
        """Ask for what the recipe needs, and have it found out what is known of the run beforehand."""
        for role in self.inputs.roles:
            self.inputs.show_error(role)
        recipe, layer = self.form.check(threads=spare_threads()), self.inputs.layer
        if recipe is not None:  # no entry that is being typed
            self.inputs.show(recipe)
        if recipe is None or layer is None or self.session.state != State.IDLE:
            self.forecast.cancel()
            self._show_report(ForecastReport())
            return
        try:
            inputs = self.inputs.collect(recipe)
        except RestorationError as error:
            self.forecast.cancel()
            self._show_report(ForecastReport(errors={"image": str(error)}))
            return
        self.forecast.request(recipe, layer, self.inputs.axes.sizes, inputs)

    def _show_report(self, told: ForecastReport) -> None:
        """The noise, the cost, and what is wrong, each where it belongs."""
        outlook = told.estimate
        suggested = self.form.set_placeholder("noise.sigma", f"{outlook.sigma:.4g}" if outlook else "")
        if outlook is None or (suggested and outlook.source == "estimated"):
            self.form.noise.setText("")  # the entry says it all
        else:
            self.form.noise.setText(f"{outlook.sigma:.4g}: {outlook.source}.")
        self.form.cost.setText(cost_text(outlook) if outlook else "")
        for where, sentence in told.errors.items():
            if where in self.inputs.roles:
                self.inputs.show_error(where, sentence)
            elif not self.form.show_error_for(where, sentence):
                self.inputs.show_error("image", sentence)
        self.form.show_notes()

    def _follow_form(self) -> None:
        self._update_forecast()
        self._show_state(self.session.state)

    def _on_refused(self, sentence: str) -> None:
        self.say(sentence, error=True)

    def _on_measured(self, sigma: float) -> None:
        """Take the noise of a region, where the form asks for one number."""
        try:
            self.form.entry("noise.sigma").value = f"{sigma:.4g}"
        except KeyError:
            self.say(f"The noise there is {sigma:.4g}; it is used where Noise is 'gaussian'.")

    def _pause_or_resume(self) -> None:
        if self.session.state == State.PAUSED:
            self.session.resume(self.inputs.mask.layer())
        else:
            self.session.pause()

    def _lay_out(self) -> None:
        body = QWidget()
        column = QVBoxLayout(body)
        column.setSpacing(4)
        for part in (
            self.form,
            self.form.advanced_box,
            self.run_controls,
            self.status,
            self.result_controls,
            self.plot,
        ):
            column.addWidget(part)
        self.form.advanced_layout.addRow(self.export_buttons)
        column.addStretch(1)
        self.setWidget(body)
        ignore_wheel(body)
        set_tab_order((*self.inputs.tab_order, *self.form.tab_order, *self.run_controls.tab_order))

    def _connect(self) -> None:
        self.form.changed.connect(self._follow_form)
        self.form.refused.connect(self._on_refused)
        self.inputs.changed.connect(self._update_forecast)
        self.inputs.message.connect(self._on_message)
        self.inputs.measured.connect(self._on_measured)
        self.forecast.ready.connect(self._show_report)
        self.run_controls.run_button.clicked.connect(self.run)
        self.run_controls.paused.connect(self._pause_or_resume)
        self.run_controls.stop_button.clicked.connect(self.session.finish)
        self.run_controls.discard_button.clicked.connect(self.session.cancel)
        self.result_controls.message.connect(self._on_message)
        self.result_controls.step_selected.connect(self.plot.mark)
        self.export_buttons.message.connect(self._on_message)
        self.export_buttons.recipe_saved.connect(self.form.list_tasks)
        self.session.changed.connect(self._show_state)
        self.session.progressed.connect(self._show_progress)
        self.session.message.connect(self._on_message)
        self.session.finished.connect(self.plot.show_result)
        QApplication.instance().aboutToQuit.connect(_close_session(self.session))

    def _show_state(self, state: State) -> None:
        idle, layer = state == State.IDLE, self.inputs.layer
        self.run_controls.show_state(state, ready=layer is not None)
        self.export_buttons.copy_button.setEnabled(layer is not None)
        self.form.enable(on=idle)
        self.inputs.enable(on=idle, holes=state == State.PAUSED)
        self.result_controls.refresh()
        self.plot.setVisible(not idle or self.session.current_run is not None)
        if idle:
            self._close_activity()
            if layer is None:
                self.say("Open an image first: drop a file here, or File > Open Sample.")
            elif self.status.text().startswith("Open an image"):
                self.say(IDLE_MESSAGE)
        elif state == State.RUNNING:
            self._next_preview = self._quiet_until = 0.0
            if self._activity is None:
                self._activity = progress(total=1000, desc=self.form.title)
        elif state == State.PAUSED:
            self.say("Paused. Paint more holes if there are any, then Resume.")
        else:
            self.say(f"{state} ...")

    def _show_progress(self, iterate: Progress) -> None:
        begun = time.monotonic()
        if begun >= self._next_preview:
            self._next_preview = math.inf  # until this one is drawn
            self.session.ask_for_preview()
        if iterate.image is None and begun < self._quiet_until:
            return
        if iterate.image is not None:
            self.result_controls.refresh()
        self.plot.add(iterate)
        done = (
            int(1000 * min(iterate.step / max(self._typical_steps, 1), 1))
            if iterate.is_single_fit
            else 0
        )
        done = max(done, int(1000 * iterate.fraction_done))
        self.run_controls.bar.setValue(done)
        if self.session.state == State.RUNNING:
            self.say(progress_text(iterate, self._typical_steps, self._device))
        # napari's progress bar runs the event loop, which may call us again: never from inside.
        activity, self._activity = self._activity, None
        if activity is not None:
            activity.update(done - activity.n)
            if self.session.state == State.IDLE:
                activity.close()
            else:
                self._activity = activity
        # The event loop has drawn the window by now. Where that is slow, do it less often: the
        # fit needs the processor more than we do.
        now = time.monotonic()
        drawing = now - begun
        if drawing > SLOW_DRAWING:
            self._limit_redraws()
        rest = 1 / remembered.preferences().watching.preview_rate
        self._quiet_until = now + max(rest, DRAWING_SHARE * drawing)
        if iterate.image is not None or math.isfinite(self._next_preview):
            self._next_preview = self._quiet_until

    def _limit_redraws(self) -> None:
        """Slow the wheel that turns in the status bar: every turn draws the whole window again."""
        for label in self.window().findChildren(QLabel):
            if label.movie() is not None:
                label.movie().setSpeed(10)

    def _on_message(self, sentence: str, error: bool) -> None:  # noqa: FBT001 - a signal's signature
        self.say(sentence, error=error)
        self.result_controls.refresh()

    def _close_activity(self) -> None:
        activity, self._activity = self._activity, None
        if activity is not None:
            activity.close()


class DenoiseDock(RestoreDock):
    """*Plugins > napari-dip > Denoise*."""

    preset = "denoise"


class InpaintDock(RestoreDock):
    """*Plugins > napari-dip > Inpaint*."""

    preset = "inpaint"


class SuperResolutionDock(RestoreDock):
    """*Plugins > napari-dip > Super-resolution*."""

    preset = "super-resolution"


class DeconvolveDock(RestoreDock):
    """*Plugins > napari-dip > Deconvolve*."""

    preset = "deconvolve"


class CombineDock(RestoreDock):
    """*Plugins > napari-dip > Combine exposures*."""

    preset = "combine"


class GuidedDock(RestoreDock):
    """*Plugins > napari-dip > Guided*."""

    preset = "guided"


class DynamicMriDock(RestoreDock):
    """*Plugins > napari-dip > Dynamic MRI*."""

    preset = "dynamic-mri"


def _close_session(session: Session) -> Callable[[], None]:
    """A function that closes `session` and does not keep it alive: its caller may outlive us all."""
    weak = weakref.ref(session)

    def close() -> None:
        if (alive := weak()) is not None:
            alive.close()

    return close
