"""What every noise model is, and what any of them can be told besides: limits and outliers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated

import numpy as np
from pydantic import Field

from napari_dip.core.axes import Floats
from napari_dip.core.errors import SettingsError
from napari_dip.core.observation import Observation
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.physics.detector import Sensor
from napari_dip.physics.noise._censored import _Censored
from napari_dip.physics.noise._estimate import (
    backgrounds,
    character_of,
    correlation_width,
    strength,
)
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise._outliers import sharper_than_optics
from napari_dip.physics.noise._robust import _Robust

TRUST = 0.15  # part by which the noise may differ from what is said of it
CLIPPED = 0.1  # part of all pixels, so near to a limit that noise might have carried them beyond
LEAST = 0.05  # times the noise that was told: an image without any has at least so much
NO_LIMITS = (-math.inf, math.inf)


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


def _is_clipped(values: Floats, limits: tuple[float, float], noise: Likelihood) -> bool:
    """Whether noise, and not light alone, decides in many pixels on which side of a limit they are."""
    sigma = np.nanmedian(noise.sigma)
    near = [(values != limit) & (np.abs(values - limit) < sigma) for limit in limits]
    return float(np.mean(near[0] | near[1])) > CLIPPED


def _is_shared(values: Floats, value: np.float32) -> bool:
    """Whether so many pixels have exactly this value that it is a limit and not a coincidence."""
    return bool(np.count_nonzero(values == value) >= max(4, 1e-5 * values.size))
