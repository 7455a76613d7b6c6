"""Images of any kind to observations, and to plain arrays."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_dip.core import arrays
from napari_dip.core.axes import FloatArray, infer_axes
from napari_dip.core.errors import ObservationError
from napari_dip.core.header import Header
from napari_dip.core.interop.astropy_data import parts_of_nddata
from napari_dip.core.interop.napari_layer import parts_of_layer, rescaled_placement
from napari_dip.core.interop.parts import Parts, Wrap
from napari_dip.core.interop.xarray_data import check_coordinates, parts_of_dataarray
from napari_dip.core.observation import Observation
from napari_dip.core.planes import is_usable_noise


def take_apart(image: Any) -> Parts:
    """Return the parts of an array or a richer object.

    Parameters
    ----------
    image : ndarray, MaskedArray, Quantity, NDData, CCDData, DataArray, Tensor, dask or zarr array, layer
        A layer of napari is an Image or Labels layer.

    Raises
    ------
    ObservationError
        If it holds something that cannot be taken over, such as an uncertainty of unknown type.
    """
    kinds = _class_names(image)
    if "xarray.DataArray" in kinds:
        return parts_of_dataarray(image)
    if "astropy.NDData" in kinds:
        return parts_of_nddata(image)
    if "astropy.Quantity" in kinds:
        return Parts(
            image.value,
            header=Header(unit=str(image.unit)),
            wrap=lambda result, values: image.unit * values,
        )
    if "torch.Tensor" in kinds:
        return Parts(image.detach().cpu().numpy(), wrap=lambda result, values: _to_tensor(values, image))
    if "napari.Layer" in kinds:
        return parts_of_layer(image)
    if isinstance(image, np.ma.MaskedArray):
        return Parts(
            image.data,
            mask=np.ma.getmaskarray(image),
            wrap=lambda result, values: np.ma.MaskedArray(values, result.inpainted),
        )
    return Parts(image)


def to_observation(
    image: Any,
    *,
    axes: str | None = None,
    channel_axis: int | None = None,
    mask: Any = None,
    sigma: Any = None,
) -> tuple[Observation, Wrap]:
    """Return an image as an observation, and a function that wraps a result as the image was.

    Parameters
    ----------
    image
        As for `take_apart`, or an observation.
    axes : str, optional
        One letter for each axis, from T, C, Z, Y, X. Default: those that the object names; an array of
        two dimensions needs none.
    channel_axis : int, optional
        Which axis of a three-dimensional array holds channels.
    mask : array, optional
        True where data are missing, besides those that the image itself masks.
    sigma : float or array, optional
        Standard deviation of the noise of each pixel, in place of that of the image itself.

    Raises
    ------
    ObservationError
        If the axes are ambiguous, or the parts do not match.
    """
    if isinstance(image, Observation):
        observation = image if mask is None else image.with_mask(plain_array(mask))
        if sigma is not None:
            std = _like_image(sigma, observation.to_input_axes(observation.y).shape, image.header.unit)
            observation = observation.with_auxiliary("sigma", std, axes=observation.axes)
            usable = is_usable_noise(observation.auxiliary["sigma"])
            observation = observation.with_mask(~observation.to_input_axes(usable))
        return observation, lambda result, values: result
    parts = take_apart(image)
    data = arrays.as_indexable(parts.array)
    axes = axes or parts.axes or infer_axes(tuple(data.shape), channel_axis=channel_axis)
    sigma = parts.sigma if sigma is None else _like_image(sigma, tuple(data.shape), parts.header.unit)
    observation = Observation.from_array(
        data, axes=axes, mask=parts.mask, sigma=sigma, header=parts.header
    )
    if mask is not None:
        observation = observation.with_mask(plain_array(mask))
    for name, values in parts.auxiliary.items():
        observation = observation.with_auxiliary(name, values)
    return observation, parts.wrap


def check_resizable(image: Any) -> None:
    """Check before the work whether a result on a finer grid can be wrapped as `image` is.

    Raises
    ------
    ObservationError
        If it has coordinates or a placement that cannot be interpolated.
    """
    kinds = _class_names(image)
    if "xarray.DataArray" in kinds:
        check_coordinates(image)
    if "napari.Layer" in kinds:
        rescaled_placement(image, (2.0, 2.0))


def plain_array(values: Any) -> NDArray[Any]:
    """Return any of the kinds that `take_apart` knows as a NumPy array; NaN where it is masked."""
    parts = take_apart(values)
    array = np.asarray(parts.array)
    return array if parts.mask is None else np.where(parts.mask, np.nan, array)


def in_data_units(values: Any, unit: str) -> NDArray[Any]:
    """Return `values` as `plain_array` does; those of a Quantity in the unit of the image.

    Raises
    ------
    ObservationError
        If its unit cannot be converted.
    """
    if "astropy.Quantity" not in _class_names(values):
        return plain_array(values)
    from astropy import units

    try:
        return np.asarray(values.to_value(units.Unit(unit, parse_strict="silent")))
    except units.UnitConversionError:
        raise ObservationError(
            f"sigma is in '{values.unit}' and the image in '{unit}': give sigma in the unit of the image"
        ) from None


def cast(image: FloatArray, dtype: DTypeLike) -> NDArray[Any]:
    """Return `image` as `dtype`; for integers rounded, and clipped at the ends of the type."""
    kind = np.dtype(dtype)
    if kind.kind not in "iu":
        return image.astype(kind)
    limits = np.iinfo(kind)
    rounded = np.rint(np.nan_to_num(image.astype(float)))
    return np.asarray(np.clip(rounded, limits.min, limits.max).astype(kind))


def _class_names(image: Any) -> set[str]:
    """The classes of an object as library.Class."""
    return {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(image).__mro__}


def _like_image(sigma: Any, shape: tuple[int, ...], unit: str) -> NDArray[Any]:
    """The standard deviation of each pixel, given for all of them or as one value."""
    values = in_data_units(sigma, unit).astype(float)
    return np.broadcast_to(values, shape) if values.ndim == 0 else values


def _to_tensor(values: NDArray[Any], like: Any) -> Any:
    return sys.modules["torch"].from_numpy(np.ascontiguousarray(values)).to(like.device)
