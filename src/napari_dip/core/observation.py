"""The observation: what was measured, where, and what the file says about it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip.core import arrays
from napari_dip.core.assessment import Finding
from napari_dip.core.axes import (
    CANONICAL_AXES,
    NOT_ON_IMAGE_GRID,
    BoolArray,
    FloatArray,
    crop_auxiliary,
    guess_axes,
    to_canonical,
    validate_axes,
    validate_letters,
)
from napari_dip.core.errors import ObservationError
from napari_dip.core.header import Header
from napari_dip.core.mask_check import mask_findings
from napari_dip.core.outside import INSIDE, find_outside
from napari_dip.core.planes import (
    check_real,
    is_usable_noise,
    match_shape,
    read_planes,
    spoken_name,
    to_bool,
)


@dataclass(frozen=True, eq=False, repr=False)
class Observation:
    """One image to restore: frozen arrays that always have the axes (T, C, Z, Y, X).

    Attributes
    ----------
    y : (T, C, Z, Y, X) float32
        The data, in data units; NaN where nothing is observed.
    observed : (T, C, Z, Y, X) bool
        False where data are missing: NaN, flagged, saturated or masked pixels.
    axes : str
        Axes of the input array, such as ``"YXC"``; results have them, too.
    auxiliary : mapping of str to (T, C, Z, Y, X) float32
        Named auxiliary data, with as many T and Z as the image, or 1: ``"sigma"`` (standard deviation
        of the noise, shaped as y), ``"guide"``, ``"psf"``, ``"coil_maps"``, ``"trajectory"``.
    header : Header
        What the file says about the image.
    findings : tuple of Finding
        Why a result should be checked, whatever the run does.
    outside : (T, C, Z, Y, X) float32 or None
        The value that each pixel outside the footprint of the image keeps, see `core.outside`; None if
        all are inside.
    """

    y: FloatArray
    observed: BoolArray
    axes: str
    auxiliary: Mapping[str, FloatArray] = field(default_factory=dict)
    header: Header = field(default_factory=Header)
    findings: tuple[Finding, ...] = ()
    outside: FloatArray | None = None

    @classmethod
    def from_array(
        cls,
        array: ArrayLike | arrays.Lazy,
        *,
        axes: str,
        mask: ArrayLike | None = None,
        sigma: ArrayLike | None = None,
        header: Header | None = None,
    ) -> Observation:
        """Make an observation of a copy of `array`.

        Parameters
        ----------
        array : array of any real dtype
            The image, in any unit; it is kept as float32. A lazy array (dask, zarr, memory-mapped) is
            read in parts; what does not fit in memory goes to a temporary file.
        axes : str
            One letter for each axis of `array`, from T (time), C (channel), Z (depth), Y, X.
        mask : array of bool or integer, optional
            Nonzero where data are missing. It has the shape of `array`, or that without the channel
            axis, or (Y, X). Pixels that are not finite are missing anyway.
        sigma : array of float, optional
            Standard deviation of the noise of each pixel, in data units, with a shape as for `mask`.
            Data are missing where it is not a positive number, or a thousand times the median.
        header : Header, optional
            What the file says about the image.

        Raises
        ------
        ObservationError
            If axes and shapes do not match, or there is nothing to restore.

        Examples
        --------
        >>> import numpy as np
        >>> rgb = np.random.default_rng(0).normal(100, 5, (48, 64, 3))
        >>> Observation.from_array(rgb, axes="YXC").y.shape
        (1, 3, 1, 48, 64)
        """
        data = arrays.as_indexable(array)
        axes = validate_axes(axes, data)
        check_real(data.dtype, "image")
        _check_no_mosaic(header or Header(), axes)
        y, observed = read_planes(data, axes)
        if mask is not None:
            observed &= ~to_bool(mask, data.shape, axes)
        if (outside := find_outside(y, observed)) is not None:
            observed &= outside == INSIDE
        auxiliary = {}
        if sigma is not None:
            std = match_shape(sigma, "sigma", data.shape, axes).astype(np.float32)
            auxiliary["sigma"] = arrays.copy_array(np.broadcast_to(std, y.shape))
            observed &= is_usable_noise(auxiliary["sigma"])
        findings = mask_findings(y, observed)
        y[~observed] = np.nan
        _check_something_to_restore(y, observed)
        for values in (y, observed, *auxiliary.values()):
            values.setflags(write=False)
        return cls(y, observed, axes, auxiliary, header or Header(), findings, outside)

    @property
    def is_constant(self) -> bool:
        """Whether the observed pixels of each plane have the same value, or there are none."""
        return is_constant(self.y, self.observed)

    def select_planes(self, times: slice, depths: slice) -> Observation:
        """Return some times and depths, with the auxiliary data that belong to them."""
        auxiliary = {
            name: array[times if len(array) > 1 else slice(None)][
                :, :, depths if array.shape[2] > 1 and name not in NOT_ON_IMAGE_GRID else slice(None)
            ]
            for name, array in self.auxiliary.items()
        }
        part = (times, slice(None), depths)
        outside = None if self.outside is None else self.outside[part]
        y, observed = self.y[part], self.observed[part]
        return replace(self, y=y, observed=observed, auxiliary=auxiliary, outside=outside)

    def crop(self, rows: slice, columns: slice) -> Observation:
        """Return some rows and columns, with the auxiliary data on the same grid or a finer one."""
        auxiliary = {
            name: crop_auxiliary(name, array, self.y.shape[-2:], rows, columns)
            for name, array in self.auxiliary.items()
        }
        part = (..., rows, columns)
        outside = None if self.outside is None else self.outside[part]
        y, observed = self.y[part], self.observed[part]
        return replace(self, y=y, observed=observed, auxiliary=auxiliary, outside=outside)

    def with_auxiliary(self, name: str, array: ArrayLike, *, axes: str = "") -> Observation:
        """Return the observation with auxiliary data that an operator or a network input needs.

        Parameters
        ----------
        name : str
            ``"guide"``, ``"psf"``, ``"coil_maps"`` or ``"trajectory"``.
        array : array of any real dtype
            The data. Y and X may be of any size; T and Z are those of the image, or absent. A PSF may
            have any number of depths.
        axes : str, optional
            Its axes. Default: those of the image for an array with as many; ``"YX"`` for two; for
            three ``"YXC"`` or ``"CYX"``, whichever makes C the shorter.

        Raises
        ------
        ObservationError
            If axes and shapes do not match, or no value is finite.
        """
        data = np.asarray(array)
        axes = axes or guess_axes(data, self.axes)
        check_real(data.dtype, name)
        canonical = to_canonical(data, validate_letters(axes, data, name)).astype(np.float32)
        if name == "psf" and canonical.shape[1] > 1:
            raise ObservationError(
                f"the PSF has {canonical.shape[1]} channels: give one image, or a volume (axes ZYX)"
            )
        for position, letter in ((0, "T"), (2, "Z")):
            have, need = canonical.shape[position], self.y.shape[position]
            is_free = letter == "Z" and name in NOT_ON_IMAGE_GRID
            if have not in (1, need) and not is_free:
                raise ObservationError(
                    f"the {spoken_name(name)} has {have} planes along {letter} and the image has {need}:"
                    " give as many, or one for all"
                )
        if not np.isfinite(canonical).any():
            raise ObservationError(f"the {spoken_name(name)} has no finite value: choose another")
        canonical.setflags(write=False)
        return replace(self, auxiliary={**self.auxiliary, name: canonical})

    def with_mask(self, mask: ArrayLike, *, axes: str | None = None) -> Observation:
        """Return the observation with more missing data.

        Parameters
        ----------
        mask : array of bool or integer
            As in `from_array`.
        axes : str, optional
            One letter for each axis of `mask`: then it may have any of the axes of the image.

        Raises
        ------
        ObservationError
            If its shape does not match, or nothing would be left.
        """
        shape = self.to_input_axes(self.observed).shape
        missing = np.broadcast_to(to_bool(mask, shape, self.axes, axes), self.y.shape)
        observed = self.observed & ~missing
        findings = self.findings + mask_findings(self.y, observed)
        y = np.where(missing, np.float32(np.nan), self.y)
        _check_something_to_restore(y, observed)
        for values in (y, observed):
            values.setflags(write=False)
        return replace(self, y=y, observed=observed, findings=findings)

    def to_input_axes(self, canonical: NDArray[Any], axes: str | None = None) -> NDArray[Any]:
        """Return a copy of a (T, C, Z, Y, X) array with the axes of the input, or with `axes`."""
        axes = self.axes if axes is None else axes
        present = [letter for letter in CANONICAL_AXES if letter in axes]
        absent = tuple(i for i, letter in enumerate(CANONICAL_AXES) if letter not in axes)
        squeezed = canonical.squeeze(axis=absent)
        return arrays.copy_array(squeezed.transpose([present.index(letter) for letter in axes]))

    def digest(self) -> str:
        """Return the SHA-256 digest of the data, the mask and the auxiliary data."""
        hasher = hashlib.sha256(repr((self.axes, self.y.shape)).encode())
        for array in (self.y, self.observed, *self.auxiliary.values()):
            hasher.update(np.ascontiguousarray(array).data)
        return hasher.hexdigest()

    def __repr__(self) -> str:
        shape = dict(zip(CANONICAL_AXES, self.y.shape, strict=True))
        sizes = ", ".join(f"{letter}={shape[letter]}" for letter in self.axes)
        names = f", auxiliary: {', '.join(self.auxiliary)}" if self.auxiliary else ""
        return f"Observation({sizes}, {int((~self.observed).sum()):,} missing{names})"


def is_constant(y: FloatArray, observed: BoolArray) -> bool:
    """Whether the observed pixels of each plane have the same value, or there are none."""
    low, high = (
        extreme(y, axis=(-2, -1), where=observed, initial=start)
        for extreme, start in ((np.min, np.inf), (np.max, -np.inf))
    )
    return bool(np.all(low >= high))


def _check_no_mosaic(header: Header, axes: str) -> None:
    """Refuse a raw frame of a color camera, as one plane."""
    if header.bayer_pattern and "C" not in axes:
        raise ObservationError(
            f"this is a raw frame of a color camera ({header.bayer_pattern}): neighboring pixels have"
            " different colors. Debayer it first; if it has one color, remove BAYERPAT from its header"
        )


def _check_something_to_restore(y: FloatArray, observed: BoolArray) -> None:
    if not observed.any():
        raise ObservationError("no pixel is observed: all are NaN, flagged or masked")
    if is_constant(y, observed):
        low, high = np.nanmin(y), np.nanmax(y)
        where = f"all observed pixels have the same value, {low:g}"
        if low < high:
            where = f"in each plane all observed pixels have the same value ({low:g} to {high:g})"
        raise ObservationError(f"{where}: there is nothing to restore")
