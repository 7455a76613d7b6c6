"""Masks that are drawn as shapes, or lie on other pixels than the image."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Shapes

from napari_dip.core.axes import BoolArray
from napari_dip.physics.masks import resample_mask
from napari_dip.plugin.layers.metadata import METADATA_KEY, finest, same_placement, spatial_of

if TYPE_CHECKING:
    from napari.layers import Image

DRAWN = "drawn"  # in the metadata of masks that are made here: the unique id of the layer they are from


def mask_on_grid(mask: Labels | Shapes, image: Image) -> Labels:
    """Return a mask on the pixels of `image`, where the viewer shows `mask`.

    Labels that lie like the image are returned as they are. The rows and columns of others are looked
    up at the centers of the pixels of the image; what lies beyond them is not missing. Shapes mark the
    pixels inside.
    """
    if isinstance(mask, Labels) and same_placement(mask, image):
        return mask
    shape = finest(image).shape[: image.ndim]
    find = _inside if isinstance(mask, Shapes) else _resampled
    missing = np.broadcast_to(find(mask, image, shape[-mask.ndim :]), shape)
    return Labels(
        missing.astype(np.uint8),
        name=mask.name,
        metadata={METADATA_KEY: {DRAWN: mask.unique_id}},
        **spatial_of(image),
    )


def source_id(mask: Labels) -> Hashable:
    """Return the unique id of a mask, or of the layer that it was made of."""
    source: Hashable = mask.metadata.get(METADATA_KEY, {}).get(DRAWN, mask.unique_id)
    return source


def _inside(shapes: Any, image: Image, shape: tuple[int, ...]) -> BoolArray:
    """The pixels of `image` inside of shapes."""
    corners = [
        np.array([_between(corner, shapes, image) for corner in vertices]) for vertices in shapes.data
    ]
    if not corners:
        return np.zeros(shape, bool)
    on_image = Shapes(corners, shape_type=list(shapes.shape_type), ndim=shapes.ndim)
    return np.asarray(on_image.to_labels(labels_shape=shape), bool)


def _resampled(labels: Any, image: Image, shape: tuple[int, ...]) -> BoolArray:
    """The label at the center of each pixel of `image`."""
    origin = _between(np.zeros(labels.ndim), image, labels)
    steps = [_between(unit, image, labels) - origin for unit in np.eye(labels.ndim)]
    return resample_mask(np.asarray(finest(labels)) != 0, np.column_stack(steps), origin, shape)


def _between(position: Any, source: Any, target: Any) -> Any:
    """Return a position in the pixels of one layer in those of another; last axes are the same."""
    ndim = len(position)
    padded = np.zeros(max(source.ndim, target.ndim))
    padded[len(padded) - ndim :] = position
    world = np.asarray(source.data_to_world(padded[-source.ndim :]))
    world = np.concatenate((np.zeros(max(target.ndim - len(world), 0)), world))
    return np.asarray(target.world_to_data(world[-target.ndim :]))[-ndim:]
