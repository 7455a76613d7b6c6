"""The docks that restore an image: choose layers and settings, run, watch, and keep the result."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

from napari.layers import Image
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QVBoxLayout, QWidget

from napari_dip.core.errors import RestorationError, describe_unexpected
from napari_dip.core.progress import Progress
from napari_dip.core.result import Result
from napari_dip.plugin import preferences
from napari_dip.plugin.docks.scrolling_dock import ScrollingDock, set_tab_order
from napari_dip.plugin.layers.crop import trial_part
from napari_dip.plugin.layers.metadata import find_layer
from napari_dip.plugin.session.interrupted import InterruptedRun
from napari_dip.plugin.session.messages import IN_LOG, MEMORY_FULL, NO_IMAGE
from napari_dip.plugin.session.open_sessions import (
    close_all,
    leave_session,
    take_session,
)
from napari_dip.plugin.session.run import State
from napari_dip.plugin.widgets.activity import Activity, slow_down_spinner
from napari_dip.plugin.widgets.empty_state import EmptyState
from napari_dip.plugin.widgets.export_menu import ExportMenu
from napari_dip.plugin.widgets.folding import folded
from napari_dip.plugin.widgets.forecast_notes import ForecastNotes
from napari_dip.plugin.widgets.inputs import Inputs
from napari_dip.plugin.widgets.interrupted_note import InterruptedNote
from napari_dip.plugin.widgets.loss_plot import LossPlot
from napari_dip.plugin.widgets.recipe_form import RecipeForm, spare_threads
from napari_dip.plugin.widgets.redraw_throttle import SLOW_DRAWING_S, RedrawThrottle
from napari_dip.plugin.widgets.result_controls import ResultControls
from napari_dip.plugin.widgets.result_summary import ResultSummary, verdict
from napari_dip.plugin.widgets.run_controls import BAR_STEPS, RunControls, progress_text
from napari_dip.plugin.widgets.style import LEVEL_STYLES
from napari_dip.run.forecast import typical_steps
from napari_dip.run.recipe import Recipe

if TYPE_CHECKING:
    import napari

log = logging.getLogger(__name__)

IDLE_MESSAGE = "Ready. Run stops automatically; your image is not changed."


class RestoreDock(ScrollingDock):
    """The dock of one task, opened on its preset; the task can be changed."""

    preset: ClassVar[str]

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        viewer = self._viewer = napari_viewer  # napari passes the viewer to an argument of this name
        self.session = take_session(viewer, self.preset)
        self._activity, self._throttle = Activity(BAR_STEPS), RedrawThrottle()
        self._typical_steps, self._device = 0, "cpu"
        self.plot, self.summary = LossPlot(theme := get_theme(viewer.theme)), ResultSummary(theme)
        super().__init__()
        self.form = RecipeForm(self.preset)
        self.inputs = Inputs(viewer, self.form)
        self.form.lay_out()
        self.interrupted_note = InterruptedNote(viewer)
        self.empty_state = EmptyState(viewer, self.preset)
        self.notes = ForecastNotes(self.form, self.inputs)
        self.forecast = self.notes.forecast
        self.run_controls, self.result_controls = RunControls(), ResultControls(self.session)
        self.plot_box = folded("Plot", self.plot)
        self.export_menu = ExportMenu(self._collect, lambda: (self.form.recipe(), self.form.title))
        self.say(IDLE_MESSAGE)
        self._lay_out()
        self._connect()
        self._show_left_run()
        self._update_forecast()
        self._show_state(self.session.state)

    def stop_work(self) -> None:
        """Leave the run, which goes on, and its result to the next dock of this task."""
        self.forecast.close()
        self._activity.close()
        self.destroyed.disconnect(self._close)
        if self.session.current_run is None:
            self.session.close()
        else:
            leave_session(self._viewer, self.preset, self.session)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Follow napari's theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange and not self.is_removed:
            self.plot.restyle(theme := get_theme(self._viewer.theme))
            self.summary.restyle(theme)

    def reset_choices(self, event: Any = None) -> None:
        """Update the lists of layers; napari calls this when layers change."""
        if self.is_removed or self.session.closed:
            return
        self.inputs.refresh()
        self._show_state(self.session.state)

    def run(self) -> None:
        """Start the run, or say why it cannot start."""
        self._start(trial=False)

    def try_visible_part(self) -> None:
        """Start a run on the middle of what is visible, or say why it cannot start."""
        self._start(trial=True)

    def _start(self, *, trial: bool) -> None:
        if self.inputs.layer is None:
            return
        self.summary.hide()
        self.plot.clear_curves()
        self.say("Starting ...")
        self.forecast.cancel()
        try:
            recipe, layer, inputs = self._collect(spare_threads())
            if trial:
                whole, recipe = layer, recipe.with_quality("fast")
                layer, inputs = trial_part(layer, inputs)
                inputs["whole"] = whole
            self._typical_steps = typical_steps(recipe)
            self._device = recipe.compute.resolve_device().type
            keep = self.result_controls.keep_box.isChecked()
            self.session.run(recipe, layer, keep_previous=keep, **inputs)
        except (RestorationError, MemoryError, OSError) as error:  # lazy layers are read here
            self.say(str(error) or MEMORY_FULL, error=True)
            return
        except Exception as error:  # of a lazy layer, or of a fault
            log.exception("the run could not start")
            self.say(describe_unexpected(error, where=IN_LOG), error=True)
            return
        try:
            preferences.save_recipe(preferences.LAST_RUN, self.form.recipe())
        except OSError:
            log.exception("the settings of this run could not be saved")
        self.form.tasks.refresh()

    def _collect(self, threads: int | None = None) -> tuple[Recipe, Image, dict[str, Any]]:
        """Return the arguments of `Session.run`, with so many threads where no number is entered."""
        recipe = self.form.recipe(threads=threads)
        return recipe, self.inputs.image.layer(), self.inputs.collect(recipe)

    def _update_forecast(self) -> None:
        """Check the entries, and request a forecast in the background."""
        if self.is_removed or self.session.closed:
            return
        if self.is_error_shown:  # it may be cured
            self.say(IDLE_MESSAGE)
        self.notes.update(is_idle=self.session.state == State.IDLE)

    def _show_readiness(self) -> None:
        refusal = self.notes.refusal
        ready = self.inputs.layer is not None and not refusal
        self.run_controls.show_state(self.session.state, ready=ready, refusal=refusal)

    def _on_form_changed(self) -> None:
        self.set_title(self.form.title)
        self._update_forecast()
        self._show_state(self.session.state)

    def _on_noise_measured(self, sigma: float) -> None:
        """Enter the noise of a region, if the form asks for one number."""
        try:
            self.form.entry("noise.sigma").value = f"{sigma:.4g}"
        except KeyError:
            self.say(f"The noise in the region is {sigma:.4g}; set Noise to 'gaussian' to use it.")

    def _pause_or_resume(self) -> None:
        if self.session.state == State.PAUSED:
            self.session.resume(self.inputs.mask_layer())
        else:
            self.session.pause()

    def _lay_out(self) -> None:
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(9, 2, 9, 2)
        column.setSpacing(3)
        below = (self.summary, self.result_controls, self.plot_box)
        above = self.interrupted_note, self.empty_state
        for part in (*above, self.form, self.form.advanced_box, *below):
            column.addWidget(part)
        self.form.advanced_tools.addWidget(self.export_menu.button)
        column.addStretch(1)
        self.lay_out(body, self.status, self.run_controls)
        set_tab_order((*self.inputs.tab_order, *self.form.tab_order, *self.run_controls.tab_order))

    def _connect(self) -> None:
        self.form.changed.connect(self._on_form_changed)
        self.form.refused.connect(lambda sentence: self.say(sentence, error=True))
        self.inputs.changed.connect(self._update_forecast)
        self.inputs.noise_measured.connect(self._on_noise_measured)
        self.notes.changed.connect(self._show_readiness)
        self.run_controls.run_button.clicked.connect(self.run)
        self.interrupted_note.resumed.connect(self._resume_interrupted)
        self.run_controls.try_button.clicked.connect(self.try_visible_part)
        self.run_controls.paused.connect(self._pause_or_resume)
        self.run_controls.stop_button.clicked.connect(self.session.stop)
        self.run_controls.discard_button.clicked.connect(self.session.cancel)
        self.result_controls.step_selected.connect(self.plot.mark)
        self.export_menu.recipe_saved.connect(self.form.tasks.refresh)
        self.session.changed.connect(self._on_state)
        self.session.progressed.connect(self._show_progress)
        self.session.finished.connect(self.plot.show_result)
        self.session.shown.connect(self._show_result)
        talking = self.inputs, self.interrupted_note, self.result_controls, self.export_menu
        for source in (*talking, self.session):
            source.message.connect(self._on_message)
        self._close = close_all(self.session, self.forecast)
        self.destroyed.connect(self._close)  # with its window: the dock is then not closed first
        QApplication.instance().aboutToQuit.connect(self._close)

    def _resume_interrupted(self, run: InterruptedRun, layer: Image) -> None:
        """Go on with a run that ended with napari."""
        self._choose(run.recipe, layer)
        missing = [role for role, name in run.inputs.items() if not self.inputs.choose_named(role, name)]
        if missing:
            self.say(f"Choose the same {' and '.join(missing)} as before, and press Run: it goes on.")
        else:
            self.run()

    def _choose(self, recipe: Recipe, layer: Image | None) -> None:
        """Show the settings and the image of a run."""
        self.form.choose(recipe.with_settings({"compute.num_threads": None}))
        if layer is not None:
            self.inputs.image.choose(layer)

    def _show_left_run(self) -> None:
        """Show the run, or the result, that a closed dock of this task has left."""
        run = self.session.current_run
        if run is None:
            return
        self._choose(run.recipe, find_layer(self._viewer.layers, run.source))
        if run.result is not None:
            self.plot.show_result(run.result)
            self._show_result(run.result)

    def _on_state(self, state: State) -> None:
        self._show_state(state)
        if state == State.IDLE:  # a forecast that was waiting was dropped when the run began
            self._update_forecast()

    def _show_state(self, state: State) -> None:
        idle, layer = state == State.IDLE, self.inputs.layer
        self._show_readiness()
        self.export_menu.copy_action.setEnabled(layer is not None)
        self.empty_state.setVisible(idle and layer is None)
        self.form.enable(on=idle)
        self.inputs.enable(on=idle, mask=state == State.PAUSED)
        self.result_controls.refresh()
        self.plot_box.setVisible(not idle or self.session.current_run is not None)
        if self.session.current_run is None:
            self.summary.hide()
        if idle:
            self._activity.close()
            self.interrupted_note.refresh()
            if layer is None:
                self.say(NO_IMAGE)
            elif self.status.text() == NO_IMAGE:
                self.say(IDLE_MESSAGE)
        elif state == State.RUNNING:
            self._throttle.reset()
            self._activity.open(self.form.title)
        elif state == State.PAUSED:
            self.say("Paused. Paint more of the mask if you want to, then press Resume.")
        else:
            self.say(f"{state} ...")

    def _show_progress(self, progress: Progress) -> None:
        is_preview = progress.image is not None
        if self._throttle.take_preview_turn():
            self.session.ask_for_preview()
        if not (is_preview or self._throttle.may_redraw()):
            return
        self._throttle.min_interval = 1 / preferences.preferences().preview.rate
        with self._throttle.drawing(is_preview=is_preview):
            if is_preview:
                self.result_controls.refresh()
            self.plot.add(progress)
            position = self.run_controls.show_progress(progress, self._typical_steps)
            if self.session.state == State.RUNNING:
                self.say(progress_text(progress, self._device))
            self._activity.update(position)  # runs the event loop, which draws the window
        if self._throttle.last_duration > SLOW_DRAWING_S:
            slow_down_spinner(self.window())

    def _show_result(self, result: Result) -> None:
        self.summary.show_result(result)
        self.say(verdict(result), style=LEVEL_STYLES[result.assessment.level])
        self.result_controls.refresh()

    def _on_message(self, sentence: str, error: bool) -> None:  # noqa: FBT001 - a signal's signature
        self.say(sentence, error=error)
        self.result_controls.refresh()
