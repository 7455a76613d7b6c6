"""The dock: choose layers, see the settings, run, watch, keep."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from napari.layers import Image, Labels
from napari.utils import progress
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import (
    QApplication,
    QGridLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_dip.errors import ObservationError, RestoreError
from napari_dip.plugin.axes_rows import AxesRows
from napari_dip.plugin.flags_list import FlagsList
from napari_dip.plugin.form import ACRONYMS
from napari_dip.plugin.keep_row import KeepRow
from napari_dip.plugin.layer_picker import LayerPicker
from napari_dip.plugin.layers import companions_of, holes_with_flag, is_companion
from napari_dip.plugin.plot import CoursePlot
from napari_dip.plugin.recipe_form import RecipeForm, spare_threads
from napari_dip.plugin.scrolling_dock import ScrollingDock, calm
from napari_dip.plugin.session import Session, State
from napari_dip.recipe import Recipe, every_extra
from napari_dip.result import Iterate

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

PREVIEW_SECONDS = 0.1  # ten frames a second at the most
DRAWING_SHARE = 8  # for each second of drawing, seconds without
SLOW_DRAWING = 0.03  # seconds; a window without a graphics card takes three times as long
RESTING = "Choose an image and press Run."


class RestoreDock(ScrollingDock):
    """One task's dock, opened on its preset; it can do all tasks."""

    preset: ClassVar[str]

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        viewer = self._viewer = napari_viewer  # napari gives the viewer to an argument of this name
        self.session = Session(viewer)
        self._activity: Any = None
        self._quiet_until = self._next_preview = 0.0
        self.plot = CoursePlot(get_theme(viewer.theme))
        super().__init__()

        self.form = RecipeForm(self.preset)
        self.image = LayerPicker(viewer, Image)
        self.axes = AxesRows()
        self.holes = LayerPicker(viewer, Labels, none="none painted")
        self.flags = FlagsList()
        self.sigma = LayerPicker(viewer, Image, none="the same everywhere")
        self.extras = {name: LayerPicker(viewer, Image, none="none") for name in every_extra()}
        self.run_button = QPushButton("Run")
        self.pause_button = QPushButton("Pause")
        self.finish_button = QPushButton("Finish and keep")
        self.cancel_button = QPushButton("Cancel")
        self.keep = KeepRow(self._asked, lambda: (self.form.recipe(), str(self.form.task.currentData())))
        self.bar = QProgressBar()

        self.say(RESTING)
        self._lay_out()
        self._choose_companions()
        self._connect()
        self._ask_what_is_needed()
        self._show_state(State.IDLE)

    def let_go(self) -> None:
        """Cancel what runs."""
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
        self.image.refresh()
        self.holes.refresh(newcomer=self._companion("holes"))
        self.sigma.refresh(newcomer=self._companion("noise"))
        for name, picker in self.extras.items():
            picker.refresh(newcomer=self._companion(name))
        self._show_flags()
        self._show_state(self.session.state)

    def run(self) -> None:
        """Begin, or say in one sentence why not."""
        if self.image.layer() is None:
            return
        self.plot.clear_course()
        self.say("Starting ...")
        self.window().destroyed.connect(_closing(self.session))
        try:
            recipe, layer, inputs = self._asked()
            self.session.run(recipe, layer, **inputs)
        except (RestoreError, MemoryError, OSError) as error:  # also of lazily read layers
            self.say(str(error) or "the memory is full: restore a smaller crop", error=True)

    def _asked(self) -> tuple[Recipe, Image, dict[str, Any]]:
        """What a run would be given."""
        layer, recipe = self.image.layer(), self.form.recipe(threads=spare_threads())
        extras = {n: p.layer() for n, p in self.extras.items() if n in recipe.extras and p.layer()}
        inputs = {
            "axes": self.axes.axes,
            "frames": self._more_frames(recipe, layer),
            "holes": self.holes.layer(),
            "sigma": self.sigma.layer(),
            "extras": extras,
        }
        return recipe, layer, inputs

    def _more_frames(self, recipe: Recipe, layer: Image) -> list[Image]:
        """The other selected images, where the recipe combines exposures and `layer` is only one."""
        if recipe.operator.result_axes("T") or "T" in self.axes.axes:
            return []
        chosen = [
            other
            for other in self._viewer.layers
            if isinstance(other, Image)
            and other in self._viewer.layers.selection
            and not is_companion(other)
        ]
        if layer not in chosen or len(chosen) == 1:
            raise ObservationError(
                f"'{layer.name}' is one exposure: select the layers of the others too (Ctrl-click in the"
                " layer list), or choose a layer with a time axis"
            )
        return [other for other in chosen if other != layer]

    def _ask_what_is_needed(self) -> None:
        """Show the questions that the recipe raises, as it answers them."""
        try:
            recipe = self.form.recipe()
        except RestoreError:  # an entry that is being typed
            return
        for name, picker in self.extras.items():
            self.form.rows.setRowVisible(picker, name in recipe.extras)
        self.axes.show(recipe.stack.together, combined="T" if recipe.operator.joint else "")

    def _follow_form(self) -> None:
        self._ask_what_is_needed()
        self._show_state(self.session.state)

    def _follow_axes(self) -> None:
        together = self.form.advanced.entry("stack.together")
        if together.value != self.axes.together:  # type: ignore[attr-defined]
            together.value = self.axes.together  # type: ignore[attr-defined]

    def _on_refused(self, sentence: str) -> None:
        self.say(sentence, error=True)

    def _choose_companions(self) -> None:
        """With an image, its axes, and what else its file brought along, or none."""
        self.axes.ask(self.image.layer())
        for role, picker in {"holes": self.holes, "noise": self.sigma, **self.extras}.items():
            picker.refresh()
            picker.choose(self._companion(role))
        self._show_flags()

    def _show_flags(self) -> None:
        self.flags.show_flags(self._companion("quality"))
        self.form.rows.setRowVisible(self.flags, self.flags.quality is not None)

    def _tick_flag(self, flag: int, hole: bool) -> None:  # noqa: FBT001 - a signal's signature
        """Take the pixels of a quality flag for holes, or no longer."""
        quality, image, holes = self._companion("quality"), self.image.layer(), self.holes.layer()
        if quality is None:
            return
        pixels = holes_with_flag(quality, image, holes, flag, hole=hole)
        if holes is not None:
            holes.data = pixels
            return
        options = {"scale": image.scale, "translate": image.translate, "units": image.units}
        added = self._viewer.add_labels(pixels, name=f"{image.name} - holes", opacity=0.5, **options)
        self._viewer.layers.selection.active = image
        self.holes.refresh()
        self.holes.choose(added)

    def _companion(self, role: str) -> Layer | None:
        layer = self.image.layer()
        return None if layer is None else companions_of(layer, self._viewer.layers, role)

    def _pause_or_resume(self) -> None:
        if self.session.state == State.PAUSED:
            self.session.resume()
        else:
            self.session.pause()

    def _lay_out(self) -> None:
        layers = self.form.rows
        layers.addRow("Image", self.image)
        self.axes.add_to(layers)
        layers.addRow("Holes", self.holes)
        layers.addRow("Bad flags", self.flags)
        layers.addRow("Noise map", self.sigma)
        for name, picker in self.extras.items():
            layers.addRow(name.upper() if name in ACRONYMS else name.capitalize(), picker)
        self.image.setToolTip("The image to restore. It is never changed.")
        self.holes.setToolTip("A Labels layer: whatever is painted is missing. NaN is missing anyway.")
        self.sigma.setToolTip("An image of the noise's standard deviation. [data units]")
        buttons = QGridLayout()
        for place, button in enumerate(self._buttons()):
            buttons.addWidget(button, place // 2, place % 2)
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)

        body = QWidget()
        column = QVBoxLayout(body)
        column.setSpacing(4)
        column.addWidget(self.form)
        column.addLayout(buttons)
        for part in (self.bar, self.status, self.plot, self.keep):
            column.addWidget(part)
        column.addStretch()
        self.setWidget(body)
        calm(body)

    def _connect(self) -> None:
        self.form.changed.connect(self._follow_form)
        self.axes.changed.connect(self._follow_axes)
        self.form.refused.connect(self._on_refused)
        self.flags.ticked.connect(self._tick_flag)
        self.image.currentIndexChanged.connect(self._choose_companions)
        self.run_button.clicked.connect(self.run)
        self.pause_button.clicked.connect(self._pause_or_resume)
        self.finish_button.clicked.connect(self.session.finish)
        self.cancel_button.clicked.connect(self.session.cancel)
        self.keep.said.connect(self._on_said)
        self.session.changed.connect(self._show_state)
        self.session.advanced.connect(self._show_progress)
        self.session.said.connect(self._on_said)
        QApplication.instance().aboutToQuit.connect(_closing(self.session))
        self.session.finished.connect(self.plot.show_result)

    def _buttons(self) -> tuple[QPushButton, ...]:
        return (self.run_button, self.pause_button, self.finish_button, self.cancel_button)

    def _show_state(self, state: State) -> None:
        idle = state == State.IDLE
        active = state in (State.RUNNING, State.PAUSED)
        self.run_button.setEnabled(idle and self.image.layer() is not None)
        self.keep.copy_button.setEnabled(self.image.layer() is not None)
        self.pause_button.setEnabled(active)
        self.pause_button.setText("Resume" if state == State.PAUSED else "Pause")
        self.finish_button.setEnabled(active)
        self.cancel_button.setEnabled(active or state == State.FINISHING)
        self.form.enable(on=idle)
        if idle:
            self.bar.setValue(0)
            self._close_activity()
            if self.image.layer() is None:
                self.say("Open an image first: drop a file here, or File > Open Sample.")
            elif self.status.text().startswith("Open an image"):
                self.say(RESTING)
        elif state == State.RUNNING:
            self._next_preview = self._quiet_until = 0.0
            if self._activity is None:
                self._activity = progress(total=1000, desc=self.form.title)
        else:
            self.say(f"{state} ...")

    def _show_progress(self, iterate: Iterate) -> None:
        begun = time.monotonic()
        if begun >= self._next_preview:
            self._next_preview = math.inf  # until this one is drawn
            self.session.ask_for_preview()
        if iterate.image is None and begun < self._quiet_until:
            return
        self.plot.add(iterate)
        done = int(1000 * iterate.done)
        self.bar.setValue(done)
        if self.session.state == State.RUNNING:
            counts = (
                ("frame", iterate.frame, iterate.frames),
                ("crop", iterate.crop, iterate.crops),
                ("fit", iterate.member, iterate.members),
            )
            where = "".join(f"{what} {at + 1} of {n}, " for what, at, n in counts if n > 1)
            remark = f" ({iterate.remark})" if iterate.remark else ""
            self.say(
                f"Running: {where}step {iterate.step}, {iterate.seconds:.0f} s; stops by itself,"
                f" at step {iterate.steps} at the latest{remark}."
            )
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
        self._quiet_until = now + max(PREVIEW_SECONDS, DRAWING_SHARE * drawing)
        if iterate.image is not None or math.isfinite(self._next_preview):
            self._next_preview = self._quiet_until

    def _calm_napari(self) -> None:
        """Slow the wheel that turns in the status bar: every turn draws the whole window again."""
        for label in self.window().findChildren(QLabel):
            if label.movie() is not None:
                label.movie().setSpeed(10)

    def _on_said(self, sentence: str, error: bool) -> None:  # noqa: FBT001 - a signal's signature
        self.say(sentence, error=error)

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
