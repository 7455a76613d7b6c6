"""The menu that makes holes: to paint in, or found in the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QInputDialog, QMenu, QWidget

from napari_dip.core.axes import BoolArray
from napari_dip.core.errors import RestorationError
from napari_dip.core.observation import Observation
from napari_dip.physics.masks import cosmic_ray_mask, dilate_mask, saturation_mask
from napari_dip.plugin.layers.metadata import finest, spatial_of
from napari_dip.plugin.layers.to_observation import observation_from_layer

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels

    from napari_dip.plugin.widgets.inputs import Inputs


class MaskMenu(QMenu):  # type: ignore[misc]
    """Adds to the chosen layer of holes, where Ctrl-Z takes it back, or to a new one."""

    def __init__(self, viewer: napari.viewer.Viewer, desk: Inputs, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer, self._desk = viewer, desk
        for text, action in (
            ("An empty layer to paint in", self.begin_painting),
            ("Not a number", lambda: self.find("not a number", lambda o: ~o.observed)),
            ("Saturated", lambda: self.find("saturated", saturation_mask)),
            ("Cosmic rays and hot pixels", lambda: self.find("cosmic rays", cosmic_ray_mask)),
            ("Above a value ...", lambda: self._beyond("Above", np.greater)),
            ("Below a value ...", lambda: self._beyond("Below", np.less)),
        ):
            self.addAction(text).triggered.connect(action)
        self.addSeparator()
        self.addAction("Grow by some pixels ...").triggered.connect(self._grow)
        self.setToolTipsVisible(True)

    def begin_painting(self) -> None:
        """A new layer on the image, with the brush in hand."""
        image = self._desk.layer
        if image is None:
            self._desk.message.emit("Open an image first.", True)
            return
        shape = finest(image).shape[: image.ndim]
        layer = add_mask_layer(self._viewer, image, np.zeros(shape, np.uint8))
        self._desk.select_mask(layer)
        self._viewer.layers.selection.active = layer
        layer.mode = "paint"
        self._desk.message.emit("Paint over what is missing; any label counts.", False)

    def find(self, what: str, finder: Callable[[Observation], BoolArray]) -> None:
        """Add the pixels that `finder` marks in the image, found in the background."""
        from napari.qt.threading import create_worker

        image = self._desk.layer
        if image is None:
            self._desk.message.emit("Open an image first.", True)
            return
        self._desk.message.emit(f"Looking for pixels: {what} ...", False)
        worker = create_worker(_find_mask, image, self._desk.axes.axes, finder, _start_thread=False)
        worker.returned.connect(lambda found: self._take(image, what, found))
        worker.start()

    def _beyond(self, word: str, compare: Any) -> None:
        value, agreed = QInputDialog.getDouble(
            self.parentWidget(), "Holes", f"{word} this value [data units]:", 0, -1e300, 1e300, 6
        )
        if agreed:
            self.find(f"{word.lower()} {value:g}", lambda o: compare(o.y, value))

    def _grow(self) -> None:
        holes = self._desk.mask.layer()
        if holes is None:
            self._desk.message.emit("Choose a layer of holes first.", True)
            return
        pixels, agreed = QInputDialog.getInt(
            self.parentWidget(), "Holes", "Grow every hole by so many pixels:", 1, 1, 100
        )
        if agreed:
            self.add(holes, dilate_mask(np.asarray(holes.data) != 0, pixels))

    def _take(self, image: Image, what: str, found: BoolArray | str) -> None:
        if isinstance(found, str):
            self._desk.message.emit(found, True)
            return
        if image not in self._viewer.layers:
            return
        if not found.any():
            self._desk.message.emit(f"No pixel is {what}: no holes were made.", False)
            return
        holes = self._desk.mask.layer()
        if holes is None or holes.data.shape != found.shape:
            painted = np.zeros(found.shape, np.uint8)
            if holes is not None:
                painted[...] = np.asarray(holes.data) != 0
            holes = add_mask_layer(self._viewer, image, painted)
            self._desk.select_mask(holes)
        count = self.add(holes, found)
        self._desk.message.emit(
            f"{count:,} pixels more are holes: {what}. Ctrl-Z in '{holes.name}' takes them back.", False
        )

    def add(self, holes: Labels, found: BoolArray) -> int:
        """Mark what was `found` and is not marked yet, in one step of the layer's history."""
        places = np.nonzero(found & (np.asarray(holes.data) == 0))
        if len(places[0]):
            holes.data_setitem(places, 1)
        self._desk.changed.emit()
        return len(places[0])


def add_mask_layer(viewer: napari.viewer.Viewer, image: Image, pixels: NDArray[np.uint8]) -> Labels:
    """A layer of holes that lies on `image`, which stays the active layer."""
    added = viewer.add_labels(
        pixels,
        name=f"{image.name} - holes",
        opacity=0.5,
        **spatial_of(image),
    )
    viewer.layers.selection.active = image
    return added


def _find_mask(image: Image, axes: str, finder: Callable[[Observation], BoolArray]) -> BoolArray | str:
    """What `finder` marks, with the layer's axes; or why it can not, as a sentence."""
    try:
        observation = observation_from_layer(image, axes=axes)
        found: BoolArray = observation.to_input_axes(finder(observation))
    except (RestorationError, MemoryError, OSError) as error:
        return str(error) or "the memory is full: crop the image first"
    return np.asarray(found.any(axis=-1)) if image.rgb else found
