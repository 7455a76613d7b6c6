"""One image of a file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_dip.core.axes import BoolArray
from napari_dip.core.errors import ReadError, WriteError
from napari_dip.core.header import Header
from napari_dip.core.observation import Observation
from napari_dip.core.parameter_maps import ParameterMaps
from napari_dip.core.result import Result
from napari_dip.io.data_quality import DataQuality

KSPACE_NAME, COIL_MAPS_NAME = "kspace", "coils"  # of the images of a k-space file
MAP_COMMENTS = {"chi-square": "squared residual over the noise: about 1 where the equation holds"}


class Byproduct(NamedTuple):
    """What a restoration has besides its image: its name in files, values, axes and unit, what it is,
    and whether it is a map of a parameter.
    """

    name: str
    values: NDArray[Any]
    axes: str
    unit: str
    comment: str
    is_map: bool = False

    @property
    def label(self) -> str:
        """Its name, and where it is a map its unit."""
        return f"{self.name} [{self.unit}]" if self.is_map and self.unit else self.name


@dataclass(frozen=True, eq=False)
class ImageData:
    """Pixels as the file has them, in data units and native byte order.

    Attributes
    ----------
    array : any real dtype
        The pixels; those of a large file are read lazily (dask).
    axes : str
        One letter of T, C, Z, Y, X for each axis.
    bad_mask : bool array of the same shape, or None
        Pixels that the file marks as bad: quality flags, missing planes, weight 0.
    sigma : float array of the same shape, or None
        Standard deviation of the noise, from an error, variance or weight plane.
    residual, residual_axes : float array or None, str
        Normalized residual of a restoration, on the grid of the data.
    maps : ParameterMaps or None
        Maps of the parameters of a signal equation, of a restoration.
    rgb : bool
        Whether the last axis holds the colors of a photograph.
    header : Header
        What the file says.
    quality : DataQuality or None
        All quality flags of the file; the bad ones are in `bad_mask` already.
    levels : tuple of arrays
        Lower resolutions of the same image, for display.
    others : tuple of str
        Names of further images in the file, or their numbers.
    colormap : (N, 3) float array or None
        Red, green and blue from 0 to 1 for each value from 0 on; of two, the first is that of the lowest
        value. None where larger is brighter.
    """

    array: Any
    axes: str
    bad_mask: BoolArray | None = None
    sigma: NDArray[np.float32] | None = None
    residual: NDArray[np.float32] | None = None
    residual_axes: str = ""
    maps: ParameterMaps | None = None
    rgb: bool = False
    header: Header = field(default_factory=Header)
    quality: DataQuality | None = None
    levels: tuple[Any, ...] = ()
    others: tuple[str, ...] = ()
    colormap: NDArray[np.float64] | None = None

    @property
    def mask(self) -> BoolArray | None:
        """Missing pixels: bad or not finite; None if there are none.

        Of a lazy image only bad ones: values that are not finite show up when it is restored.
        """
        missing = ~np.isfinite(self.array) if isinstance(self.array, np.ndarray) else self.bad_mask
        if missing is None:
            return None
        if self.bad_mask is not None:
            missing = missing | self.bad_mask
        return missing if missing.any() else None

    @property
    def pixels(self) -> NDArray[Any]:
        """All pixels in memory, NaN where they are missing."""
        array = np.asarray(self.array)
        return array if self.mask is None else np.where(self.mask, np.nan, array)

    def byproducts(self) -> Iterator[Byproduct]:
        """Yield what a restoration has besides its image."""
        unit = self.header.unit
        if self.bad_mask is not None and self.bad_mask.any():
            comment = "1: not observed, inferred by the deep image prior"
            yield Byproduct("FILLED", self.bad_mask.astype(np.uint8), self.axes, "", comment)
        if self.sigma is not None:
            comment = "standard deviation of the error of the restored image, in its unit"
            yield Byproduct("UNCERT", self.sigma, self.axes, unit, comment)
        if self.residual is not None:
            comment = "data minus prediction, in standard deviations of the noise"
            yield Byproduct("RESIDUAL", self.residual, self.residual_axes, "", comment)
        if self.maps is not None:
            axes = "".join(sorted(self.maps.axes, key=self.axes.find))
            order = [self.maps.axes.index(letter) for letter in axes]
            for name, values, unit in self.maps.planes():
                named = name.upper().replace(" ", "_").replace("-", "_")
                comment = MAP_COMMENTS.get(name, "")
                yield Byproduct(named, values.transpose(order), axes, unit, comment, is_map=True)

    def with_bad_flags(self, flags: Collection[int]) -> ImageData:
        """Return the image with other quality flags treated as missing.

        Raises
        ------
        ReadError
            If it has no quality plane, or a number is not one of its flags.
        """
        if self.quality is None:
            raise ReadError(f"{self.header.path or 'the image'} has no quality plane")
        quality = self.quality.with_bad_flags(flags)
        mask = quality.mask()
        if self.bad_mask is not None:
            mask = mask | (self.bad_mask & ~self.quality.mask())
        return replace(self, bad_mask=mask if mask.any() else None, quality=quality)

    def with_axes(self, axes: str) -> ImageData:
        """Return the image with other names of its axes.

        Raises
        ------
        ReadError
            If they cannot be its axes.
        """
        letters = axes.upper()
        is_valid = len(set(letters)) == len(letters) and {"Y", "X"} <= set(letters) <= set("TCZYX")
        if not is_valid or len(letters) != len(self.array.shape):
            raise ReadError(
                f"{self.header.path or 'the image'} of shape {tuple(self.array.shape)} cannot have the "
                f"axes '{axes}': give one letter of T, C, Z, Y, X for each"
            )
        return replace(self, axes=letters)

    def to_integer(self, kind: DTypeLike) -> tuple[ImageData, float]:
        """Return the image as integers of type `kind`, and the fraction of its pixels that are clipped.

        Nothing is scaled: values beyond the ends of the type become those. NaN becomes 0 and is marked
        as bad.

        Raises
        ------
        WriteError
            If `kind` is not an integer type.
        """
        kind = np.dtype(kind)
        if kind.kind not in "iu":
            raise WriteError(f"{kind} is not an integer type, such as uint8, uint16 or int16")
        ends, missing = np.iinfo(kind), np.isnan(self.array)
        whole = np.rint(np.where(missing, 0, self.array.astype(float)))
        clipped = float(np.mean((whole < ends.min) | (whole > ends.max)))
        bad_mask = missing if self.bad_mask is None else self.bad_mask | missing
        array = np.clip(whole, ends.min, ends.max).astype(kind)
        return replace(self, array=array, bad_mask=bad_mask), clipped

    def crop(self, rows: slice, columns: slice) -> ImageData:
        """Return some rows and columns, with their coordinates."""
        from napari_dip.io.fits.wcs import crop_header

        size = dict(zip(self.axes, self.array.shape, strict=True))
        rows, columns = slice(*rows.indices(size["Y"])), slice(*columns.indices(size["X"]))
        inside = tuple({"Y": rows, "X": columns}.get(letter, slice(None)) for letter in self.axes)
        return replace(
            self,
            array=self.array[inside],
            bad_mask=None if self.bad_mask is None else self.bad_mask[inside],
            sigma=None if self.sigma is None else self.sigma[inside],
            quality=self.quality and replace(self.quality, values=self.quality.values[inside]),
            residual=None,
            maps=None,
            levels=(),
            header=crop_header(self.header, rows.start, columns.start),
        )

    def planes_last(self) -> ImageData:
        """Return the image with Y and X last, as layers have them."""
        return self.with_axis_order("".join(sorted(self.axes, key="YX".find)))

    def with_axis_order(self, letters: str) -> ImageData:
        """Return the image with its axes, and those of its residual, in the order of `letters`."""
        axes = "".join(sorted(self.axes, key=letters.find))
        residual_axes = "".join(sorted(self.residual_axes, key=letters.find))
        order = [self.axes.index(letter) for letter in axes]
        residual_order = [self.residual_axes.index(letter) for letter in residual_axes]
        return replace(
            self,
            array=self.array.transpose(order),
            axes=axes,
            bad_mask=None if self.bad_mask is None else self.bad_mask.transpose(order),
            sigma=None if self.sigma is None else self.sigma.transpose(order),
            residual=None if self.residual is None else self.residual.transpose(residual_order),
            residual_axes=residual_axes,
            quality=self.quality and replace(self.quality, values=self.quality.values.transpose(order)),
            levels=tuple(level.transpose(order) for level in self.levels),
        )

    @classmethod
    def from_result(cls, result: Result) -> ImageData:
        """Return what is written of a result."""
        return cls(
            result.image,
            result.axes,
            bad_mask=result.inpainted,
            sigma=result.uncertainty,
            residual=result.normalized_residual,
            residual_axes=result.residual_axes,
            maps=result.maps,
            rgb=result.header.rgb and result.axes.endswith("C"),
            header=result.header,
        )

    @classmethod
    def stack(cls, images: Sequence[ImageData]) -> ImageData:
        """Return images as frames along T, with the header of the first, and the protocol of all.

        Raises
        ------
        ReadError
            If they differ in shape or axes, or have a T already.
        """
        first = images[0]
        for other in images[1:]:
            if (other.axes, other.array.shape) != (first.axes, first.array.shape) or "T" in first.axes:
                raise ReadError(
                    f"{other.header.path} ({other.axes} {other.array.shape}) cannot be stacked with"
                    f" {first.header.path} ({first.axes} {first.array.shape}): images of one shape, "
                    "without a T axis, are needed"
                )

        masks = [image.bad_mask for image in images]
        sigmas = [image.sigma for image in images if image.sigma is not None]
        no_mask = np.zeros(first.array.shape, bool)
        return replace(
            first,
            array=np.stack([image.array for image in images]),
            axes=f"T{first.axes}",
            bad_mask=None
            if all(mask is None for mask in masks)
            else np.stack([no_mask if mask is None else mask for mask in masks]),
            # Where it is known for some frames only, it is estimated for all.
            sigma=np.stack(sigmas) if len(sigmas) == len(images) else None,
            residual=None,
            maps=None,
            quality=None,
            levels=(),
            header=Header.of_frames([image.header for image in images]),
        )

    def to_observation(self) -> Observation:
        """Return the image as an observation."""
        return Observation.from_array(
            self.array, axes=self.axes, mask=self.bad_mask, sigma=self.sigma, header=self.header
        )


def valid_sigma(sigma: NDArray[np.float32], bad_mask: BoolArray) -> NDArray[np.float32] | None:
    """Return an error plane, and mark pixels without a valid error in `bad_mask`; None if all are."""
    if not np.any(sigma > 0):
        return None
    bad_mask |= ~(np.isfinite(sigma) & (sigma > 0))
    return sigma
