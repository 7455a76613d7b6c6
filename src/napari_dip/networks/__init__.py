"""Networks f_theta: untrained generators whose shape is the prior, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dip.networks.base import NetworkSettings
from napari_dip.settings import tagged_union

if TYPE_CHECKING:
    AnyNetwork = NetworkSettings
else:
    AnyNetwork = tagged_union(NetworkSettings, __name__)

__all__ = ["AnyNetwork", "NetworkSettings"]
