"""The button *Paint* and the menu beside it: a mask to paint in, or pixels found in the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtWidgets import QInputDialog, QMenu, QWidget

from napari_dip.core.axes import BoolArray
from napari_dip.core.errors import RestorationError
from napari_dip.core.observation import Observation
from napari_dip.physics.masks import cosmic_ray_mask, dilate_mask, saturation_mask
from napari_dip.plugin.layers.metadata import MASK, METADATA_KEY, finest, spatial_of
from napari_dip.plugin.layers.to_observation import observation_from_layer
from napari_dip.plugin.session.messages import MEMORY_FULL, NO_IMAGE

if TYPE_CHECKING:
    import napari
    from napari.layers import Image


class MaskMenu(QMenu):  # type: ignore[misc]
    """Adds pixels to the selected mask, where Ctrl-Z removes them again, or to a new one.

    Parameters
    ----------
    viewer : napari viewer
        Where masks are added.
    parent : QWidget
        The button of the menu.
    current_image : callable
        Returns the image to restore, or None.
    current_axes : callable
        Returns its axes.
    current_mask : callable
        Returns the selected mask, or None.
    """

    message = Signal(str, bool)
    """A sentence for the user, and whether it is an error."""
    mask_created = Signal(Labels)
    mask_changed = Signal()

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        parent: QWidget,
        *,
        current_image: Callable[[], Image | None],
        current_axes: Callable[[], str],
        current_mask: Callable[[], Labels | None],
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._current_image, self._current_axes = current_image, current_axes
        self._current_mask = current_mask
        for text, action in (
            ("New empty mask", self.add_empty),
            ("NaN pixels", lambda: self.find("NaN", lambda o: ~o.observed)),
            ("Saturated pixels", lambda: self.find("saturated", saturation_mask)),
            (
                "Cosmic rays and hot pixels",
                lambda: self.find("hit by cosmic rays or hot", cosmic_ray_mask),
            ),
            ("Above a value ...", lambda: self._find_beyond("above", np.greater)),
            ("Below a value ...", lambda: self._find_beyond("below", np.less)),
        ):
            self.addAction(text).triggered.connect(action)
        self.addSeparator()
        self.addAction("Grow the mask ...").triggered.connect(self._grow)
        self.setToolTipsVisible(True)

    def paint(self) -> None:
        """Select the brush in the selected mask, or in a new one with its pixels, or none."""
        image, mask = self._current_image(), self._current_mask()
        if mask is not None and mask in self._viewer.layers:
            self._select_brush(mask)
        elif image is not None:
            self._select_brush(self._mask_to_change(image, _mask_shape(image)))
        else:
            self.message.emit(NO_IMAGE, True)

    def add_empty(self) -> None:
        """Add an empty mask on the image, and select the brush."""
        image = self._current_image()
        if image is None:
            self.message.emit(NO_IMAGE, True)
            return
        mask = add_mask_layer(self._viewer, image, np.zeros(_mask_shape(image), np.uint8))
        self.mask_created.emit(mask)
        self._select_brush(mask)

    def find(self, description: str, finder: Callable[[Observation], BoolArray]) -> None:
        """Add the pixels that `finder` marks in the image, in the background."""
        from napari.qt.threading import create_worker

        image = self._current_image()
        if image is None:
            self.message.emit(NO_IMAGE, True)
            return
        self.message.emit(f"Looking for pixels that are {description} ...", False)
        axes = self._current_axes()
        worker = create_worker(
            lambda: (image, description, _find_mask(image, axes, finder)), _start_thread=False
        )
        worker.returned.connect(self._on_found)  # a method, which Qt disconnects with the menu
        worker.start()

    def add(self, mask: Labels, pixels: BoolArray) -> int:
        """Add `pixels` to `mask` as one step that can be undone, and return how many are new."""
        new = np.nonzero(pixels & (np.asarray(mask.data) == 0))
        if len(new[0]):
            mask.data_setitem(new, 1)
        self.mask_changed.emit()
        return len(new[0])

    def _select_brush(self, mask: Labels) -> None:
        self._viewer.layers.selection.active = mask
        mask.mode = "paint"
        self.message.emit("Paint over the missing pixels, with any label.", False)

    def _find_beyond(self, word: str, compare: Any) -> None:
        value, ok = QInputDialog.getDouble(
            self.parentWidget(), "Mask", f"Pixels {word} [data units]:", 0, -1e300, 1e300, 6
        )
        if ok:
            self.find(f"{word} {value:g}", lambda o: compare(o.y, value))

    def _grow(self) -> None:
        mask = self._current_mask()
        if mask is None:
            self.message.emit("Choose a mask first.", True)
            return
        radius, ok = QInputDialog.getInt(
            self.parentWidget(), "Grow the mask", "Grow by this radius [pixel]:", 1, 1, 100
        )
        if ok:
            pixels = dilate_mask(np.asarray(mask.data) != 0, radius)
            self.add(self._mask_to_change(self._current_image(), pixels.shape), pixels)

    def _on_found(self, found: tuple[Image, str, BoolArray | str]) -> None:
        """Add the pixels that were found to the mask, or show the error."""
        image, description, outcome = found
        if isinstance(outcome, str):
            self.message.emit(outcome, True)
            return
        if image not in self._viewer.layers:
            return
        if not outcome.any():
            self.message.emit(f"No pixel is {description}; no mask was added.", False)
            return
        mask = self._mask_to_change(image, outcome.shape)
        count = self.add(mask, outcome)
        self.message.emit(
            f"{count:,} pixels that are {description} were added to '{mask.name}'; Ctrl-Z there"
            " removes them.",
            False,
        )

    def _mask_to_change(self, image: Any, shape: tuple[int, ...]) -> Labels:
        """Return the selected mask, or a copy with this shape that can be changed."""
        mask = self._current_mask()
        if mask is not None and mask in self._viewer.layers and mask.data.shape == shape:
            return mask
        pixels = np.zeros(shape, np.uint8)
        if mask is not None:
            pixels[...] = np.asarray(mask.data) != 0
        added = add_mask_layer(self._viewer, image, pixels)
        self.mask_created.emit(added)
        return added


def add_mask_layer(viewer: napari.viewer.Viewer, image: Image, pixels: NDArray[np.uint8]) -> Labels:
    """Add a mask on `image`, which stays the active layer, and return it."""
    added: Labels = viewer.add_labels(
        pixels,
        name=f"{image.name} - mask",
        opacity=0.5,
        metadata={METADATA_KEY: {"role": MASK, "image": image.unique_id}},
        **spatial_of(image),
    )
    viewer.layers.selection.active = image
    return added


def _mask_shape(image: Image) -> tuple[int, ...]:
    """Return the shape of a mask that has all axes of an image but its colors."""
    return tuple(finest(image).shape[: image.ndim])


def _find_mask(image: Image, axes: str, finder: Callable[[Observation], BoolArray]) -> BoolArray | str:
    """Return the pixels that `finder` marks, with the layer's axes; or why it failed, as a sentence."""
    try:
        observation = observation_from_layer(image, axes=axes)
        pixels: BoolArray = observation.to_input_axes(finder(observation))
    except (RestorationError, MemoryError, OSError) as error:
        return str(error) or MEMORY_FULL
    return np.asarray(pixels.any(axis=-1)) if image.rgb else pixels
