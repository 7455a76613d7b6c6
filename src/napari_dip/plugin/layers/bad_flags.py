"""Quality flags of an image: their names, and which of them mark missing pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.io.data_quality import DataQuality
from napari_dip.plugin.layers.metadata import METADATA_KEY

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer


def quality_of(layer: Layer | None) -> DataQuality | None:
    """Return the flags that a quality layer shows; None without one."""
    entries = {} if layer is None else layer.metadata.get(METADATA_KEY, {})
    quality: DataQuality | None = entries.get("quality")
    return quality


def flag_features(quality: DataQuality) -> dict[str, list[Any]]:
    """Return the meaning of each value of a quality plane, as the features of a Labels layer."""
    values = [int(value) for value in np.unique(quality.values)]
    return {
        "index": values,
        "flags": [quality.describe(value) for value in values],
        "missing": [quality.is_bad(value) for value in values],
    }


def mask_with_flag(
    quality: Labels, image: Image, mask: Labels | None, flag: int, *, is_bad: bool
) -> NDArray[np.uint8]:
    """Return the pixels of `mask` after one flag of `quality` is treated as missing, or no longer.

    What was painted stays. The layer `quality` is updated.
    """
    before: DataQuality = quality.metadata[METADATA_KEY]["quality"]
    after = before.with_bad_flags(before.bad | {flag} if is_bad else before.bad - {flag})
    quality.metadata[METADATA_KEY]["quality"] = after
    features = quality.features.copy()
    features["missing"] = [after.is_bad(int(value)) for value in features["index"]]
    quality.features = features
    pixels = np.zeros(quality.data.shape, np.uint8) if mask is None else np.array(mask.data)
    if is_bad:
        pixels[before.with_flag(flag)] = 1
    else:
        is_finite = np.isfinite(np.asarray(image.data))
        pixels[before.with_flag(flag) & ~after.mask() & is_finite] = 0
    return pixels
