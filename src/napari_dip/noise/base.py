"""What every noise model is, and what any of them can be told besides: limits and outliers."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import Annotated, Self

import numpy as np
from pydantic import Field

from napari_dip.correlation import transfer
from napari_dip.errors import SettingsError
from napari_dip.noise._estimate import (
    Character,
    backgrounds,
    character_of,
    correlation_width,
    strength,
)
from napari_dip.noise._outliers import sharper_than_optics, with_rims
from napari_dip.observation import Flags, Floats, Observation
from napari_dip.sensor import Sensor
from napari_dip.settings import Settings
from napari_dip.torch_import import torch

TRUST = 0.15  # part by which the noise may differ from what is said of it
CLIPPED = 0.1  # part of all pixels, so near to a limit that noise might have carried them beyond
LEAST = 0.05  # times the noise that was told: an image without any has at least so much
NO_LIMITS = (-math.inf, math.inf)
MANY = 0.02  # part of all pixels: so many are no outliers


class Likelihood(ABC):
    """A noise model whose numbers are all known, for data (T, C, Y, X)."""

    sigma: Floats
    """Standard deviation of the noise at the background, (T, C, 1, 1) or (T, C, Y, X); data units."""
    origin: str
    """Where the numbers came from, for the person to read."""
    character: Character = "white"
    """Whether the noise is independent from pixel to pixel and Gaussian or as the model says."""
    width: float = 0.0
    """Where neighbours share it: the noise is white noise smoothed by such a Gaussian. [pixel]"""
    is_refuted: bool = False
    """Whether the image shows another noise than its header tells, and so its own was measured."""
    correction: float = 1.0
    """By how much more noise was found than was told."""
    limits: tuple[float, float] = (-math.inf, math.inf)
    """The least and the greatest value that the detector can tell."""
    is_exact: bool = False
    """Whether the data are counts of single photons, which leave no doubt about the noise's tails."""
    rejected: Flags | None = None
    """Data that say nothing of the scene, (T, C, Y, X): they count as missing."""
    censored: Flags | None = None
    """Data that only say 'at least' or 'at most', (T, C, Y, X)."""

    @abstractmethod
    def nll(self, mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of `y` at each pixel, up to a constant; never much below 0.

        Half the square of the residual in sigmas, where the noise is Gaussian or nearly so.
        """

    @abstractmethod
    def deviation(self, mean: torch.Tensor) -> torch.Tensor:
        """Standard deviation of the noise about `mean`, pixel by pixel, in data units."""

    def random(self, mean: torch.Tensor) -> torch.Tensor:
        """The same, of the noise alone that is new in every exposure: no error of flat fields."""
        return self.deviation(mean)

    @abstractmethod
    def steadied(self, y: Floats) -> Floats:
        """The data `y` (T, C, Y, X) on a scale on which their noise is 1 everywhere."""

    @abstractmethod
    def scaled(self, factor: float) -> Self:
        """The same with `factor` times as much noise."""

    def split(
        self, y: torch.Tensor, mean: torch.Tensor, strength: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Two versions of the data `y` with independent noise, both of the expectation `mean`.

        They are y + a e and y - e / a, with a the `strength` and e drawn as the data's own noise.

        References
        ----------
        .. [1] Pang et al., "Recorrupted-to-Recorrupted", CVPR 2021, eq. (6).
        """
        normal = torch.randn(y.shape, generator=generator, device=y.device)
        extra = self.correlated(normal).mul_(self.random(mean))
        return torch.add(y, extra, alpha=strength), torch.sub(y, extra, alpha=1 / strength)

    @property
    def is_known(self) -> bool:
        """Whether noise like the data's own can be drawn."""
        return self.character in ("white", "correlated")

    def correlated(self, white: torch.Tensor) -> torch.Tensor:
        """White noise (..., Y, X) made to be shared as the data's is; opposite edges are neighbours."""
        if not self.width:
            return white
        rows, columns = (transfer(n, self.width) for n in white.shape[-2:])
        passed = torch.from_numpy(np.outer(rows, columns).astype(np.float32)).to(white.device)
        smooth: torch.Tensor = torch.fft.ifft2(passed * torch.fft.fft2(white)).real
        return smooth / passed.square().mean().sqrt()

    def of_given(self, strength: float) -> Self:
        """The likelihood of the first of the two versions that `split` makes."""
        return self.scaled(math.sqrt(1 + strength**2))

    def to(self, device: torch.device) -> Self:
        """The same likelihood on `device`."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor | Likelihood):
                setattr(moved, name, value.to(device))
        return moved


class NoiseSettings(Settings, ABC):
    """Settings of one noise model."""

    kind: str
    relative: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Noise in proportion to the signal above the background, a part of it."""
    censored: bool = False
    """Pixels at the detector's limits say only 'at least' or 'at most' this: saturated, clipped."""
    floor: float | None = None
    """Lowest value that can be told, where censored; automatic: the image's least, if it is shared
    by many pixels. [data units]"""
    ceiling: float | None = None
    """Highest value that can be told, where censored; automatic: the header's SATURATE, else the
    image's greatest, if it is shared by many pixels. [data units]"""
    outliers: bool = False
    """Expect hot pixels and cosmic rays that nobody painted: what is sharper than the optics allow
    counts as missing (L.A.Cosmic), with the rims of tracks; and beyond three sigmas the loss grows
    in proportion (Huber)."""

    def likelihood(self, frame: Observation, like: Likelihood | None = None) -> Likelihood:
        """The likelihood of one frame, an observation of shape (T, C, 1, Y, X).

        What would be measured in the frame is taken from `like`, where that is given: the likelihood of
        the whole of which `frame` is a part.

        Raises
        ------
        SettingsError
            If a number is neither given nor to be found.
        """
        told = self._uncensored(frame, like)
        found = told.scaled(like.correction) if like else self._checked(told, frame)
        correction, is_refuted = found.correction, told.is_refuted
        y = frame.y[:, :, 0]
        low, high = like.limits if like else self._limits(frame) if self.censored else NO_LIMITS
        if self.censored:
            found = _Censored(found, y, low, high)
            limits = (("floor", low), ("ceiling", high))
            shown = [f"{name} {value:.6g}" for name, value in limits if np.isfinite(value)]
            found.origin += f"; {' and '.join(shown) or 'no limit'} censored"
        if self.outliers:
            noise = found.deviation(torch.from_numpy(np.nan_to_num(y))).numpy()
            found = _Robust(found, sharper_than_optics(y, noise))
        found.limits, found.correction, found.is_refuted = (low, high), correction, is_refuted
        if like:
            found.character, found.width, found.origin = like.character, like.width, like.origin
            return found
        known = np.where(frame.observed[:, :, 0], found.steadied(frame.y[:, :, 0]), np.nan)
        found.character = character_of(known)
        if found.character == "long tails" and found.is_exact:
            found.character = "white"  # few photons have long tails on any scale
        if self.censored and _is_clipped(y[frame.observed[:, :, 0]], (low, high), found):
            found.character = "clipped"
        if found.character == "correlated":
            found.width = correlation_width(known)
        found.origin += {
            "white": "",
            "correlated": f"; neighbouring pixels share it (as if smoothed by {found.width:.1f} pixels)",
            "structured": "; neighbouring pixels share it, as structure does",
            "long tails": "; it has long tails",
            "clipped": "; it is cut off at the limits",
        }[found.character]
        return found

    @abstractmethod
    def _uncensored(self, frame: Observation, like: Likelihood | None) -> Likelihood:
        """The likelihood without limits, outliers and corrections."""

    def _checked(self, told: Likelihood, frame: Observation) -> Likelihood:
        """What was `told` of the noise, corrected where the image shows another strength of it."""
        if told.is_exact:
            return told
        y, inside = frame.y[:, :, 0], frame.observed[:, :, 0].copy()
        for limit in (y[inside].min(), y[inside].max()):
            if _is_shared(y[inside], limit):
                inside &= y != limit
        found = strength(np.where(inside, told.steadied(y), np.nan)) if inside.any() else None
        if found is None or abs(np.log(found)) < np.log(1 + TRUST):
            return told
        corrected = told.scaled(max(found, LEAST))
        corrected.correction = max(found, LEAST)
        corrected.origin = f"{told.origin}, but measured and taken to be {found:.2g} times that"
        return corrected

    def _limits(self, frame: Observation) -> tuple[float, float]:
        """The limits (low, high); infinite where there is none.

        Raises
        ------
        SettingsError
            If they leave hardly anything between them.
        """
        known = frame.y[frame.observed]
        low, high = self.floor, self.ceiling
        if high is None:
            saturation = Sensor.of(frame).saturation
            shared = float(known.max()) if _is_shared(known, known.max()) else np.inf
            high = shared if saturation is None else min(saturation, shared)
        if low is None:
            low = float(known.min()) if _is_shared(known, known.min()) else -np.inf
        between = np.count_nonzero((known > low) & (known < high))
        if between < 0.1 * known.size:
            raise SettingsError(
                f"the limits {low:.6g} and {high:.6g} censor all but {between:,} of {known.size:,}"
                " pixels: give noise.floor and noise.ceiling, or switch noise.censored off"
            )
        return low, high

    def _within_limits(self, frame: Observation) -> Floats:
        """The data (T, C, Y, X) but those at the limits: noise that is cut off is no measure of it."""
        y = frame.y[:, :, 0]
        if not self.censored:
            return y
        low, high = self._limits(frame)
        return np.where((y > low) & (y < high), y, np.nan).astype(np.float32)

    def _flat_field(self, frame: Observation) -> Floats:
        """The part of the noise that grows with the signal, (T, C, Y, X)."""
        y = frame.y[:, :, 0]
        signal = np.nan_to_num(np.abs(y - backgrounds(y)))
        return (self.relative * signal).astype(np.float32)


class _Outer(Likelihood):
    """A likelihood that changes what another one says."""

    _inner: Likelihood

    def deviation(self, mean: torch.Tensor) -> torch.Tensor:
        return self._inner.deviation(mean)

    def random(self, mean: torch.Tensor) -> torch.Tensor:
        return self._inner.random(mean)

    def steadied(self, y: Floats) -> Floats:
        return self._inner.steadied(y)

    def scaled(self, factor: float) -> Self:
        changed = copy.copy(self)
        changed._inner = self._inner.scaled(factor)
        return changed


class _Censored(_Outer):
    """At the limits only the side is known: -log of the probability of being beyond.

    References
    ----------
    .. [1] Tobin, "Estimation of relationships for limited dependent variables", Econometrica 26
           (1958) 24, doi:10.2307/1907382
    """

    def __init__(self, inner: Likelihood, y: Floats, low: float, high: float) -> None:
        self.sigma, self.origin, self.is_exact = inner.sigma, inner.origin, inner.is_exact
        self._inner = inner
        under, over = y <= low, y >= high
        self.censored = under | over
        limit = np.where(under, low, np.where(over, high, 0)).astype(np.float32)
        self._one_sided = torch.from_numpy(self.censored)
        self._direction = torch.from_numpy(np.where(under, -1, 1).astype(np.float32))
        self._limit = torch.from_numpy(limit)

    def nll(self, mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        beyond = self._direction * (mean - self._limit) / self.deviation(self._limit)
        return torch.where(self._one_sided, -_log_cdf(beyond), self._inner.nll(mean, y))

    def split(
        self, y: torch.Tensor, mean: torch.Tensor, strength: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        given, asked = self._inner.split(y, mean, strength, generator)
        # The limit itself has no noise to split.
        return torch.where(self._one_sided, y, given), torch.where(self._one_sided, y, asked)


class _Robust(_Outer):
    """Sharp outliers are rejected, and residuals beyond three sigmas count in proportion.

    The second is the same as fitting y = x + outliers + noise with a price on the outliers' absolute
    values.

    References
    ----------
    .. [1] Huber, "Robust estimation of a location parameter", Ann. Math. Stat. 35 (1964) 73,
           doi:10.1214/aoms/1177703732
    """

    def __init__(self, inner: Likelihood, rejected: Flags) -> None:
        self.sigma, self.censored, self.is_exact = inner.sigma, inner.censored, inner.is_exact
        if rejected.mean() > MANY:
            told = f"{rejected.mean():.1%} of it is too sharp for optics: undersampled, nothing rejected"
        else:
            self.rejected = with_rims(rejected)
            told = f"{int(self.rejected.sum()):,} pixels of outliers rejected"
        self.origin = f"{inner.origin}; {told}"
        self._inner = inner

    def nll(self, mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return huber(self._inner.nll(mean, y))

    def split(
        self, y: torch.Tensor, mean: torch.Tensor, strength: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self._inner.split(y, mean, strength, generator)


def huber(nll: torch.Tensor, threshold: float = 3.0) -> torch.Tensor:
    """Half squares of residuals, in proportion to the residual beyond `threshold` sigmas."""
    sigmas = torch.sqrt(2 * nll.clamp(min=threshold**2 / 2))
    return torch.where(nll <= threshold**2 / 2, nll, threshold * sigmas - threshold**2 / 2)


def _log_cdf(x: torch.Tensor) -> torch.Tensor:
    """The logarithm of the standard normal distribution function; torch's own is not for every GPU."""
    below, above = x.clamp(max=0) / 2**0.5, x.clamp(min=0) / 2**0.5
    tail = torch.log(torch.special.erfcx(-below) / 2) - below**2
    return torch.where(x < 0, tail, torch.log1p(-torch.special.erfc(above) / 2))


def _is_clipped(values: Floats, limits: tuple[float, float], noise: Likelihood) -> bool:
    """Whether noise, and not light alone, decides in many pixels on which side of a limit they are."""
    sigma = np.nanmedian(noise.sigma)
    near = [(values != limit) & (np.abs(values - limit) < sigma) for limit in limits]
    return float(np.mean(near[0] | near[1])) > CLIPPED


def _is_shared(values: Floats, value: np.float32) -> bool:
    """Whether so many pixels have exactly this value that it is a limit and not a coincidence."""
    return bool(np.count_nonzero(values == value) >= max(4, 1e-5 * values.size))
