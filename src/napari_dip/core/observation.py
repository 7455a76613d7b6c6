"""The observation: what was measured, where it was measured, and what the file said about it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip.core import arrays
from napari_dip.core.axes import (
    CANONICAL_AXES,
    NOT_ON_IMAGE_GRID,
    BoolArray,
    ChannelLayout,
    FloatArray,
    guess_axes,
    to_canonical,
    validate_axes,
    validate_letters,
)
from napari_dip.core.errors import ObservationError
from napari_dip.core.header import Header


@dataclass(frozen=True, eq=False)
class Observation:
    """One image to restore: frozen arrays with axes (T, C, Z, Y, X), all five always there.

    Attributes
    ----------
    y : (T, C, Z, Y, X) float32
        The data, in data units. Unobserved pixels are NaN.
    observed : (T, C, Z, Y, X) bool
        False where nothing is known: NaN, flagged, saturated or painted pixels.
    axes : str
        The axes of the array that came in, such as ``"YXC"``; results go back to them.
    extras : mapping of str to (T, C, Z, Y, X) float32
        Named companions, with T and Z as long as the image's, or 1 where shared: ``"sigma"`` (the
        noise's standard deviation, of y's shape), ``"guide"``, ``"psf"``.
    header : Header
        What the file said.
    fold : (int, int)
        How many times and depths the channels hold besides, where these were `folded`.
    """

    y: FloatArray
    observed: BoolArray
    axes: str
    auxiliary: Mapping[str, FloatArray] = field(default_factory=dict)
    header: Header = field(default_factory=Header)
    plane_shape: tuple[int, int] = (1, 1)

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
        """An observation of `array`, copied.

        Parameters
        ----------
        array : any real dtype
            The image; its values are kept as float32, in their own units. A lazy one (dask, zarr, a
            mapped file) is read a part at a time; what does not fit the memory lies in a temporary file.
        axes : str
            One letter for each axis of `array`, from T (time), C (channel), Z (depth), Y, X.
        holes : bool or integer, optional
            What is missing: anything but 0 is a hole. Of `array`'s shape, or without its channel
            axis, or (Y, X). Pixels that are not finite are holes by themselves.
        sigma : float, optional
            Standard deviation of the noise at each pixel, in data units, shaped as `holes` may be.
            Where it is not a positive number the pixel counts as missing.
        header : Header, optional
            What the file said.

        Raises
        ------
        ObservationError
            If axes and shape disagree, or there is nothing to restore.

        Examples
        --------
        >>> import numpy as np
        >>> rgb = np.random.default_rng(0).normal(100, 5, (48, 64, 3))
        >>> Observation.from_array(rgb, axes="YXC").y.shape
        (1, 3, 1, 48, 64)
        """
        data = arrays.as_indexable(array)
        axes = validate_axes(axes, data)
        if not (np.issubdtype(data.dtype, np.number) or data.dtype == np.bool_):
            raise ObservationError(f"pixels of type {data.dtype} are not numbers; give a real array")
        if np.issubdtype(data.dtype, np.complexfloating):
            raise ObservationError(
                "the image is complex; restore its real and imaginary parts, or its magnitude"
            )
        y, observed = _read(data, axes)
        extras = {}
        if mask is not None:
            observed &= ~_missing(mask, data.shape, axes)
        if sigma is not None:
            deviation = _broadcast_plane(sigma, "sigma", data.shape, axes).astype(np.float32)
            extras["sigma"] = arrays.copy_array(np.broadcast_to(deviation, y.shape))
            observed &= np.isfinite(extras["sigma"]) & (extras["sigma"] > 0)
        y[~observed] = np.nan
        _check_something_to_restore(y, observed)
        for frozen in (y, observed, *extras.values()):
            frozen.setflags(write=False)
        return cls(y=y, observed=observed, axes=axes, auxiliary=extras, header=header or Header())

    @property
    def channel_layout(self) -> ChannelLayout:
        """What the channels stand for: themselves, but for times and depths that are `folded`."""
        times, depths = self.plane_shape
        size = self.header.pixel_size
        spacing = size["Z"][0] / size["X"][0] if {"Z", "X"} <= set(size) else 1.0
        return ChannelLayout(times, self.y.shape[1] // (times * depths), depths, spacing)

    def iter_planes(self) -> Iterator[tuple[tuple[slice, slice], Observation]]:
        """Each time and depth, as slices, with its own observation of shape (1, C, 1, Y, X)."""
        for t, z in product(range(self.y.shape[0]), range(self.y.shape[2])):
            here = slice(t, t + 1), slice(z, z + 1)
            yield here, self.select_planes(*here)

    def select_planes(self, times: slice, depths: slice) -> Observation:
        """Some times and depths of it, with the companions that belong to them."""
        extras = {
            name: extra[times if len(extra) > 1 else slice(None)][
                :, :, depths if extra.shape[2] > 1 else slice(None)
            ]
            for name, extra in self.auxiliary.items()
        }
        y, observed = self.y[times, :, depths], self.observed[times, :, depths]
        return replace(self, y=y, observed=observed, auxiliary=extras)

    def flatten_planes(self) -> Observation:
        """All its times and depths as channels, in the order (T, C, Z): (1, T * C * Z, 1, Y, X)."""

        def flat(array: NDArray[Any]) -> NDArray[Any]:
            return array.reshape(1, -1, 1, *array.shape[-2:])

        extras = {n: e if n in NOT_ON_IMAGE_GRID else flat(e) for n, e in self.auxiliary.items()}
        fold = self.y.shape[0], self.y.shape[2]
        return replace(
            self, y=flat(self.y), observed=flat(self.observed), auxiliary=extras, plane_shape=fold
        )

    def crop(self, rows: slice, columns: slice) -> Observation:
        """Some rows and columns of it. Companions on the image's grid, or on one that is a whole number
        of times finer, are cropped with it.
        """
        here = (..., rows, columns)
        extras = {
            name: _crop_auxiliary(name, extra, self.y, rows, columns)
            for name, extra in self.auxiliary.items()
        }
        return replace(self, y=self.y[here], observed=self.observed[here], auxiliary=extras)

    def concatenate_rows(self, others: Iterable[Observation]) -> Observation:
        """`others` of the same width, below this one."""
        parts = [self, *others]
        extras = {
            name: np.concatenate([part.auxiliary[name] for part in parts], axis=-2)
            for name in self.auxiliary
            if name not in NOT_ON_IMAGE_GRID
        }
        y, observed = (
            np.concatenate([getattr(p, n) for p in parts], axis=-2) for n in ("y", "observed")
        )
        return replace(self, y=y, observed=observed, auxiliary={**self.auxiliary, **extras})

    @property
    def is_constant(self) -> bool:
        """Whether all observed pixels have the same value, or there are none."""
        return _is_constant(self.y, self.observed)

    def with_auxiliary(self, name: str, array: ArrayLike, *, axes: str = "") -> Observation:
        """The same observation with a companion that an operator or a code asks for.

        Parameters
        ----------
        name : str
            Such as ``"guide"`` or ``"psf"``.
        array : any real dtype
            The companion. Its Y and X are its own; T and Z are the image's, or absent.
        axes : str, optional
            Its axes; left out: the image's own if it has as many, ``"YX"`` for two, or ``"YXC"`` and
            ``"CYX"`` for three, told apart by where the short axis is.

        Raises
        ------
        ObservationError
            If axes and shape disagree, or nothing in it is finite.
        """
        data = np.asarray(array)
        axes = axes or guess_axes(data, self.axes)
        if np.iscomplexobj(data):
            raise ObservationError(f"the {name} is complex; give its magnitude")
        canonical = to_canonical(data, validate_letters(axes, data, name)).astype(np.float32)
        for position, letter in ((0, "T"), (2, "Z")):
            have, need = canonical.shape[position], self.y.shape[position]
            if have not in (1, need):
                raise ObservationError(
                    f"the {name} has {have} planes along {letter} and the image {need}; give as many,"
                    " or one for all"
                )
        if not np.isfinite(canonical).any():
            raise ObservationError(f"the {name} holds no finite value; choose another")
        canonical.setflags(write=False)
        return replace(self, auxiliary={**self.auxiliary, name: canonical})

    def with_mask(self, mask: ArrayLike) -> Observation:
        """The same observation with more holes, shaped as `from_array` takes them.

        Raises
        ------
        ObservationError
            If their shape does not fit, or nothing would be left.
        """
        shape = self.to_input_axes(self.observed).shape
        missing = np.broadcast_to(_missing(mask, shape, self.axes), self.y.shape)
        y, observed = np.where(missing, np.float32(np.nan), self.y), self.observed & ~missing
        _check_something_to_restore(y, observed)
        for frozen in (y, observed):
            frozen.setflags(write=False)
        return replace(self, y=y, observed=observed)

    def to_input_axes(self, canonical: NDArray[Any], axes: str | None = None) -> NDArray[Any]:
        """A copy of a (T, C, Z, Y, X) array, with the axes that came in, or with `axes`."""
        axes = self.axes if axes is None else axes
        kept = [letter for letter in CANONICAL_AXES if letter in axes]
        absent = tuple(i for i, letter in enumerate(CANONICAL_AXES) if letter not in axes)
        squeezed = canonical.squeeze(axis=absent)
        return arrays.copy_array(squeezed.transpose([kept.index(a) for a in axes]))

    def digest(self) -> str:
        """SHA-256 of the data and of what is missing: two equal digests are the same input."""
        seen = hashlib.sha256(repr((self.axes, self.y.shape)).encode())
        for array in (self.y, self.observed, *self.auxiliary.values()):
            seen.update(np.ascontiguousarray(array).data)
        return seen.hexdigest()


def _read(data: arrays.Lazy, axes: str) -> tuple[FloatArray, BoolArray]:
    """The pixels in canonical axes, and which are finite, a part at a time."""
    sizes = dict(zip(axes, data.shape, strict=True))
    shape = tuple(sizes.get(letter, 1) for letter in CANONICAL_AXES)
    y, observed = arrays.empty(shape, np.float32), arrays.empty(shape, np.bool_)
    for place in arrays.iter_blocks(shape):
        own = tuple(place[CANONICAL_AXES.index(letter)] for letter in axes)
        part = to_canonical(np.asarray(data[own]), axes)
        with np.errstate(over="ignore"):
            y[place] = part
        observed[place] = np.isfinite(y[place])
        if np.any(~observed[place] & np.isfinite(part)):
            raise ObservationError("pixel values above 3.4e38 do not fit float32; rescale the image")
    return y, observed


def _is_constant(y: FloatArray, observed: BoolArray) -> bool:
    """Whether all observed pixels have the same value, or there are none."""
    low, high = (
        by(y, where=observed, initial=start) for by, start in ((np.min, np.inf), (np.max, -np.inf))
    )
    return bool(low >= high)


def _crop_auxiliary(
    name: str, extra: FloatArray, y: FloatArray, rows: slice, columns: slice
) -> FloatArray:
    """The rows and columns of a companion that belong to those of the image `y`."""
    finer, left = divmod(extra.shape[-1], y.shape[-1])
    if name in NOT_ON_IMAGE_GRID or left or extra.shape[-2] != finer * y.shape[-2]:
        return extra
    return extra[
        ..., finer * rows.start : finer * rows.stop, finer * columns.start : finer * columns.stop
    ]


def _missing(holes: ArrayLike, shape: tuple[int, ...], axes: str) -> BoolArray:
    return np.asarray(np.nan_to_num(_broadcast_plane(holes, "holes", shape, axes)) != 0)


def _broadcast_plane(given: ArrayLike, name: str, shape: tuple[int, ...], axes: str) -> NDArray[Any]:
    """`given` in canonical axes, of full shape or shared by channels or by all frames."""
    array = np.asarray(given)
    sizes = dict(zip(axes, shape, strict=True))
    for shared in ("", "C", "TCZ"):
        own = "".join(letter for letter in axes if letter not in shared)
        if array.shape == tuple(sizes[letter] for letter in own):
            return to_canonical(array, own)
    raise ObservationError(
        f"{name} of shape {array.shape} do not fit an image of shape {shape} with axes '{axes}';"
        " give the image's shape, or its shape without channels, or (Y, X)"
    )


def _check_something_to_restore(y: FloatArray, observed: BoolArray) -> None:
    per_frame = observed.any(axis=(1, 3, 4))
    if not per_frame.any():
        raise ObservationError("no pixel is observed: all are NaN, flagged or painted as holes")
    if not per_frame.all():
        t, z = np.argwhere(~per_frame)[0]
        raise ObservationError(
            f"no pixel is observed in the frame at T={t}, Z={z} (counted from 0); leave it out"
        )
    for t, z in np.ndindex(y.shape[0], y.shape[2]):
        seen = y[t, :, z], observed[t, :, z]
        if _is_constant(*seen):
            where = f" of the frame at T={t}, Z={z} (counted from 0)" if per_frame.size > 1 else ""
            raise ObservationError(
                f"all observed pixels{where} have the same value, {np.nanmin(seen[0]):g}:"
                " there is no image"
            )
