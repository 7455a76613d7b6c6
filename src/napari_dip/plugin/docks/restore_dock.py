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

from napari_dip.core.errors import RestoreError
from napari_dip.core.progress import Iterate
from napari_dip.plugin import preferences as remembered
from napari_dip.plugin.docks.scrolling_dock import ScrollingDock, calm, tab_through
from napari_dip.plugin.session.forecast_worker import Forecast, Told
from napari_dip.plugin.session.run import State
from napari_dip.plugin.session.session import Session
from napari_dip.plugin.widgets.export_buttons import KeepRow
from napari_dip.plugin.widgets.inputs import Inputs
from napari_dip.plugin.widgets.loss_plot import CoursePlot
from napari_dip.plugin.widgets.recipe_form import RecipeForm, spare_threads
from napari_dip.plugin.widgets.result_controls import AfterPanel
from napari_dip.plugin.widgets.run_controls import RunPanel, cost_told, progress_told
from napari_dip.run.forecast import usual_steps
from napari_dip.run.recipe import Recipe

if TYPE_CHECKING:
    import napari

log = logging.getLogger(__name__)

DRAWING_SHARE = 8  # for each second of drawing, seconds without
SLOW_DRAWING = 0.03  # seconds; a window without a graphics card takes three times as long
RESTING = "Press Run: it stops by itself, and your image is not changed."


class RestoreDock(ScrollingDock):
    """One task's dock, opened on its preset; it can do all tasks."""

    preset: ClassVar[str]

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        viewer = self._viewer = napari_viewer  # napari gives the viewer to an argument of this name
        self.session = Session(viewer)
        self._activity: Any = None
        self._quiet_until = self._next_preview = 0.0
        self._usual, self._device = 0, "cpu"
        self.plot = CoursePlot(get_theme(viewer.theme))
        super().__init__()

        self.form = RecipeForm(self.preset)
        self.inputs = Inputs(viewer, self.form)
        self.form.lay_out()
        self.forecast = Forecast()
        self.panel, self.after = RunPanel(), AfterPanel(self.session)
        self.keep = KeepRow(self._asked, lambda: (self.form.recipe(), self.form.title))
        self.say(RESTING)
        self._lay_out()
        self._connect()
        self._foresee()
        self._show_state(State.IDLE)

    def let_go(self) -> None:
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
        self.plot.clear_course()
        self.say("Starting ...")
        self.window().destroyed.connect(_closing(self.session))
        self.forecast.forget()
        try:
            recipe, layer, inputs = self._asked()
            self._usual = usual_steps(recipe)
            self._device = recipe.compute.resolve_device().type
            self.session.run(recipe, layer, **inputs)
        except (RestoreError, MemoryError, OSError) as error:  # also of lazily read layers
            self.say(str(error) or "the memory is full: restore a smaller crop", error=True)
            return
        try:
            remembered.save(remembered.LAST, self.form.recipe())
        except OSError:
            log.exception("the settings of this run could not be kept")
        self.form.list_tasks()

    def _asked(self) -> tuple[Recipe, Image, dict[str, Any]]:
        """What a run would be given."""
        recipe = self.form.recipe(threads=spare_threads())
        return recipe, self.inputs.image.layer(), self.inputs.asked(recipe)

    def _foresee(self) -> None:
        """Ask for what the recipe needs, and have it found out what is known of the run beforehand."""
        for role in self.inputs.roles:
            self.inputs.remark(role)
        recipe, layer = self.form.check(threads=spare_threads()), self.inputs.layer
        if recipe is not None:  # no entry that is being typed
            self.inputs.show(recipe)
        if recipe is None or layer is None or self.session.state != State.IDLE:
            self.forecast.forget()
            self._show_told(Told())
            return
        try:
            inputs = self.inputs.asked(recipe)
        except RestoreError as error:
            self.forecast.forget()
            self._show_told(Told(wrong={"image": str(error)}))
            return
        self.forecast.ask(recipe, layer, self.inputs.axes.sizes, inputs)

    def _show_told(self, told: Told) -> None:
        """The noise, the cost, and what is wrong, each where it belongs."""
        outlook = told.outlook
        suggested = self.form.suggest("noise.sigma", f"{outlook.sigma:.4g}" if outlook else "")
        if outlook is None or (suggested and outlook.origin == "estimated"):
            self.form.noise.setText("")  # the entry says it all
        else:
            self.form.noise.setText(f"{outlook.sigma:.4g}: {outlook.origin}.")
        self.form.cost.setText(cost_told(outlook) if outlook else "")
        for where, sentence in told.wrong.items():
            if where in self.inputs.roles:
                self.inputs.remark(where, sentence)
            elif not self.form.blame(where, sentence):
                self.inputs.remark("image", sentence)
        self.form.show_notes()

    def _follow_form(self) -> None:
        self._foresee()
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
            self.session.resume(self.inputs.holes.layer())
        else:
            self.session.pause()

    def _lay_out(self) -> None:
        body = QWidget()
        column = QVBoxLayout(body)
        column.setSpacing(4)
        for part in (self.form, self.form.fold, self.panel, self.status, self.after, self.plot):
            column.addWidget(part)
        self.form.details.addRow(self.keep)
        column.addStretch(1)
        self.setWidget(body)
        calm(body)
        tab_through((*self.inputs.stops, *self.form.stops, *self.panel.stops))

    def _connect(self) -> None:
        self.form.changed.connect(self._follow_form)
        self.form.refused.connect(self._on_refused)
        self.inputs.changed.connect(self._foresee)
        self.inputs.said.connect(self._on_said)
        self.inputs.measured.connect(self._on_measured)
        self.forecast.told.connect(self._show_told)
        self.panel.run_button.clicked.connect(self.run)
        self.panel.paused.connect(self._pause_or_resume)
        self.panel.finish_button.clicked.connect(self.session.finish)
        self.panel.cancel_button.clicked.connect(self.session.cancel)
        self.after.said.connect(self._on_said)
        self.after.picked.connect(self.plot.mark)
        self.keep.said.connect(self._on_said)
        self.keep.kept.connect(self.form.list_tasks)
        self.session.changed.connect(self._show_state)
        self.session.advanced.connect(self._show_progress)
        self.session.said.connect(self._on_said)
        self.session.finished.connect(self.plot.show_result)
        QApplication.instance().aboutToQuit.connect(_closing(self.session))

    def _show_state(self, state: State) -> None:
        idle, layer = state == State.IDLE, self.inputs.layer
        self.panel.show_state(state, ready=layer is not None)
        self.keep.copy_button.setEnabled(layer is not None)
        self.form.enable(on=idle)
        self.inputs.enable(on=idle, holes=state == State.PAUSED)
        self.after.refresh()
        self.plot.setVisible(not idle or self.session.shown is not None)
        if idle:
            self._close_activity()
            if layer is None:
                self.say("Open an image first: drop a file here, or File > Open Sample.")
            elif self.status.text().startswith("Open an image"):
                self.say(RESTING)
        elif state == State.RUNNING:
            self._next_preview = self._quiet_until = 0.0
            if self._activity is None:
                self._activity = progress(total=1000, desc=self.form.title)
        elif state == State.PAUSED:
            self.say("Paused. Paint more holes if there are any, then Resume.")
        else:
            self.say(f"{state} ...")

    def _show_progress(self, iterate: Iterate) -> None:
        begun = time.monotonic()
        if begun >= self._next_preview:
            self._next_preview = math.inf  # until this one is drawn
            self.session.ask_for_preview()
        if iterate.image is None and begun < self._quiet_until:
            return
        if iterate.image is not None:
            self.after.refresh()
        self.plot.add(iterate)
        done = int(1000 * min(iterate.step / max(self._usual, 1), 1)) if iterate.alone else 0
        done = max(done, int(1000 * iterate.done))
        self.panel.bar.setValue(done)
        if self.session.state == State.RUNNING:
            self.say(progress_told(iterate, self._usual, self._device))
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
            self._calm_napari()
        rest = 1 / remembered.preferences().watching.preview_rate
        self._quiet_until = now + max(rest, DRAWING_SHARE * drawing)
        if iterate.image is not None or math.isfinite(self._next_preview):
            self._next_preview = self._quiet_until

    def _calm_napari(self) -> None:
        """Slow the wheel that turns in the status bar: every turn draws the whole window again."""
        for label in self.window().findChildren(QLabel):
            if label.movie() is not None:
                label.movie().setSpeed(10)

    def _on_said(self, sentence: str, error: bool) -> None:  # noqa: FBT001 - a signal's signature
        self.say(sentence, error=error)
        self.after.refresh()

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


def _closing(session: Session) -> Callable[[], None]:
    """A function that closes `session` and does not keep it alive: its caller may outlive us all."""
    weak = weakref.ref(session)

    def close() -> None:
        if (alive := weak()) is not None:
            alive.close()

    return close
