"""Simulated data to try a restoration on."""

from napari_dip.datasets._cardiac_cine import CardiacCine, cardiac_cine
from napari_dip.datasets._quantitative_head import TISSUES, QuantitativeHead, quantitative_head
from napari_dip.datasets._scratched_cell import scratched_cell
from napari_dip.datasets._star_field import star_field

__all__ = [
    "TISSUES",
    "CardiacCine",
    "QuantitativeHead",
    "cardiac_cine",
    "quantitative_head",
    "scratched_cell",
    "star_field",
]
