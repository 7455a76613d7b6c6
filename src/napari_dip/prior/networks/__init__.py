"""Networks f_theta: untrained generators whose shape is the prior, one file each."""

from napari_dip.prior.networks._kinds import AnyNetwork
from napari_dip.prior.networks.base import NetworkSettings

__all__ = ["AnyNetwork", "NetworkSettings"]
