"""NDData and CCDData of astropy, which is imported only when one of them is met or made."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.errors import ObservationError
from napari_dip.core.header import Header
from napari_dip.core.interop.parts import Parts
from napari_dip.core.world_coordinates import parse_wcs, replace_wcs

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from napari_dip.core.result import Result


def parts_of_nddata(data: Any) -> Parts:
    """The parts of NDData or CCDData; its result has the same class, meta and WCS."""
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
        replace_wcs(header, data.wcs)
    text: str = header.tostring(sep="\n", endcard=False, padding=False)
    return text


def _wcs_and_meta(fits_header: str) -> tuple[Any, Any]:
    """The WCS that a header describes, or None, and the header."""
    from astropy.io import fits

    header = fits.Header.fromstring(fits_header, sep="\n")
    if "CTYPE1" not in header:
        return None, header
    return parse_wcs(header), header


def to_ccddata(result: Result) -> CCDData:
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
