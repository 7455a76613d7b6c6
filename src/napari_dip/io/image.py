"""One image of a file, before anybody decides what to do with it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_dip.core.axes import BoolArray
from napari_dip.core.errors import ReadError, WriteError
from napari_dip.core.header import Header
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.io.data_quality import DataQuality


@dataclass(frozen=True, eq=False)
class ImageData:
    """Pixels as the file has them, scaled to data units, in the machine's byte order.

    Attributes
    ----------
    array : any real dtype
        The pixels; those of a large file are read when they are asked for (dask).
    axes : str
        A letter of T, C, Z, Y, X for each axis.
    flagged : bool array of the same shape, or None
        Pixels that the file itself calls bad: quality flags, missing planes, weight 0.
    sigma : float array of the same shape, or None
        Standard deviation of the noise, from an error, variance or weight plane.
    residual, residual_axes : float array or None, str
        What a restoration left of the data, in standard deviations of their noise, on their grid.
    rgb : bool
        Whether the last axis are the colours of a photograph.
    header : Header
        What the file says.
    quality : Quality or None
        Every quality flag of the file; those of them that are bad are in `flagged` already.
    pyramid : tuple of arrays
        The same image with ever fewer rows and columns, as the file has it for the screen.
    colours : (N, 3) float array or None
        How the file wants its values shown: red, green and blue from 0 to 1 for each value from 0 on;
        of two, the first is the lowest value's. None where larger is lighter.
    """

    array: Any
    axes: str
    bad_mask: BoolArray | None = None
    sigma: NDArray[np.float32] | None = None
    residual: NDArray[np.float32] | None = None
    residual_axes: str = ""
    rgb: bool = False
    header: Header = field(default_factory=Header)
    quality: DataQuality | None = None
    levels: tuple[Any, ...] = ()
    colormap: NDArray[np.float64] | None = None

    @property
    def mask(self) -> BoolArray | None:
        """What is missing: flagged or not finite; None where nothing is.

        Of an image that is read when it is asked for only what is flagged: what is not finite shows when
        it is restored.
        """
        missing = ~np.isfinite(self.array) if isinstance(self.array, np.ndarray) else self.bad_mask
        if missing is None:
            return None
        if self.bad_mask is not None:
            missing = missing | self.bad_mask
        return missing if missing.any() else None

    def with_bad_flags(self, flags: Collection[int]) -> ImageData:
        """The same image with other quality flags as holes; what is missing for other reasons stays so.

        Raises
        ------
        ReadError
            If it has no quality plane, or a number is no flag.
        """
        if self.quality is None:
            raise ReadError(f"{self.header.path or 'the image'} has no quality plane to choose flags of")
        chosen = self.quality.with_bad_flags(flags)
        others = None if self.bad_mask is None else self.bad_mask & ~self.quality.mask()
        holes = chosen.mask() if others is None else chosen.mask() | others
        return replace(self, bad_mask=holes if holes.any() else None, quality=chosen)

    def to_integer(self, kind: DTypeLike) -> tuple[ImageData, float]:
        """The same image in whole numbers of type `kind`, and what part of its pixels had to be clipped.

        Nothing is scaled: what lies beyond the type's ends becomes those. Pixels without a value become
        0 and are flagged.

        Raises
        ------
        WriteError
            If `kind` is no type of whole numbers.
        """
        kind = np.dtype(kind)
        if kind.kind not in "iu":
            raise WriteError(f"{kind} is no type of whole numbers, such as uint8, uint16 or int16")
        ends, missing = np.iinfo(kind), np.isnan(self.array)
        whole = np.rint(np.where(missing, 0, self.array.astype(float)))
        clipped = float(np.mean((whole < ends.min) | (whole > ends.max)))
        flagged = missing if self.bad_mask is None else self.bad_mask | missing
        array = np.clip(whole, ends.min, ends.max).astype(kind)
        return replace(self, array=array, bad_mask=flagged), clipped

    def crop(self, rows: slice, columns: slice) -> ImageData:
        """Some rows and columns of it, where they are on the sky."""
        from napari_dip.io.fits.wcs import crop_header

        size = dict(zip(self.axes, self.array.shape, strict=True))
        rows, columns = slice(*rows.indices(size["Y"])), slice(*columns.indices(size["X"]))
        here = tuple({"Y": rows, "X": columns}.get(letter, slice(None)) for letter in self.axes)
        return replace(
            self,
            array=self.array[here],
            bad_mask=None if self.bad_mask is None else self.bad_mask[here],
            sigma=None if self.sigma is None else self.sigma[here],
            quality=self.quality and replace(self.quality, values=self.quality.values[here]),
            residual=None,
            levels=(),
            header=crop_header(self.header, rows.start, columns.start),
        )

    def planes_last(self) -> ImageData:
        """The same image with Y and X last, as files and layers have them."""
        order, axes = _planes_last(self.axes)
        residual_order, residual_axes = _planes_last(self.residual_axes)
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
        """What is to be written of a result."""
        return cls(
            result.image,
            result.axes,
            bad_mask=result.inpainted,
            sigma=result.uncertainty,
            residual=result.normalized_residual,
            residual_axes=result.residual_axes,
            header=result.header,
        )

    @classmethod
    def stack(cls, images: Sequence[ImageData]) -> ImageData:
        """Frames of one scene along T, with the first one's header.

        Raises
        ------
        ReadError
            If they differ in shape or axes, or have a T already.
        """
        first = images[0]
        for other in images[1:]:
            if (other.axes, other.array.shape) != (first.axes, first.array.shape) or "T" in first.axes:
                raise ReadError(
                    f"{other.header.path} ({other.axes} {other.array.shape}) cannot be stacked on"
                    f" {first.header.path} ({first.axes} {first.array.shape}): frames without a T axis,"
                    " and of one shape, are needed"
                )

        def every(name: str, absent: float) -> NDArray[Any] | None:
            planes = [getattr(image, name) for image in images]
            if all(plane is None for plane in planes):
                return None
            return np.stack([np.full(first.array.shape, absent) if p is None else p for p in planes])

        flagged, sigma = every("flagged", 0), every("sigma", np.nan)
        if sigma is not None and any(image.sigma is None for image in images):
            sigma = None  # known for some frames only: it is estimated for all
        return replace(
            first,
            array=np.stack([image.array for image in images]),
            axes=f"T{first.axes}",
            bad_mask=None if flagged is None else flagged.astype(bool),
            sigma=sigma,
            residual=None,
            quality=None,
            levels=(),
        )

    def to_observation(self) -> Observation:
        """The observation of these pixels."""
        return Observation.from_array(
            self.array, axes=self.axes, mask=self.bad_mask, sigma=self.sigma, header=self.header
        )


def valid_sigma(sigma: NDArray[np.float32], flagged: BoolArray) -> NDArray[np.float32] | None:
    """An error plane, with pixels marked in `flagged` that have none; None where nobody filled it in."""
    if not np.any(sigma > 0):
        return None
    flagged |= ~(np.isfinite(sigma) & (sigma > 0))
    return sigma


def _planes_last(axes: str) -> tuple[list[int], str]:
    """The order of axes that has Y and X last, and their letters in that order."""
    letters = "".join(letter for letter in axes if letter not in "YX") + ("YX" if axes else "")
    return [axes.index(letter) for letter in letters], letters
