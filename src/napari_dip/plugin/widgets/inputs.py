"""The layers that a run takes, and what is asked about them, as rows of a form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from psygnal import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_dip.core.errors import ObservationError
from napari_dip.plugin.layers.metadata import is_byproduct, mask_with_flag, related_layer
from napari_dip.plugin.widgets.axes_rows import AxesEditor
from napari_dip.plugin.widgets.flags_list import FlagList
from napari_dip.plugin.widgets.image_menu import ImageMenu
from napari_dip.plugin.widgets.layer_combo import LayerComboBox
from napari_dip.plugin.widgets.mask_menu import MaskMenu, add_mask_layer
from napari_dip.plugin.widgets.recipe_form import RecipeForm
from napari_dip.plugin.widgets.settings_form import ACRONYMS
from napari_dip.run.recipe import Recipe, all_auxiliary

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
    message = Signal(str, bool)
    """A sentence for the person, and whether it is an error."""
    measured = Signal(float)
    """The noise of a region. [data units]"""

    def __init__(self, viewer: napari.viewer.Viewer, form: RecipeForm) -> None:
        self._viewer, self._form = viewer, form
        self.image = LayerComboBox(viewer, Image)
        self.axes = AxesEditor()
        self.mask = LayerComboBox(viewer, Labels, none="none painted")
        self.bad_flags = FlagList()
        self.sigma = LayerComboBox(viewer, Image, none="the same everywhere")
        self.auxiliary = {name: LayerComboBox(viewer, Image, none="none") for name in all_auxiliary()}
        self.make_button, self.tools_button = QPushButton("Make"), QPushButton("Tools")
        self._lay_out()
        self.make_button.setMenu(MaskMenu(viewer, self, self.make_button))
        self.tools_button.setMenu(ImageMenu(viewer, self, self.tools_button))
        self.choose_auxiliary()
        self.axes.changed.connect(self._follow_axes)
        self.bad_flags.ticked.connect(self._tick_flag)
        self.image.currentIndexChanged.connect(self.choose_auxiliary)
        for picker in (self.mask, self.sigma, *self.auxiliary.values()):
            picker.currentIndexChanged.connect(lambda _: self.changed.emit())

    @property
    def layer(self) -> Image | None:
        """The image to restore."""
        layer: Image | None = self.image.layer()
        return layer

    def refresh(self) -> None:
        """Read the layer list again."""
        self.image.refresh()
        self.mask.refresh(newcomer=self.auxiliary_combo("holes"))
        self.sigma.refresh(newcomer=self.auxiliary_combo("noise"))
        for name, picker in self.auxiliary.items():
            picker.refresh(newcomer=self.auxiliary_combo(name))
        self._show_flags()

    def choose_auxiliary(self) -> None:
        """With an image, its axes, and what else its file brought along, or none."""
        self.axes.set_layer(self.layer)
        for role, picker in {"holes": self.mask, "noise": self.sigma, **self.auxiliary}.items():
            picker.refresh()
            picker.choose(self.auxiliary_combo(role))
        self._show_flags()
        self.changed.emit()

    def show(self, recipe: Recipe) -> None:
        """Ask for what the recipe needs, and show its answers."""
        for name in self.auxiliary:
            self._form.basic_layout.setRowVisible(self.auxiliary[name], name in recipe.auxiliary)
        self.axes.show(recipe.stack.joint_axes, combined="T" if recipe.operator.combines_time else "")

    def collect(self, recipe: Recipe) -> dict[str, Any]:
        """What goes with the image, as `Session.run` takes it.

        Raises
        ------
        ObservationError
            If there is only one exposure where several are combined.
        """
        extras = {n: p.layer() for n, p in self.auxiliary.items() if n in recipe.auxiliary and p.layer()}
        return {
            "axes": self.axes.axes,
            "frames": self._more_frames(recipe),
            "holes": self.mask.layer(),
            "sigma": self.sigma.layer(),
            "extras": extras,
        }

    def show_error(self, role: str, sentence: str = "") -> None:
        """Say below a picker what is wrong with its layer, or no longer."""
        self._form.show_error(self._positions[role], sentence)

    @property
    def tab_order(self) -> tuple[QWidget, ...]:
        """The entries in sight, as they are read."""
        asked = (self.image, self.tools_button, *self.axes.joint_combos.values(), self.mask)
        return (*asked, self.make_button, self.bad_flags, *self.auxiliary.values())

    @property
    def roles(self) -> tuple[str, ...]:
        """What `remark` knows: "image", "holes", "sigma" and the extras."""
        return tuple(self._positions)

    def enable(self, *, on: bool, holes: bool) -> None:
        """Let the person choose, or not; of holes also while a run is paused."""
        for picker in (self.image, self.sigma, *self.auxiliary.values(), self.axes.line_edit):
            picker.setEnabled(on)
        for question in self.axes.joint_combos.values():
            question.setEnabled(on)
        for part in (self.mask, self.bad_flags, self.make_button):
            part.setEnabled(on or holes)

    def auxiliary_combo(self, role: str) -> Layer | None:
        """What the image's file brought along in this role, or is named so."""
        return None if self.layer is None else related_layer(self.layer, self._viewer.layers, role)

    def _more_frames(self, recipe: Recipe) -> list[Image]:
        """The other selected images, where the recipe combines exposures and the image is only one."""
        if recipe.operator.result_axes("T") or "T" in self.axes.axes or self.layer is None:
            return []
        chosen = [
            other
            for other in self._viewer.layers
            if isinstance(other, Image)
            and other in self._viewer.layers.selection
            and not is_byproduct(other)
        ]
        if self.layer not in chosen or len(chosen) == 1:
            raise ObservationError(
                f"'{self.layer.name}' is one exposure: select the layers of the others too (Ctrl-click"
                " in the layer list), or choose a layer with a time axis"
            )
        return [other for other in chosen if other != self.layer]

    def _follow_axes(self) -> None:
        together: Any = self._form.entry("stack.joint_axes")
        if together.value != self.axes.joint_axes:
            together.value = self.axes.joint_axes
        self.changed.emit()

    def _show_flags(self) -> None:
        self.bad_flags.show_flags(self.auxiliary_combo("quality"))
        self._form.basic_layout.setRowVisible(self.bad_flags, self.bad_flags.quality is not None)

    def _tick_flag(self, flag: int, hole: bool) -> None:  # noqa: FBT001 - a signal's signature
        """Take the pixels of a quality flag for holes, or no longer."""
        quality, image, holes = self.auxiliary_combo("quality"), self.layer, self.mask.layer()
        if quality is None or image is None:
            return
        pixels = mask_with_flag(quality, image, holes, flag, hole=hole)
        if holes is not None:
            holes.data = pixels
        else:
            self.select_mask(add_mask_layer(self._viewer, image, pixels))
        self.changed.emit()

    def select_mask(self, layer: Labels) -> None:
        """Choose a new layer of holes."""
        self.mask.refresh()
        self.mask.choose(layer)

    def _lay_out(self) -> None:
        rows, details = self._form.basic_layout, self._form.advanced_layout
        self._positions = {
            "image": _with_button(self.image, self.tools_button),
            "holes": _with_button(self.mask, self.make_button),
            "sigma": self.sigma,
            **self.auxiliary,
        }
        rows.addRow("Image", self._positions["image"])
        self.axes.add_to(rows, details)
        rows.addRow("Holes", self._positions["holes"])
        rows.addRow("Bad flags", self.bad_flags)
        for name, picker in self.auxiliary.items():
            rows.addRow(name.upper() if name in ACRONYMS else name.capitalize(), picker)
        details.addRow("Noise map", self.sigma)
        self.image.setToolTip("The image to restore. It is never changed.")
        self.mask.setToolTip("A Labels layer: whatever is painted is missing. NaN is missing anyway.")
        self.sigma.setToolTip("An image of the noise's standard deviation. [data units]")
        self.make_button.setToolTip("Make holes: paint them, or find them in the image.")
        self.tools_button.setToolTip("Crop, orient, stretch, measure or compare this image.")


def _with_button(picker: QWidget, button: QPushButton) -> QWidget:
    """Both in one row."""
    both = QWidget()
    row = QHBoxLayout(both)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(picker, 1)
    row.addWidget(button)
    return both
