"""Where and how a layer is shown, kept from the start of a run: the layer may go away."""

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
    """A layer's place, look and metadata, for the layers that its run will add."""

    name: str
    axes: str
    rgb: bool
    spatial: Mapping[str, Any]
    metadata: Mapping[str, Any]
    contrast_limits: tuple[float, float] | None
    """None where the layers that are added show something else than the layer itself."""
    colormap: Any
    gamma: float
    blending: str
    rgb_white: float
    """The value that an RGB layer shows as white."""

    @classmethod
    def from_layer(cls, layer: Image, axes: str | None = None) -> LayerPlacement:
        """The place of `layer` as it is now; its `axes` where the person knows better than its file."""
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
            metadata={k: _copied(v) for k, v in layer.metadata.items() if k != METADATA_KEY},
            contrast_limits=(float(low), float(high)),
            colormap=None if layer.rgb else layer.colormap,
            gamma=layer.gamma,
            blending=str(layer.blending),
            rgb_white=_white(layer),
        )

    def with_time_axis(self) -> LayerPlacement:
        """The place of a stack of such layers along T."""
        letters = self.stack_options("t", 1.0)
        letters["translate"] = (0.0, *letters["translate"][1:])
        return replace(self, axes=f"T{self.axes}", spatial=letters)

    def for_result(self, shape: Sequence[int], input_shape: Sequence[int], axes: str) -> LayerPlacement:
        """The place of a result of `shape` and `axes`, made of pixels of `input_shape` in this place.

        Y and X may be divided more finely, with the same outer edges; T may be gone.
        """
        if (tuple(shape), axes) == (tuple(input_shape), self.axes):
            return self
        count = len(self.spatial["scale"])
        sizes, before = (
            dict(zip(axes, shape, strict=True)),
            dict(zip(self.axes, input_shape, strict=True)),
        )
        letters = self.axes[:count]
        factors = np.array([sizes.get(letter, before[letter]) / before[letter] for letter in letters])
        parts = {name: self.spatial[name] for name in ("scale", "translate", "rotate", "shear")}
        moved = Affine(**parts, ndim=count)((1 / factors - 1) / 2)
        kept = [position for position, letter in enumerate(letters) if letter in axes]
        corner = [*kept, count]  # affine matrices have one row and column more
        spatial = {
            "scale": (np.asarray(self.spatial["scale"]) / factors)[kept],
            "translate": np.asarray(moved)[kept],
            "rotate": np.asarray(self.spatial["rotate"])[np.ix_(kept, kept)],
            "shear": _shear_matrix(self.spatial["shear"], count)[np.ix_(kept, kept)],
            "affine": np.asarray(self.spatial["affine"])[np.ix_(corner, corner)],
            "units": tuple(self.spatial["units"][i] for i in kept),
            "axis_labels": tuple(self.spatial["axis_labels"][i] for i in kept),
        }
        return replace(self, axes=axes, spatial=spatial)

    def image_options(self, suffix: str, **ours: Any) -> dict[str, Any]:
        """Arguments of `add_image` for a companion of the layer; `ours` go into its metadata."""
        options = {
            "name": f"{self.name} - {suffix}",
            "metadata": {
                **self.metadata,
                METADATA_KEY: {"axes": self.axes, "white": self.rgb_white, **ours},
            },
            "rgb": self.rgb,
            **self.spatial,
        }
        if not self.rgb:
            options |= {"colormap": self.colormap, "gamma": self.gamma, "blending": self.blending}
            if self.contrast_limits is not None:
                options["contrast_limits"] = self.contrast_limits
        return options

    def stack_options(self, label: str, every: float) -> dict[str, Any]:
        """Arguments of `add_image` for a stack of such layers, `every` apart, the first at `every`."""
        ndim = len(self.spatial["scale"])
        rotate, shear = np.eye(ndim + 1), np.eye(ndim + 1)
        rotate[1:, 1:] = self.spatial["rotate"]
        shear[1:, 1:] = _shear_matrix(self.spatial["shear"], ndim)
        affine = np.eye(ndim + 2)
        affine[1:, 1:] = np.asarray(self.spatial["affine"])
        return {
            "scale": (every, *self.spatial["scale"]),
            "translate": (every, *self.spatial["translate"]),
            "units": ("pixel", *self.spatial["units"]),
            "axis_labels": (label, *self.spatial["axis_labels"]),
            "affine": affine,
            "rotate": rotate,
            "shear": shear,
        }

    def to_display(self, image: FloatArray) -> NDArray[Any]:
        """`image` as a layer shows it: colours need 0 to 1 for floats."""
        return np.clip(image / self.rgb_white, 0, 1) if self.rgb else image


def _shear_matrix(shear: Any, ndim: int) -> NDArray[Any]:
    """A layer's shear as a matrix; napari also has the upper triangle's entries, row by row."""
    given = np.asarray(shear)
    if given.shape == (ndim, ndim):
        return given
    matrix = np.eye(ndim)
    matrix[np.triu_indices(ndim, 1)] = given
    return matrix


def _white(layer: Image) -> float:
    """The value that an RGB layer shows as white, in data units."""
    ours = layer.metadata.get(METADATA_KEY, {})
    if "white" in ours:
        return float(ours["white"])
    return float(np.iinfo(layer.dtype).max) if np.issubdtype(layer.dtype, np.integer) else 1.0


def _copied(value: Any) -> Any:
    """A copy of plain containers; other things are shared."""
    return deepcopy(value) if isinstance(value, dict | list) else value
