"""The rows of a form for the layers of a run, and for what the user has to say about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Shapes
from psygnal import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_dip.core.errors import ObservationError
from napari_dip.plugin.layers.bad_flags import mask_with_flag
from napari_dip.plugin.layers.mask_on_grid import mask_on_grid
from napari_dip.plugin.layers.metadata import MASK, NOISE, QUALITY, is_byproduct, related_layer
from napari_dip.plugin.widgets.axes_editor import AxesEditor
from napari_dip.plugin.widgets.entries import label_text
from napari_dip.plugin.widgets.flag_list import FlagList
from napari_dip.plugin.widgets.image_menu import ImageMenu
from napari_dip.plugin.widgets.layer_combo import LayerComboBox
from napari_dip.plugin.widgets.mask_menu import MaskMenu, add_mask_layer
from napari_dip.plugin.widgets.recipe_form import RecipeForm
from napari_dip.plugin.widgets.reopen_note import ReopenNote
from napari_dip.run.recipe import Recipe, all_auxiliary

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

MENU_WIDTH_PX = 22  # of a button that has nothing but an arrow


class Inputs:
    """Combo boxes for the image and the layers that belong to it; their rows are added to a form.

    Attributes
    ----------
    image, mask, sigma : LayerComboBox
        The image, its mask and its noise map.
    auxiliary : dict of str to LayerComboBox
        The auxiliary data of all recipes, by name.
    axes : AxesEditor
        The axes of the image.
    bad_flags : FlagList
        Its quality flags.
    """

    changed = Signal()
    """Another layer, or other axes."""
    message = Signal(str, bool)
    """A sentence for the user, and whether it is an error."""
    noise_measured = Signal(float)
    """The standard deviation of the noise in a region. [data units]"""

    def __init__(self, viewer: napari.viewer.Viewer, form: RecipeForm) -> None:
        self._viewer, self._form = viewer, form
        self._takes_selection = False
        self._watched: Layer | None = None
        self.image = LayerComboBox(viewer, Image)
        self.axes = AxesEditor(form.basic_layout, form.advanced_layout)
        self.mask = LayerComboBox(viewer, (Labels, Shapes), none="none")
        self.bad_flags = FlagList()
        self.sigma = LayerComboBox(viewer, Image, none="uniform")
        self.reopen_note = ReopenNote(viewer)
        self.auxiliary = {name: LayerComboBox(viewer, Image, none="none") for name in all_auxiliary()}
        self.paint_button, self.mask_button = QPushButton("Paint"), QPushButton()
        self.tools_button = QPushButton("Tools")
        self._lay_out()
        self._add_menus()
        self.choose_related()
        self.axes.changed.connect(self._on_axes_changed)
        self.bad_flags.flag_toggled.connect(self._on_flag_toggled)
        self.image.currentIndexChanged.connect(self.choose_related)
        self.reopen_note.reopened.connect(self.image.choose)
        for combo in (self.mask, self.sigma, *self.auxiliary.values()):
            combo.currentIndexChanged.connect(lambda _: self.changed.emit())
        self.mask.currentIndexChanged.connect(lambda _: self._watch_mask())
        viewer.layers.selection.events.changed.connect(self._on_selection)

    @property
    def layer(self) -> Image | None:
        """The image to restore."""
        layer: Image | None = self.image.layer()
        return layer

    def mask_layer(self) -> Labels | None:
        """Return the selected mask, on the pixels of the image."""
        mask, image = self.mask.layer(), self.layer
        return None if mask is None or image is None else mask_on_grid(mask, image)

    def refresh(self) -> None:
        """Update the lists of layers."""
        self.image.refresh()
        for role, combo in self._related_combos().items():
            combo.refresh(preferred=self.related(role))
        self._show_flags()

    def choose_related(self) -> None:
        """Show the axes of the image, and select the layers that came with it from its file, or none."""
        self.axes.set_layer(self.layer)
        for role, combo in self._related_combos().items():
            combo.refresh()
            combo.choose(self.related(role))
        self._show_flags()
        self._form.basic_layout.setRowVisible(self.reopen_note, self.reopen_note.applies_to(self.layer))
        self.changed.emit()

    def choose_named(self, role: str, name: str) -> bool:
        """Select the layer of a name in a role, and return whether there is one."""
        combo = self._related_combos().get(role)
        return combo is not None and combo.choose_named(name)

    def related(self, role: str) -> Layer | None:
        """Return the layer that came with the image from its file in this role."""
        return None if self.layer is None else related_layer(self.layer, self._viewer.layers, role)

    def show(self, recipe: Recipe) -> None:
        """Show the rows that the recipe needs, and its joint axes."""
        self._takes_selection = _takes_exposures(recipe)
        for name, combo in self.auxiliary.items():
            self._form.basic_layout.setRowVisible(combo, name in recipe.auxiliary)
        combined_axis = "T" if recipe.operator.combines_time else ""
        self.axes.show(recipe.stack.joint_axes, combined_axis=combined_axis)

    def collect(self, recipe: Recipe) -> dict[str, Any]:
        """Return the inputs besides the image, as `Session.run` takes them.

        Raises
        ------
        ObservationError
            If there is only one exposure for a recipe that combines several.
        """
        auxiliary = {
            name: combo.layer()
            for name, combo in self.auxiliary.items()
            if name in recipe.auxiliary and combo.layer()
        }
        return {
            "axes": self.axes.axes,
            "frames": self._more_exposures(recipe),
            "mask": self.mask_layer(),
            "sigma": self.sigma.layer(),
            "auxiliary": auxiliary,
        }

    @property
    def rows(self) -> dict[str, QWidget]:
        """The widgets of the rows, by "image", "mask", "sigma" and the names of auxiliary data."""
        return self._rows

    @property
    def tab_order(self) -> tuple[QWidget, ...]:
        """The visible entries, from top to bottom."""
        first = (self.image, self.tools_button, *self.axes.joint_combos.values(), self.mask)
        return (*first, self.paint_button, self.mask_button, self.bad_flags, *self.auxiliary.values())

    def enable(self, *, on: bool, mask: bool) -> None:
        """Enable or disable the entries; with `mask` those of the mask stay enabled."""
        combos = (self.image, self.sigma, *self.auxiliary.values())
        for entry in (*combos, self.axes.line_edit, *self.axes.joint_combos.values()):
            entry.setEnabled(on)
        for entry in (self.mask, self.bad_flags, self.paint_button, self.mask_button):
            entry.setEnabled(on or mask)

    def _related_combos(self) -> dict[str, LayerComboBox]:
        return {MASK: self.mask, NOISE: self.sigma, **self.auxiliary}

    def _more_exposures(self, recipe: Recipe) -> list[Image]:
        """Return the other selected images, where the recipe combines exposures and the image is one."""
        if not _takes_exposures(recipe) or "T" in self.axes.axes or self.layer is None:
            return []
        exposures = [
            other
            for other in self._viewer.layers
            if isinstance(other, Image)
            and other in self._viewer.layers.selection
            and not is_byproduct(other)
        ]
        if self.layer not in exposures or len(exposures) == 1:
            raise ObservationError(
                f"'{self.layer.name}' is one exposure: select the layers of the others too (Ctrl-click"
                " in the layer list), or choose a layer with a time axis"
            )
        return [other for other in exposures if other != self.layer]

    def _on_axes_changed(self) -> None:
        entry: Any = self._form.entry("stack.joint_axes")
        if entry.value != self.axes.joint_axes:
            entry.value = self.axes.joint_axes
        self.changed.emit()

    def _on_selection(self) -> None:
        """The selected layers are the exposures, where several are combined."""
        if self._takes_selection:
            self.changed.emit()

    def _watch_mask(self) -> None:
        """Follow what is painted in the selected mask."""
        mask = self.mask.layer()
        if mask is self._watched:
            return
        for event in _pixel_events(self._watched):
            event.disconnect(self._on_painted)
        for event in _pixel_events(mask):
            event.connect(self._on_painted)
        self._watched = mask

    def _on_painted(self) -> None:
        self.changed.emit()

    def _show_flags(self) -> None:
        self.bad_flags.show_flags(self.related(QUALITY))
        self._form.basic_layout.setRowVisible(self.bad_flags, self.bad_flags.quality is not None)

    def _on_flag_toggled(self, flag: int, is_bad: bool) -> None:  # noqa: FBT001 - a signal's signature
        """Add the pixels with a quality flag to the mask, or remove them from it."""
        quality, image, mask = self.related(QUALITY), self.layer, self.mask_layer()
        if quality is None or image is None:
            return
        pixels = mask_with_flag(quality, image, mask, flag, is_bad=is_bad)
        if mask is not None and mask in self._viewer.layers:
            mask.data = pixels
        else:
            self._select_mask(add_mask_layer(self._viewer, image, pixels))
        self.changed.emit()

    def _select_mask(self, layer: Labels) -> None:
        self.mask.refresh()
        self.mask.choose(layer)

    def _add_menus(self) -> None:
        mask_menu = MaskMenu(
            self._viewer,
            self.mask_button,
            current_image=lambda: self.layer,
            current_axes=lambda: self.axes.axes,
            current_mask=self.mask_layer,
        )
        mask_menu.message.connect(self.message.emit)
        mask_menu.mask_created.connect(self._select_mask)
        mask_menu.mask_changed.connect(self.changed.emit)
        self.mask_button.setMenu(mask_menu)
        self.paint_button.clicked.connect(mask_menu.paint)
        image_menu = ImageMenu(
            self._viewer,
            self.tools_button,
            current_image=lambda: self.layer,
            current_axes=lambda: self.axes.axes,
            current_others=lambda: [
                layer for layer in (self.mask_layer(), self.sigma.layer()) if layer is not None
            ],
        )
        image_menu.message.connect(self.message.emit)
        image_menu.image_created.connect(self.image.choose)
        image_menu.noise_measured.connect(self.noise_measured.emit)
        self.tools_button.setMenu(image_menu)

    def _lay_out(self) -> None:
        basic, advanced = self._form.basic_layout, self._form.advanced_layout
        self._rows = {
            "image": _with_buttons(self.image, self.tools_button),
            "mask": _with_buttons(self.mask, self.paint_button, self.mask_button),
            "sigma": self.sigma,
            **self.auxiliary,
        }
        basic.addRow("Image", self._rows["image"])
        basic.addRow(self.reopen_note)
        self.axes.add_rows()
        basic.addRow("Mask", self._rows["mask"])
        basic.addRow("Bad flags", self.bad_flags)
        for name, combo in self.auxiliary.items():
            basic.addRow(label_text(name), combo)
        advanced.addRow("Noise map", self.sigma)
        self.image.setToolTip("The image to restore. It is never changed.")
        self.mask.setToolTip(
            "A Labels or Shapes layer: what is painted or drawn is missing. NaN pixels always are."
        )
        self.sigma.setToolTip("An image of the standard deviation of the noise. [data units]")
        self.paint_button.setToolTip("Paint what is missing, in this mask or in a new one.")
        self.mask_button.setToolTip("Find missing pixels in the image, or grow the mask.")
        self.mask_button.setFixedWidth(MENU_WIDTH_PX)
        self.mask_button.setAccessibleName("Find missing pixels")
        self.tools_button.setToolTip("Crop, orient, stretch, measure or compare this image.")


def _takes_exposures(recipe: Recipe) -> bool:
    """Whether the data are several images of one scene, along T or in a layer each."""
    return recipe.signal.kind != "none" or not recipe.operator.result_axes("T")


def _pixel_events(mask: Layer | None) -> list[Any]:
    """The events of a mask that say that its pixels have changed."""
    events = getattr(mask, "events", None)
    return [getattr(events, name) for name in ("data", "paint") if hasattr(events, name)]


def _with_buttons(combo: QWidget, *buttons: QPushButton) -> QWidget:
    """Return a widget with all of them in one row."""
    together = QWidget()
    row = QHBoxLayout(together)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(combo, 1)
    for button in buttons:
        row.addWidget(button)
    return together
