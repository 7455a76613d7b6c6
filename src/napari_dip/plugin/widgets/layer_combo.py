"""A combo box of the viewer's layers of some type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QComboBox
from superqt.utils import signals_blocked

from napari_dip.plugin.layers.metadata import is_byproduct

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer


class LayerComboBox(QComboBox):  # type: ignore[misc]
    """The viewer's layers of one type; the selection survives renaming and reordering.

    Parameters
    ----------
    viewer : napari viewer
        Its layers are listed.
    kind : type of Layer, or several
        The type of layers.
    none : str
        Text of the entry for no layer; without it a layer is always selected, if there is one.
    """

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        kind: type[Layer] | tuple[type[Layer], ...],
        *,
        none: str = "",
    ) -> None:
        super().__init__()
        self._viewer, self._kind, self._none = viewer, kind, none
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(6)
        self.refresh()

    def refresh(self, preferred: Layer | None = None) -> None:
        """List the layers again; select `preferred` if it was not listed before.

        If the selected layer is gone and there must be one, select the active or the topmost visible
        layer.
        """
        before, selected = self._layers(), self.layer()
        with signals_blocked(self):
            self.clear()
            if self._none:
                self.addItem(self._none, None)
            for layer in reversed(self._viewer.layers):
                if isinstance(layer, self._kind) and (self._none or not is_byproduct(layer)):
                    self.addItem(layer.name, layer)
            listed = self._layers()
            active = self._viewer.layers.selection.active
            if preferred in listed and preferred not in before:
                self.choose(preferred)
            elif selected in listed:
                self.choose(selected)
            elif not self._none and listed:
                visible = [layer for layer in (active, *listed) if layer in listed and layer.visible]
                self.choose((visible or listed)[0])
        if self.layer() != selected:
            self.currentIndexChanged.emit(self.currentIndex())

    def layer(self) -> Any:
        """Return the selected layer, or None."""
        return self.currentData()

    def choose(self, layer: Layer | None) -> None:
        """Select `layer`."""
        self.setCurrentIndex(self._layers().index(layer))

    def choose_named(self, name: str) -> bool:
        """Select the layer of a name, and return whether there is one."""
        found = [layer for layer in self._layers() if layer is not None and layer.name == name]
        if found:
            self.choose(found[0])
        return bool(found)

    def choose_another(self, layer: Layer) -> None:
        """Select the first layer of the list that is not `layer`."""
        self.choose(next(other for other in self._layers() if other != layer))

    def _layers(self) -> list[Layer | None]:
        return [self.itemData(row) for row in range(self.count())]
