"""Simulated data to try a restoration on."""

from napari_dip.datasets._cardiac_cine import CardiacCine, cardiac_cine
from napari_dip.datasets._moving_head import MovingHead, moving_head
from napari_dip.datasets._quantitative_head import TISSUES, QuantitativeHead, quantitative_head
from napari_dip.datasets._scratched_cell import scratched_cell
from napari_dip.datasets._star_field import star_field

__all__ = [
    "TISSUES",
    "CardiacCine",
    "MovingHead",
    "QuantitativeHead",
    "cardiac_cine",
    "moving_head",
    "quantitative_head",
    "scratched_cell",
    "star_field",
]
