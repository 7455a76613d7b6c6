"""One image of a file, before anybody decides what to do with it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.errors import ReadError
from napari_dip.io.quality import Quality
from napari_dip.observation import Flags, Header, Observation


@dataclass(frozen=True, eq=False)
class FileImage:
    """Pixels as the file has them, scaled to data units, in the machine's byte order.

    Attributes
    ----------
    array : any real dtype
        The pixels.
    axes : str
        A letter of T, C, Z, Y, X for each axis.
    flagged : bool array of the same shape, or None
        Pixels that the file itself calls bad: quality flags, missing planes, weight 0.
    sigma : float array of the same shape, or None
        Standard deviation of the noise, from an error, variance or weight plane.
    rgb : bool
        Whether the last axis are the colours of a photograph.
    header : Header
        What the file says.
    quality : Quality or None
        Every quality flag of the file; those of them that are bad are in `flagged` already.
    """

    array: NDArray[Any]
    axes: str
    flagged: Flags | None = None
    sigma: NDArray[np.float32] | None = None
    rgb: bool = False
    header: Header = field(default_factory=Header)
    quality: Quality | None = None

    @property
    def holes(self) -> Flags | None:
        """What is missing: flagged or not finite; None where nothing is."""
        missing = ~np.isfinite(self.array)
        if self.flagged is not None:
            missing |= self.flagged
        return missing if missing.any() else None

    def with_bad(self, flags: Collection[int]) -> FileImage:
        """The same image with other quality flags as holes; what is missing for other reasons stays so.

        Raises
        ------
        ReadError
            If it has no quality plane, or a number is no flag.
        """
        if self.quality is None:
            raise ReadError(f"{self.header.path or 'the image'} has no quality plane to choose flags of")
        chosen = self.quality.choosing(flags)
        others = None if self.flagged is None else self.flagged & ~self.quality.holes()
        holes = chosen.holes() if others is None else chosen.holes() | others
        return replace(self, flagged=holes if holes.any() else None, quality=chosen)

    def cropped(self, rows: slice, columns: slice) -> FileImage:
        """Some rows and columns of it, where they are on the sky."""
        from napari_dip.io.grid import on_part

        size = dict(zip(self.axes, self.array.shape, strict=True))
        rows, columns = slice(*rows.indices(size["Y"])), slice(*columns.indices(size["X"]))
        here = tuple({"Y": rows, "X": columns}.get(letter, slice(None)) for letter in self.axes)
        return replace(
            self,
            array=self.array[here],
            flagged=None if self.flagged is None else self.flagged[here],
            sigma=None if self.sigma is None else self.sigma[here],
            quality=self.quality and replace(self.quality, values=self.quality.values[here]),
            header=on_part(self.header, rows.start, columns.start),
        )

    def planes_first(self) -> FileImage:
        """The same image with Y and X last, as files and layers have them."""
        order = [i for i, letter in enumerate(self.axes) if letter not in "YX"]
        order += [self.axes.index("Y"), self.axes.index("X")]
        return replace(
            self,
            array=self.array.transpose(order),
            axes="".join(self.axes[i] for i in order),
            flagged=None if self.flagged is None else self.flagged.transpose(order),
            sigma=None if self.sigma is None else self.sigma.transpose(order),
            quality=self.quality and replace(self.quality, values=self.quality.values.transpose(order)),
        )

    @classmethod
    def stacked(cls, images: Sequence[FileImage]) -> FileImage:
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
            flagged=None if flagged is None else flagged.astype(bool),
            sigma=sigma,
            quality=None,
        )

    def observe(self) -> Observation:
        """The observation of these pixels."""
        return Observation.from_array(
            self.array, axes=self.axes, holes=self.flagged, sigma=self.sigma, header=self.header
        )
