"""DataArray and Dataset of xarray, which is imported only to make them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import BoolArray, FloatArray, axes_from_names
from napari_dip.core.errors import ObservationError
from napari_dip.core.header import Header
from napari_dip.core.interop.parts import Parts

if TYPE_CHECKING:
    import xarray

    from napari_dip.core.result import Result


def parts_of_dataarray(array: xarray.DataArray) -> Parts:
    """The parts of a DataArray; its result has the same coordinates."""
    axes = axes_from_names(array.dims)
    if "?" in axes or len(set(axes)) != len(axes):
        axes = "YX" if array.ndim == 2 else ""

    def wrap(result: Result, values: NDArray[Any]) -> xarray.DataArray:
        import xarray as xr

        letters = axes or result.provenance.input.axes
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


def check_coordinates(array: xarray.DataArray) -> None:
    """Raise ObservationError if a coordinate along Y or X cannot be interpolated to a finer grid."""
    dims = [str(dim) for dim in array.dims]
    axes = axes_from_names(dims)
    finer = {dim for dim, letter in zip(dims, axes, strict=True) if letter in "YX"}
    if len(finer) != 2:
        finer = set(dims[-2:])
    sizes = {dim: array.sizes[dim] * (2 if dim in finer else 1) for dim in dims}
    for coord in array.coords.values():
        _rescale_coordinate(coord, dims, sizes)


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


def to_dataset(result: Result) -> xarray.Dataset:
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
