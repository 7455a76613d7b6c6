"""The menu *Tools*: crop, measure, compare and orient the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from psygnal import Signal
from qtpy.QtWidgets import QMenu, QWidget

from napari_dip.core.errors import ObservationError, RestorationError
from napari_dip.plugin.layers import display
from napari_dip.plugin.layers.crop import crop_layer, visible_part
from napari_dip.plugin.layers.metadata import spatial_of
from napari_dip.plugin.layers.to_observation import observation_from_layer
from napari_dip.plugin.session.messages import MEMORY_FULL, NO_IMAGE
from napari_dip.run.api import estimate_noise

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

REGION_NAME = "noise region"


class ImageMenu(QMenu):  # type: ignore[misc]
    """Acts on the image that is selected in the dock.

    Parameters
    ----------
    viewer : napari viewer
        Where the image is.
    parent : QWidget
        The button of the menu.
    current_image : callable
        Returns the image, or None.
    current_axes : callable
        Returns its axes.
    current_others : callable
        Returns the layers that are cropped with it.
    """

    message = Signal(str, bool)
    """A sentence for the user, and whether it is an error."""
    image_created = Signal(Image)
    noise_measured = Signal(float)
    """The standard deviation of the noise in a region. [data units]"""

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        parent: QWidget,
        *,
        current_image: Callable[[], Image | None],
        current_axes: Callable[[], str],
        current_others: Callable[[], Sequence[Layer]],
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._current_image, self._current_axes = current_image, current_axes
        self._current_others = current_others
        for text, action in (
            ("Crop to the visible part", self.crop),
            ("Measure the noise in a rectangle ...", self.ask_for_region),
            ("Compare two images ...", self.compare),
            ("North up, east left", lambda: display.north_up(viewer, self._image())),
            ("Row 1 at the bottom / at the top", lambda: display.flip_vertical(viewer)),
            ("Asinh stretch on / off", lambda: display.toggle_asinh_stretch(self._image())),
        ):
            self.addAction(text).triggered.connect(lambda _=False, action=action: self._do(action))

    def crop(self) -> str:
        """Add the visible part as a new layer, with its mask and noise, and return where it was."""
        image = self._image()
        rows, columns = visible_part(image)
        cropped = crop_layer(self._viewer, image, self._current_others(), rows, columns)
        self.image_created.emit(cropped)
        return (
            f"'{cropped.name}': rows {rows.start} to {rows.stop - 1}, columns {columns.start} to"
            f" {columns.stop - 1}."
        )

    def ask_for_region(self) -> str:
        """Add a layer to draw a rectangle in; the noise is measured as soon as it is drawn."""
        image = self._image()
        region = self._viewer.add_shapes(
            ndim=image.ndim,
            name=REGION_NAME,
            face_color="transparent",
            edge_color="orange",
            **spatial_of(image),
        )
        region.mode = "add_rectangle"

        def on_drawn(event: Any) -> None:
            if str(getattr(event.action, "value", event.action)) == "added" and region.data:
                corners = region.data[-1]
                self._do(lambda: self.measure(image, corners))
                region.visible = False
                self._viewer.layers.selection.active = image

        region.events.data.connect(on_drawn)
        return "Draw a rectangle over empty background."

    def measure(self, image: Image, corners: Sequence[Any]) -> None:
        """Measure the noise of `image` in a rectangle with these corners, in its pixels."""
        in_plane = np.asarray(corners)[:, -2:]
        low = np.maximum(np.round(in_plane.min(axis=0)), 0).astype(int)
        high = np.round(in_plane.max(axis=0)).astype(int) + 1
        plane = [slice(n, n + 1) for n in np.asarray(corners)[0, :-2].round().astype(int)]
        part = (*plane, slice(low[0], high[0]), slice(low[1], high[1]))
        observation = observation_from_layer(image, axes=self._current_axes(), part=part)
        noise = estimate_noise(observation)
        self.message.emit(
            f"Noise in rows {low[0]} to {high[0] - 1}, columns {low[1]} to {high[1] - 1}:"
            f" {noise.median_sigma:.4g} ({noise.source}). It is entered as Sigma.",
            False,
        )
        self.noise_measured.emit(noise.median_sigma)

    def compare(self) -> None:
        """Open the dock that compares two images."""
        self._viewer.window.add_plugin_dock_widget("napari-dip", "Compare two images")

    def _image(self) -> Image:
        image = self._current_image()
        if image is None:
            raise ObservationError(NO_IMAGE)
        return image

    def _do(self, action: Callable[[], str | None]) -> None:
        """Call `action`, and show the sentence that it returns, or its error."""
        try:
            sentence = action()
        except (RestorationError, MemoryError, OSError) as error:
            self.message.emit(str(error) or MEMORY_FULL, True)
        else:
            if sentence:
                self.message.emit(sentence, False)
