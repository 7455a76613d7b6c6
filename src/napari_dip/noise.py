"""Noise models: settings that become a negative log-likelihood once the data are seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_dip.observation import Floats, Observation
from napari_dip.settings import Settings, tagged_union
from napari_dip.torch_import import torch


class Likelihood(ABC):
    """A noise model whose numbers are all known."""

    sigma: Floats
    """Standard deviation of the noise at the background, (C, 1, 1) or (C, Y, X), in data units."""
    origin: str
    """Where the numbers came from, for the person to read."""

    @abstractmethod
    def nll(self, mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of `y` at each pixel, up to a constant; all (C, Y, X)."""

    @abstractmethod
    def to(self, device: torch.device) -> Likelihood:
        """The same likelihood on `device`."""


class NoiseSettings(Settings, ABC):
    """Settings of one noise model."""

    kind: str

    @abstractmethod
    def likelihood(self, frame: Observation) -> Likelihood:
        """The likelihood of one frame, an observation of shape (1, C, 1, Y, X)."""


class Gaussian(NoiseSettings):
    """Independent Gaussian noise, of the same strength everywhere or pixel by pixel.

    The variance is sigma^2 + (relative * |y - background|)^2. The second term stands for whatever
    grows with the signal (flat-field errors, photon noise of bright things): without it, the few
    brightest stars of a frame would own the loss. Faint pixels do not feel it.
    """

    kind: Literal["gaussian"] = "gaussian"
    sigma: Annotated[float, Field(gt=0)] | None = None
    """Standard deviation of the noise; automatic: the error layer's, else estimated from the
    image. [data units]"""
    relative: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Noise in proportion to the signal above the background, a part of it."""

    def likelihood(self, frame: Observation) -> Likelihood:
        y, observed = frame.y[0, :, 0], frame.observed[0, :, 0]
        if self.sigma is not None:
            sigma, origin = np.full((len(y), 1, 1), self.sigma), "given"
        elif "sigma" in frame.extras:
            sigma, origin = np.where(observed, frame.extras["sigma"][0, :, 0], np.nan), "error layer"
        else:
            sigma, origin = _estimates(y)[:, None, None], "estimated"
        background = [np.median(c[o]) if o.any() else 0.0 for c, o in zip(y, observed, strict=True)]
        signal = np.abs(np.where(observed, y, 0) - np.array(background)[:, None, None])
        total = np.hypot(sigma, self.relative * signal).astype(np.float32)
        total[~observed] = np.inf
        return _GaussianLikelihood(np.asarray(sigma, np.float32), origin, torch.from_numpy(total))


@dataclass
class _GaussianLikelihood(Likelihood):
    sigma: Floats
    origin: str
    total: torch.Tensor

    def nll(self, mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        # Divide before squaring: data of 1e-20 squared would vanish in float32.
        return 0.5 * ((mean - y) / self.total) ** 2

    def to(self, device: torch.device) -> Likelihood:
        return replace(self, total=self.total.to(device))


# The decomposition high-pass filters of Daubechies' wavelets with one and two vanishing moments.
_HAAR = np.array([1, -1]) / np.sqrt(2)
_DB2 = np.array([1 - np.sqrt(3), np.sqrt(3) - 3, 3 + np.sqrt(3), -1 - np.sqrt(3)]) / np.sqrt(32)


def estimate_sigma(image: NDArray[np.floating]) -> float:
    """Standard deviation of the noise in a (Y, X) image with NaN where nothing is known.

    The median absolute deviation of the finest diagonal wavelet coefficients, which hold little
    but noise, at all places where no pixel is missing and the image is not flat (padding, clipped
    skies). Never less than a thousandth of the image's own standard deviation; 0 for an image
    without any contrast.

    References
    ----------
    .. [1] Donoho, Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994)
           425, section 2.5, doi:10.1093/biomet/81.3.425
    """
    from astropy.stats import mad_std  # these two take a second to import
    from scipy.signal import convolve

    image = image.astype(float)
    known = image[np.isfinite(image)]
    spread = float(known.std()) if known.size else 0.0
    for high_pass in (_DB2, _HAAR):
        detail = convolve(image, np.outer(high_pass, high_pass), mode="valid", method="direct")
        whole = detail[np.isfinite(detail) & (np.abs(detail) > 1e-9 * spread)]
        if whole.size >= 500:
            return max(float(mad_std(whole)), 1e-3 * spread)
    return spread  # hardly two neighbours are known: nothing better can be said


def _estimates(y: Floats) -> NDArray[np.float64]:
    """The noise of each channel; one without contrast (an opaque alpha) has that of the others."""
    found = np.array([estimate_sigma(channel) for channel in y])
    found[found == 0] = np.median(found[found > 0])
    return found


if TYPE_CHECKING:
    AnyNoise = NoiseSettings
else:
    AnyNoise = tagged_union(NoiseSettings)
