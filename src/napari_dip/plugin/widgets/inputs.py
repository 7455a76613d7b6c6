"""The layers that a run takes, and what is asked about them, as rows of a form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from psygnal import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_dip.core.errors import ObservationError
from napari_dip.plugin.layers.metadata import companions_of, holes_with_flag, is_companion
from napari_dip.plugin.widgets.axes_rows import AxesRows
from napari_dip.plugin.widgets.flags_list import FlagsList
from napari_dip.plugin.widgets.image_menu import ToolsMenu
from napari_dip.plugin.widgets.layer_combo import LayerPicker
from napari_dip.plugin.widgets.mask_menu import HolesMenu, holes_beside
from napari_dip.plugin.widgets.recipe_form import RecipeForm
from napari_dip.plugin.widgets.settings_form import ACRONYMS
from napari_dip.run.recipe import Recipe, every_extra

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer


class Inputs:
    """Pickers of the image and of what goes with it; their rows are put into a `form`.

    Attributes
    ----------
    image, holes, sigma : LayerPicker
    extras : dict of str to LayerPicker
    axes : AxesRows
    flags : FlagsList
    """

    changed = Signal()
    """Another image, another companion, or other axes."""
    said = Signal(str, bool)
    """A sentence for the person, and whether it is an error."""
    measured = Signal(float)
    """The noise of a region. [data units]"""

    def __init__(self, viewer: napari.viewer.Viewer, form: RecipeForm) -> None:
        self._viewer, self._form = viewer, form
        self.image = LayerPicker(viewer, Image)
        self.axes = AxesRows()
        self.holes = LayerPicker(viewer, Labels, none="none painted")
        self.flags = FlagsList()
        self.sigma = LayerPicker(viewer, Image, none="the same everywhere")
        self.extras = {name: LayerPicker(viewer, Image, none="none") for name in every_extra()}
        self.make_button, self.tools_button = QPushButton("Make"), QPushButton("Tools")
        self._lay_out()
        self.make_button.setMenu(HolesMenu(viewer, self, self.make_button))
        self.tools_button.setMenu(ToolsMenu(viewer, self, self.tools_button))
        self.choose_companions()
        self.axes.changed.connect(self._follow_axes)
        self.flags.ticked.connect(self._tick_flag)
        self.image.currentIndexChanged.connect(self.choose_companions)
        for picker in (self.holes, self.sigma, *self.extras.values()):
            picker.currentIndexChanged.connect(lambda _: self.changed.emit())

    @property
    def layer(self) -> Image | None:
        """The image to restore."""
        layer: Image | None = self.image.layer()
        return layer

    def refresh(self) -> None:
        """Read the layer list again."""
        self.image.refresh()
        self.holes.refresh(newcomer=self.companion("holes"))
        self.sigma.refresh(newcomer=self.companion("noise"))
        for name, picker in self.extras.items():
            picker.refresh(newcomer=self.companion(name))
        self._show_flags()

    def choose_companions(self) -> None:
        """With an image, its axes, and what else its file brought along, or none."""
        self.axes.ask(self.layer)
        for role, picker in {"holes": self.holes, "noise": self.sigma, **self.extras}.items():
            picker.refresh()
            picker.choose(self.companion(role))
        self._show_flags()
        self.changed.emit()

    def show(self, recipe: Recipe) -> None:
        """Ask for what the recipe needs, and show its answers."""
        for name in self.extras:
            self._form.rows.setRowVisible(self.extras[name], name in recipe.extras)
        self.axes.show(recipe.stack.together, combined="T" if recipe.operator.joint else "")

    def asked(self, recipe: Recipe) -> dict[str, Any]:
        """What goes with the image, as `Session.run` takes it.

        Raises
        ------
        ObservationError
            If there is only one exposure where several are combined.
        """
        extras = {n: p.layer() for n, p in self.extras.items() if n in recipe.extras and p.layer()}
        return {
            "axes": self.axes.axes,
            "frames": self._more_frames(recipe),
            "holes": self.holes.layer(),
            "sigma": self.sigma.layer(),
            "extras": extras,
        }

    def remark(self, role: str, sentence: str = "") -> None:
        """Say below a picker what is wrong with its layer, or no longer."""
        self._form.remark(self._places[role], sentence)

    @property
    def stops(self) -> tuple[QWidget, ...]:
        """The entries in sight, as they are read."""
        asked = (self.image, self.tools_button, *self.axes.questions.values(), self.holes)
        return (*asked, self.make_button, self.flags, *self.extras.values())

    @property
    def roles(self) -> tuple[str, ...]:
        """What `remark` knows: "image", "holes", "sigma" and the extras."""
        return tuple(self._places)

    def enable(self, *, on: bool, holes: bool) -> None:
        """Let the person choose, or not; of holes also while a run is paused."""
        for picker in (self.image, self.sigma, *self.extras.values(), self.axes.line):
            picker.setEnabled(on)
        for question in self.axes.questions.values():
            question.setEnabled(on)
        for part in (self.holes, self.flags, self.make_button):
            part.setEnabled(on or holes)

    def companion(self, role: str) -> Layer | None:
        """What the image's file brought along in this role, or is named so."""
        return None if self.layer is None else companions_of(self.layer, self._viewer.layers, role)

    def _more_frames(self, recipe: Recipe) -> list[Image]:
        """The other selected images, where the recipe combines exposures and the image is only one."""
        if recipe.operator.result_axes("T") or "T" in self.axes.axes or self.layer is None:
            return []
        chosen = [
            other
            for other in self._viewer.layers
            if isinstance(other, Image)
            and other in self._viewer.layers.selection
            and not is_companion(other)
        ]
        if self.layer not in chosen or len(chosen) == 1:
            raise ObservationError(
                f"'{self.layer.name}' is one exposure: select the layers of the others too (Ctrl-click"
                " in the layer list), or choose a layer with a time axis"
            )
        return [other for other in chosen if other != self.layer]

    def _follow_axes(self) -> None:
        together: Any = self._form.entry("stack.together")
        if together.value != self.axes.together:
            together.value = self.axes.together
        self.changed.emit()

    def _show_flags(self) -> None:
        self.flags.show_flags(self.companion("quality"))
        self._form.rows.setRowVisible(self.flags, self.flags.quality is not None)

    def _tick_flag(self, flag: int, hole: bool) -> None:  # noqa: FBT001 - a signal's signature
        """Take the pixels of a quality flag for holes, or no longer."""
        quality, image, holes = self.companion("quality"), self.layer, self.holes.layer()
        if quality is None or image is None:
            return
        pixels = holes_with_flag(quality, image, holes, flag, hole=hole)
        if holes is not None:
            holes.data = pixels
        else:
            self.take_holes(holes_beside(self._viewer, image, pixels))
        self.changed.emit()

    def take_holes(self, layer: Labels) -> None:
        """Choose a new layer of holes."""
        self.holes.refresh()
        self.holes.choose(layer)

    def _lay_out(self) -> None:
        rows, details = self._form.rows, self._form.details
        self._places = {
            "image": _beside(self.image, self.tools_button),
            "holes": _beside(self.holes, self.make_button),
            "sigma": self.sigma,
            **self.extras,
        }
        rows.addRow("Image", self._places["image"])
        self.axes.add_to(rows, details)
        rows.addRow("Holes", self._places["holes"])
        rows.addRow("Bad flags", self.flags)
        for name, picker in self.extras.items():
            rows.addRow(name.upper() if name in ACRONYMS else name.capitalize(), picker)
        details.addRow("Noise map", self.sigma)
        self.image.setToolTip("The image to restore. It is never changed.")
        self.holes.setToolTip("A Labels layer: whatever is painted is missing. NaN is missing anyway.")
        self.sigma.setToolTip("An image of the noise's standard deviation. [data units]")
        self.make_button.setToolTip("Make holes: paint them, or find them in the image.")
        self.tools_button.setToolTip("Crop, orient, stretch, measure or compare this image.")


def _beside(picker: QWidget, button: QPushButton) -> QWidget:
    """Both in one row."""
    both = QWidget()
    row = QHBoxLayout(both)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(picker, 1)
    row.addWidget(button)
    return both
