"""Show the original image in place of the restored one for a moment."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image


class OriginalToggle:
    """Swaps the visibility of two layers, and restores what it was before."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._visible_before: dict[Hashable, bool] = {}

    def show(self, original: Hashable, restored: Image | None) -> None:
        """Show the layer with the unique id `original`, and hide `restored`."""
        self.undo()
        if restored is None:
            return
        for layer in self._viewer.layers:
            if layer.unique_id in (original, restored.unique_id):
                self._visible_before[layer.unique_id] = layer.visible
                layer.visible = layer.unique_id == original

    def undo(self) -> None:
        """Make both layers as visible as they were."""
        for layer in self._viewer.layers:
            layer.visible = self._visible_before.pop(layer.unique_id, layer.visible)
