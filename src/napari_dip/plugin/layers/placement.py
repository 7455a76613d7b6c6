"""Placement and appearance of a layer, stored when a run starts: the layer may be removed later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from napari_dip.core.axes import FloatArray
from napari_dip.plugin.layers.metadata import METADATA_KEY, axes_of, spatial_of

if TYPE_CHECKING:
    from napari.layers import Image


@dataclass(frozen=True)
class LayerPlacement:
    """Placement, appearance and metadata of a layer, for the layers that its run will add.

    Attributes
    ----------
    name : str
        Name of the layer.
    axes : str
        Axis letters of its pixels.
    rgb : bool
        Whether it is an RGB image.
    spatial : mapping
        Its placement, as arguments of `add_image`.
    metadata : mapping
        Its metadata, without our own entries.
    contrast_limits : (float, float) or None
        None where the new layers show other quantities than the layer itself.
    colormap, gamma, blending
        Its display settings.
    rgb_white : float
        The value that an RGB layer displays as white. [data units]
    """

    name: str
    axes: str
    rgb: bool
    spatial: Mapping[str, Any]
    metadata: Mapping[str, Any]
    contrast_limits: tuple[float, float] | None
    colormap: Any
    gamma: float
    blending: str
    rgb_white: float

    @classmethod
    def from_layer(cls, layer: Image, axes: str | None = None) -> LayerPlacement:
        """Return the placement of `layer`, with other `axes` where the user corrected them."""
        own = axes_of(layer)
        spatial = spatial_of(layer)
        if axes not in (None, own):
            spatial["axis_labels"] = tuple(axes[: layer.ndim].lower())
        low, high = layer.contrast_limits
        return cls(
            name=layer.name,
            axes=axes or own,
            rgb=layer.rgb,
            spatial=spatial,
            metadata={k: _copy(v) for k, v in layer.metadata.items() if k != METADATA_KEY},
            contrast_limits=(float(low), float(high)),
            colormap=None if layer.rgb else layer.colormap,
            gamma=layer.gamma,
            blending=str(layer.blending),
            rgb_white=_rgb_white(layer),
        )

    def with_time_axis(self) -> LayerPlacement:
        """Return the placement of a stack of such layers along T."""
        spatial = self.stack_options("t", 1.0)
        spatial["translate"] = (0.0, *spatial["translate"][1:])
        return replace(self, axes=f"T{self.axes}", spatial=spatial)

    def for_result(self, shape: Sequence[int], input_shape: Sequence[int], axes: str) -> LayerPlacement:
        """Return the placement of a result.

        Parameters
        ----------
        shape : sequence of int
            Shape of the result. Y and X may be sampled more finely than the input, with the same outer
            edges; T may be missing.
        input_shape : sequence of int
            Shape of the input, which has this placement.
        axes : str
            Axes of the result.
        """
        if (tuple(shape), axes) == (tuple(input_shape), self.axes):
            return self
        ndim = len(self.spatial["scale"])
        sizes = dict(zip(axes, shape, strict=True))
        input_sizes = dict(zip(self.axes, input_shape, strict=True))
        letters = self.axes[:ndim]
        factors = np.array([sizes.get(a, input_sizes[a]) / input_sizes[a] for a in letters])
        transform = {name: self.spatial[name] for name in ("scale", "translate", "rotate", "shear")}
        translate = Affine(**transform, ndim=ndim)((1 / factors - 1) / 2)
        kept = [index for index, letter in enumerate(letters) if letter in axes]
        corner = [*kept, ndim]  # affine matrices have one row and column more
        spatial = {
            "scale": (np.asarray(self.spatial["scale"]) / factors)[kept],
            "translate": np.asarray(translate)[kept],
            "rotate": np.asarray(self.spatial["rotate"])[np.ix_(kept, kept)],
            "shear": _shear_matrix(self.spatial["shear"], ndim)[np.ix_(kept, kept)],
            "affine": np.asarray(self.spatial["affine"])[np.ix_(corner, corner)],
            "units": tuple(self.spatial["units"][i] for i in kept),
            "axis_labels": tuple(self.spatial["axis_labels"][i] for i in kept),
        }
        return replace(self, axes=axes, spatial=spatial)

    def image_options(self, suffix: str, **entries: Any) -> dict[str, Any]:
        """Return arguments of `add_image` for a layer that belongs to this one.

        Its name ends in `suffix`, in brackets; `entries` are added to our part of its metadata.
        """
        entries = {"axes": self.axes, "white": self.rgb_white, **entries}
        options = {
            "name": f"{self.name} [{suffix}]",
            "metadata": {**self.metadata, METADATA_KEY: entries},
            "rgb": self.rgb,
            **self.spatial,
        }
        if not self.rgb:
            options |= {"colormap": self.colormap, "gamma": self.gamma, "blending": self.blending}
            if self.contrast_limits is not None:
                options["contrast_limits"] = self.contrast_limits
        return options

    def stack_options(self, label: str, step: float) -> dict[str, Any]:
        """Return the placement of a stack of such layers, at `step`, 2 `step`, ... on a new axis."""
        ndim = len(self.spatial["scale"])
        rotate, shear = np.eye(ndim + 1), np.eye(ndim + 1)
        rotate[1:, 1:] = self.spatial["rotate"]
        shear[1:, 1:] = _shear_matrix(self.spatial["shear"], ndim)
        affine = np.eye(ndim + 2)
        affine[1:, 1:] = np.asarray(self.spatial["affine"])
        return {
            "scale": (step, *self.spatial["scale"]),
            "translate": (step, *self.spatial["translate"]),
            "units": ("pixel", *self.spatial["units"]),
            "axis_labels": (label, *self.spatial["axis_labels"]),
            "affine": affine,
            "rotate": rotate,
            "shear": shear,
        }

    def to_display(self, image: FloatArray) -> NDArray[Any]:
        """Return `image` as a layer holds it: floating-point RGB images need values from 0 to 1."""
        return np.clip(image / self.rgb_white, 0, 1) if self.rgb else image


def _shear_matrix(shear: Any, ndim: int) -> NDArray[Any]:
    """Return a layer's shear as a matrix; napari also has it as the upper triangle, row by row."""
    values = np.asarray(shear)
    if values.shape == (ndim, ndim):
        return values
    matrix = np.eye(ndim)
    matrix[np.triu_indices(ndim, 1)] = values
    return matrix


def _rgb_white(layer: Image) -> float:
    """Return the value that an RGB layer displays as white. [data units]"""
    entries = layer.metadata.get(METADATA_KEY, {})
    if "white" in entries:
        return float(entries["white"])
    return float(np.iinfo(layer.dtype).max) if np.issubdtype(layer.dtype, np.integer) else 1.0


def _copy(value: Any) -> Any:
    """Return a copy of plain containers; other objects are shared."""
    return deepcopy(value) if isinstance(value, dict | list) else value
