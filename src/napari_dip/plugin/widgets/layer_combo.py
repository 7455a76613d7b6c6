"""A combo box of the viewer's layers of one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QComboBox

from napari_dip.plugin.layers.metadata import is_byproduct

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer


class LayerComboBox(QComboBox):  # type: ignore[misc]
    """The viewer's layers of one kind; the choice survives renaming and reordering."""

    def __init__(self, viewer: napari.viewer.Viewer, kind: type[Layer], *, none: str = "") -> None:
        super().__init__()
        self._viewer, self._kind, self._none = viewer, kind, none
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.refresh()

    def refresh(self, newcomer: Layer | None = None) -> None:
        """Read the layer list again; choose `newcomer` if it was not on it before.

        Where the choice is gone, an image picker falls back to the active or the topmost layer, before
        those that are hidden.
        """
        before, chosen = self._layers(), self.layer()
        blocked = self.blockSignals(True)
        self.clear()
        if self._none:
            self.addItem(self._none, None)
        for layer in reversed(self._viewer.layers):
            if isinstance(layer, self._kind) and (self._none or not is_byproduct(layer)):
                self.addItem(layer.name, layer)
        listed = self._layers()
        active = self._viewer.layers.selection.active
        if newcomer in listed and newcomer not in before:
            self.choose(newcomer)
        elif chosen in listed:
            self.choose(chosen)
        elif not self._none and listed:
            shown = [layer for layer in (active, *listed) if layer in listed and layer.visible]
            self.choose((shown or listed)[0])
        self.blockSignals(blocked)
        if self.layer() != chosen:
            self.currentIndexChanged.emit(self.currentIndex())

    def _layers(self) -> list[Layer | None]:
        return [self.itemData(row) for row in range(self.count())]

    def layer(self) -> Any:
        """The chosen layer, or None."""
        return self.currentData()

    def choose(self, layer: Layer | None) -> None:
        """Choose `layer`."""
        self.setCurrentIndex(self._layers().index(layer))
