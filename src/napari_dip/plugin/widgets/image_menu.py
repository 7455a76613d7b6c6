"""The menu of what people do with an image before they restore it, and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QMenu, QWidget

from napari_dip.core.errors import ObservationError, RestorationError
from napari_dip.plugin.layers import display as looks
from napari_dip.plugin.layers.crop import crop_layer, visible_part
from napari_dip.plugin.layers.metadata import spatial_of
from napari_dip.plugin.layers.to_observation import observation_from_layer
from napari_dip.run.recipe import Recipe

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

    from napari_dip.plugin.widgets.inputs import Inputs

REGION_NAME = "a region of noise"


class ImageMenu(QMenu):  # type: ignore[misc]
    """Acts on the image that the dock has chosen."""

    def __init__(self, viewer: napari.viewer.Viewer, desk: Inputs, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer, self._desk = viewer, desk
        for text, action in (
            ("Crop to what is seen", self.crop),
            ("Measure the noise in a rectangle ...", self.ask_for_region),
            ("Compare two images ...", self.compare),
            ("North up, east left", lambda: looks.north_up(viewer, self._image())),
            ("Row 1 at the bottom / at the top", lambda: looks.flip_vertical(viewer)),
            ("Asinh stretch on / off", lambda: looks.toggle_asinh_stretch(self._image())),
        ):
            self.addAction(text).triggered.connect(lambda _=False, action=action: self._do(action))

    def crop(self) -> None:
        """A new layer of the part that is seen, with its holes and its noise."""
        image = self._image()
        rows, columns = visible_part(image)
        companions = [p.layer() for p in (self._desk.mask, self._desk.sigma) if p.layer() is not None]
        new = crop_layer(self._viewer, image, companions, rows, columns)
        self._desk.image.choose(new)
        self._desk.message.emit(
            f"'{new.name}': rows {rows.start} to {rows.stop - 1}, columns {columns.start} to"
            f" {columns.stop - 1}.",
            False,
        )

    def ask_for_region(self) -> None:
        """A layer to draw a rectangle in; its noise is measured as soon as it is drawn."""
        image = self._image()
        region = self._viewer.add_shapes(
            ndim=image.ndim,
            name=REGION_NAME,
            face_color="transparent",
            edge_color="orange",
            **spatial_of(image),
        )
        region.mode = "add_rectangle"

        def drawn(event: Any) -> None:
            if str(getattr(event.action, "value", event.action)) == "added" and region.data:
                corners = region.data[-1]
                self._do(lambda: self.measure(image, corners))
                region.visible = False
                self._viewer.layers.selection.active = image

        region.events.data.connect(drawn)
        self._desk.message.emit("Draw a rectangle over empty background.", False)

    def measure(self, image: Image, corners: Sequence[Any]) -> None:
        """Tell the noise between corners, in the layer's pixels."""
        inside = np.asarray(corners)[:, -2:]
        low = np.maximum(np.round(inside.min(axis=0)), 0).astype(int)
        high = np.round(inside.max(axis=0)).astype(int) + 1
        axes = self._desk.axes.axes
        aside = [slice(n, n + 1) for n in np.asarray(corners)[0, :-2].round().astype(int)]
        there = (*aside, slice(low[0], high[0]), slice(low[1], high[1]))
        observation = observation_from_layer(image, axes=axes, part=there)
        like = Recipe().noise.likelihood(next(iter(observation.iter_planes()))[1])
        sigma = float(np.nanmedian(like.sigma))
        self._desk.message.emit(
            f"Noise in rows {low[0]} to {high[0] - 1}, columns {low[1]} to {high[1] - 1}: {sigma:.4g}"
            f" ({like.source}). It was put under Sigma.",
            False,
        )
        self._desk.measured.emit(sigma)

    def compare(self) -> None:
        """Open the dock that compares two images."""
        self._viewer.window.add_plugin_dock_widget("napari-dip", "Compare two images")

    def _image(self) -> Image:
        if self._desk.layer is None:
            raise ObservationError("Open an image first: drop a file here, or File > Open Sample.")
        return self._desk.layer

    def _do(self, action: Any) -> None:
        try:
            sentence = action()
        except (RestorationError, MemoryError, OSError) as error:
            self._desk.message.emit(str(error) or "the memory is full", True)
        else:
            if sentence:
                self._desk.message.emit(sentence, False)
