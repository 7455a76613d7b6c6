"""Arrays of other libraries in and out: masked arrays, xarray, astropy, torch, layers of napari.

None of these libraries is imported before one of its objects is met.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from napari_dip.core import arrays
from napari_dip.core.axes import (
    BoolArray,
    FloatArray,
    axes_from_names,
    infer_axes,
)
from napari_dip.core.errors import ObservationError
from napari_dip.core.header import Header
from napari_dip.core.observation import Observation

if TYPE_CHECKING:
    import xarray
    from astropy.nddata import CCDData

    from napari_dip.core.result import Result

Wrap = Callable[["Result", NDArray[Any]], Any]

LAYER_METADATA_KEY = "napari-dip"  # where the metadata of a layer hold ours
_SPATIAL = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


@dataclass(frozen=True, eq=False)
class Parts:
    """What an object holds: the array, its axes where it names them, and what belongs to it.

    `wrap` makes an object of the same kind from a result and its image.
    """

    array: Any
    axes: str = ""
    mask: Any = None
    sigma: Any = None
    auxiliary: Mapping[str, Any] = field(default_factory=dict)
    header: Header = field(default_factory=Header)
    wrap: Wrap = lambda result, image: image


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
    kinds = {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(image).__mro__}
    if "xarray.DataArray" in kinds:
        return _from_xarray(image)
    if "astropy.NDData" in kinds:
        return _from_nddata(image)
    if "astropy.Quantity" in kinds:
        return Parts(
            image.value,
            header=Header(unit=str(image.unit)),
            wrap=lambda result, values: image.unit * values,
        )
    if "torch.Tensor" in kinds:
        return Parts(image.detach().cpu().numpy(), wrap=lambda result, values: _to_tensor(values, image))
    if "napari.Layer" in kinds:
        return _from_layer(image)
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
            std = _like_image(sigma, observation.to_input_axes(observation.observed).shape)
            observation = Observation.from_array(
                observation.to_input_axes(observation.y),
                axes=observation.axes,
                sigma=std,
                header=observation.header,
            )
        return observation, lambda result, values: result
    parts = take_apart(image)
    data = arrays.as_indexable(parts.array)
    axes = axes or parts.axes or infer_axes(tuple(data.shape), channel_axis=channel_axis)
    sigma = parts.sigma if sigma is None else _like_image(plain_array(sigma), tuple(data.shape))
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
    kinds = {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(image).__mro__}
    if "xarray.DataArray" in kinds:
        dims = [str(dim) for dim in image.dims]
        for coord in image.coords.values():
            if set(coord.dims) & set(dims[-2:]):
                _rescale_coordinate(coord, dims, {dim: 2 * image.sizes[dim] for dim in dims})
    if "napari.Layer" in kinds:
        _rescale_layer(image, (2.0, 2.0))


def plain_array(values: Any) -> NDArray[Any]:
    """Return any of the kinds that `take_apart` knows as a NumPy array; NaN where it is masked."""
    parts = take_apart(values)
    array = np.asarray(parts.array)
    return array if parts.mask is None else np.where(parts.mask, np.nan, array)


def cast(image: FloatArray, dtype: DTypeLike) -> NDArray[Any]:
    """Return `image` as `dtype`; for integers rounded, and clipped at the ends of the type."""
    kind = np.dtype(dtype)
    if kind.kind not in "iu":
        return image.astype(kind)
    limits = np.iinfo(kind)
    rounded = np.rint(np.nan_to_num(image.astype(float)))
    return np.asarray(np.clip(rounded, limits.min, limits.max).astype(kind))


def _like_image(sigma: ArrayLike, shape: tuple[int, ...]) -> NDArray[Any]:
    values = np.asarray(sigma, dtype=float)
    return np.broadcast_to(values, shape) if values.ndim == 0 else values


def _to_tensor(values: NDArray[Any], like: Any) -> Any:
    return sys.modules["torch"].from_numpy(np.ascontiguousarray(values)).to(like.device)


def _from_layer(layer: Any) -> Parts:
    """The parts of a layer of napari; its result is a tuple (data, attributes, "image")."""
    rgb = bool(getattr(layer, "rgb", False))
    array = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    ours = layer.metadata.get(LAYER_METADATA_KEY, {})
    axes = str(ours.get("axes", ""))
    if len(axes) != len(array.shape):
        named = axes_from_names(layer.axis_labels) + "C" * rgb
        is_valid = len(named) == len(array.shape) and len(set(named)) == len(named)
        axes = named if is_valid and "?" not in named else "YXC" if rgb and len(array.shape) == 3 else ""

    def wrap(result: Result, values: NDArray[Any]) -> tuple[NDArray[Any], dict[str, Any], str]:
        spatial = {name: getattr(layer, name) for name in _SPATIAL}
        if result.scale_factor != (1.0, 1.0):
            spatial |= _rescale_layer(layer, result.scale_factor)
        options = {"name": f"{layer.name} [restored]", "rgb": rgb, "metadata": dict(layer.metadata)}
        return values, {**options, **spatial}, "image"

    return Parts(array, axes, header=ours.get("header") or Header(), wrap=wrap)


def _rescale_layer(layer: Any, factors: tuple[float, float]) -> dict[str, Any]:
    """Scale and translation of a layer on a finer grid with the same outer edges."""
    if not (np.allclose(layer.rotate, np.eye(layer.ndim)) and np.allclose(layer.shear, 0)):
        raise ObservationError(
            f"layer '{layer.name}' is rotated or sheared, so that a finer grid cannot be placed on it:"
            " use the dock, or pass layer.data"
        )
    scale, translate = np.array(layer.scale, float), np.array(layer.translate, float)
    fine = scale.copy()
    fine[-2:] /= factors
    return {"scale": fine, "translate": translate + (fine - scale) / 2}


def _from_xarray(array: xarray.DataArray) -> Parts:
    axes = axes_from_names(array.dims)
    if "?" in axes or len(set(axes)) != len(axes):
        axes = "YX" if array.ndim == 2 else ""

    def wrap(result: Result, values: NDArray[Any]) -> xarray.DataArray:
        import xarray as xr

        letters = axes or result.residual_axes
        dims = [
            str(dim) for dim, letter in zip(array.dims, letters, strict=True) if letter in result.axes
        ]
        coords = {
            name: _rescale_coordinate(coord, dims, dict(zip(dims, values.shape, strict=True)))
            for name, coord in array.coords.items()
            if set(map(str, coord.dims)) <= set(dims)
        }
        return xr.DataArray(values, coords, dims, name=array.name, attrs=array.attrs)

    unit = array.attrs.get("units", array.attrs.get("unit", ""))
    return Parts(array.data, axes, header=Header(name=str(array.name or ""), unit=str(unit)), wrap=wrap)


def _rescale_coordinate(coord: Any, dims: list[str], sizes: Mapping[str, int]) -> Any:
    """A coordinate along the dimensions of a result, interpolated where these have another length."""
    changed = [dim for dim, size in coord.sizes.items() if sizes[dim] != size]
    if not changed:
        return coord
    if coord.ndim != 1 or coord.dtype.kind not in "iuf" or coord.size < 2:
        raise ObservationError(
            f"coordinate '{coord.name}' along {', '.join(map(str, coord.dims))} cannot be interpolated "
            "to a finer grid: drop it (array.drop_vars) before the restoration"
        )
    values, size = np.asarray(coord, float), sizes[changed[0]]
    places = (np.arange(size) + 0.5) * len(values) / size - 0.5
    inner = np.clip(np.floor(places).astype(int), 0, len(values) - 2)
    fine = values[inner] + (places - inner) * (values[inner + 1] - values[inner])
    return (changed, fine, coord.attrs)


def _from_nddata(data: Any) -> Parts:
    mask = None if data.mask is None else np.broadcast_to(np.asarray(data.mask), np.shape(data.data))
    auxiliary = {} if getattr(data, "psf", None) is None else {"psf": data.psf}
    unit = "" if data.unit is None else data.unit.to_string()
    header = Header(unit=unit, fits_header=_header_text(data))

    def wrap(result: Result, values: NDArray[Any]) -> Any:
        from astropy.nddata import StdDevUncertainty

        std = None if result.uncertainty is None else StdDevUncertainty(result.uncertainty)
        if values.shape == np.shape(data.data):
            wcs, meta = deepcopy(data.wcs), deepcopy(data.meta)
        else:
            wcs, meta = _wcs_and_meta(result.header.fits_header)
        options = {"uncertainty": std, "mask": result.inpainted, "wcs": wcs, "meta": meta}
        return type(data)(values, unit=data.unit, **options)

    return Parts(
        data.data,
        sigma=_standard_deviation(data),
        mask=mask,
        auxiliary=auxiliary,
        header=header,
        wrap=wrap,
    )


def _standard_deviation(data: Any) -> NDArray[Any] | None:
    """The uncertainty of NDData as a standard deviation in the unit of the data.

    Raises
    ------
    ObservationError
        If its type is unknown.
    """
    if data.uncertainty is None:
        return None
    from astropy.nddata import StdDevUncertainty, UnknownUncertainty

    if isinstance(data.uncertainty, UnknownUncertainty):
        raise ObservationError(
            "the uncertainty of the image is of unknown type: give a StdDevUncertainty, a"
            " VarianceUncertainty or an InverseVariance"
        )
    std = data.uncertainty.represent_as(StdDevUncertainty)
    values = np.asarray(std.array)
    if std.unit is None or data.unit is None or std.unit == data.unit:
        return values
    return np.asarray(values * std.unit.to(data.unit))


def _header_text(data: Any) -> str:
    """The FITS cards of NDData: those of its metadata, and of its WCS."""
    from astropy.io import fits

    header = data.meta.copy() if isinstance(data.meta, fits.Header) else fits.Header()
    if hasattr(data.wcs, "to_header"):
        for card in data.wcs.to_header(relax=True).cards:
            header[card.keyword] = (card.value, card.comment)
    text: str = header.tostring(sep="\n", endcard=False, padding=False)
    return text


def _wcs_and_meta(fits_header: str) -> tuple[Any, Any]:
    """The WCS that a header describes, or None, and the header."""
    import warnings

    from astropy.io import fits
    from astropy.wcs import WCS, FITSFixedWarning

    header = fits.Header.fromstring(fits_header, sep="\n")
    if "CTYPE1" not in header:
        return None, header
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(header), header


def result_to_ccddata(result: Result) -> CCDData:
    """See `Result.to_ccddata`."""
    from astropy import units
    from astropy.nddata import CCDData, StdDevUncertainty

    if result.image.ndim != 2:
        raise ObservationError(
            f"CCDData is two-dimensional and the image has axes '{result.axes}': select a plane, or use"
            " to_xarray()"
        )
    unit = units.Unit(result.header.unit or "", parse_strict="silent")
    wcs, meta = _wcs_and_meta(result.header.fits_header)
    std = None if result.uncertainty is None else StdDevUncertainty(result.uncertainty)
    options = {"uncertainty": std, "mask": result.inpainted, "wcs": wcs, "meta": meta}
    return CCDData(result.image, unit=unit, **options)


def result_to_xarray(result: Result) -> xarray.Dataset:
    """See `Result.to_xarray`."""
    import xarray as xr

    same_grid = result.axes == result.residual_axes and result.image.shape == result.residual.shape
    unit = result.header.unit

    def variable(values: FloatArray | BoolArray, axes: str, suffix: str) -> xarray.DataArray:
        dims = [f"{letter.lower()}{suffix}" for letter in axes]
        coords = {}
        for letter, dim, size in zip(axes, dims, values.shape, strict=True):
            step, step_unit = result.header.pixel_size.get(letter, (0.0, ""))
            if step and not suffix:
                coords[dim] = xr.DataArray(
                    np.arange(size) * step, dims=[dim], attrs={"units": step_unit}
                )
            if letter == "C" and len(result.header.channels) == size and not suffix:
                coords[dim] = xr.DataArray(list(result.header.channels), dims=[dim])
        attrs = {"units": unit} if unit and values.dtype != np.bool_ else {}
        return xr.DataArray(values, coords, dims, attrs=attrs)

    data_suffix = "" if same_grid else "_data"
    variables = {
        "image": variable(result.image, result.axes, ""),
        "inpainted": variable(result.inpainted, result.axes, ""),
        "residual": variable(result.residual, result.residual_axes, data_suffix),
        "noise_std": variable(result.noise_std, result.residual_axes, data_suffix),
    }
    if result.uncertainty is not None:
        variables["uncertainty"] = variable(result.uncertainty, result.axes, "")
    return xr.Dataset(variables, attrs={"summary": result.summary})
