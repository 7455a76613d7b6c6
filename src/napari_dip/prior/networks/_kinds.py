"""All kinds of networks: every public module of this package adds its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dip.core.settings import tagged_union
from napari_dip.prior.networks.base import NetworkSettings

if TYPE_CHECKING:
    AnyNetwork = NetworkSettings
else:
    AnyNetwork = tagged_union(NetworkSettings, __package__)

__all__ = ["AnyNetwork"]
