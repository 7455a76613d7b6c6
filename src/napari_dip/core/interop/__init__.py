"""Arrays of other libraries in and out: masked arrays, xarray, astropy, torch, layers of napari.

None of these libraries is imported before one of its objects is met.
"""

from napari_dip.core.interop.astropy_data import to_ccddata
from napari_dip.core.interop.conversion import (
    cast,
    check_resizable,
    in_data_units,
    plain_array,
    take_apart,
    to_observation,
)
from napari_dip.core.interop.parts import Parts, Wrap
from napari_dip.core.interop.xarray_data import to_dataset

__all__ = [
    "Parts",
    "Wrap",
    "cast",
    "check_resizable",
    "in_data_units",
    "plain_array",
    "take_apart",
    "to_ccddata",
    "to_dataset",
    "to_observation",
]
