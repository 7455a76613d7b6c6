"""The original image beside the restored one, on the left of a divider that can be dragged."""

from __future__ import annotations

from collections.abc import Generator, Hashable
from typing import TYPE_CHECKING, Any

from napari_dip.plugin.layers.metadata import (
    METADATA_KEY,
    RESULT,
    find_layer,
    finest,
    same_selection,
    spatial_of,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

GRAB_PX = 12  # on the screen, from the divider


class SplitView:
    """Covers the left part of the restored image with the original, in a layer of its own."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._original: Hashable = None
        self._cover: Hashable = None

    @property
    def is_on(self) -> bool:
        """Whether the original is shown beside the restored image."""
        return self._layer(self._cover) is not None

    def show(self, original: Hashable, restored: Image | None) -> None:
        """Show the layer with the unique id `original` left of the middle of `restored`."""
        source = self._layer(original)
        if self.is_on or source is None or restored is None:
            return
        self._original = original
        options = {"colormap": source.colormap, "gamma": source.gamma} if not source.rgb else {}
        with same_selection(self._viewer.layers):
            cover = self._viewer.add_image(
                self._left_of(source, self._width(source)),
                name=f"{source.name} [left of the divider]",
                rgb=source.rgb,
                contrast_limits=source.contrast_limits,
                metadata={METADATA_KEY: {"role": RESULT}},
                **options,
                **spatial_of(source),
            )
            layers = self._viewer.layers
            layers.move(layers.index(cover), layers.index(restored) + 1)
        self._cover = cover.unique_id
        cover.bounding_box.visible, cover.bounding_box.points = True, False
        self.move(self._column(source, restored.extent.world.mean(axis=0)))
        self._viewer.mouse_drag_callbacks.append(self._drag)

    def hide(self) -> None:
        """Show the restored image alone."""
        if (cover := self._layer(self._cover)) is not None:
            self._viewer.layers.remove(cover)
        self._original = self._cover = None
        if self._drag in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._drag)

    def move(self, column: float) -> None:
        """Move the divider to a column of the original. [pixel]"""
        source, cover = self._layer(self._original), self._layer(self._cover)
        if source is not None and cover is not None:
            column = min(max(round(column), 1), self._width(source))
            cover.data = self._left_of(source, column)

    def _drag(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        """Move the divider with the mouse, if it was pressed near it."""
        source, cover = self._layer(self._original), self._layer(self._cover)
        if source is None or cover is None or viewer.dims.ndisplay != 2:
            return
        camera = getattr(viewer, "scene", viewer).camera  # napari before 0.9 has no scene
        reach = GRAB_PX / camera.zoom / abs(source.scale[-1])
        if abs(self._column(source, event.position) - self._width(cover)) > reach:
            return
        pans, camera.mouse_pan = camera.mouse_pan, False
        try:
            yield
            while event.type == "mouse_move":
                self.move(self._column(source, event.position))
                yield
        finally:
            camera.mouse_pan = pans

    def _column(self, source: Image, position: Any) -> float:
        """The column of `source` at a position in the world, counted from the left edge."""
        return float(source.world_to_data(position[-source.ndim :])[-1]) + 0.5

    def _width(self, layer: Image) -> int:
        return int(finest(layer).shape[layer.ndim - 1])

    def _left_of(self, source: Image, column: int) -> Any:
        """The pixels of `source` left of a column: a view, no copy."""
        return finest(source)[(slice(None),) * (source.ndim - 1) + (slice(column),)]

    def _layer(self, unique_id: Hashable) -> Any:
        return find_layer(self._viewer.layers, unique_id)
