"""How a fit is judged by its own data: its noise, its residual, and what it did with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.assessment import Finding
from napari_dip.core.axes import FloatArray
from napari_dip.core.noise_properties import NoiseProperties
from napari_dip.core.observation import Observation
from napari_dip.core.result import PATCHES_ONLY, History
from napari_dip.core.torch_import import torch
from napari_dip.fitting.solver import ALL_STEPS, DIVERGED
from napari_dip.fitting.stopping import EMA_WARMUP_STEPS
from napari_dip.physics.filters import channel_medians, gaussian_blur
from napari_dip.physics.noise import diagonal_details, smooth_std
from napari_dip.physics.problem import Problem
from napari_dip.physics.stripes import stripe_findings
from napari_dip.run.recipe import Recipe

MIN_DETAILS = 200  # wavelet coefficients from which the noise of an image can be compared
MIN_NOISE_SHARE = 1e-3  # of the spread of the data: they have no less noise
MAX_PATTERN_POWER = 1000.0  # of a frequency, over the median of all: more is a periodic pattern
STRUCTURE_SIGMA_PX = 2.0  # of the Gaussian that smooths the residual
MAX_NOISE_RATIO = 1.05  # of the noise of the predicted data over that of the data
MIN_SLOPE_CHECK, MIN_SLOPE_FAILED = -0.2, -0.3
MAX_RESIDUAL_CHECK, MAX_RESIDUAL_FAILED = 1.5, 3.0
MIN_RESIDUAL = 0.3  # of few photons most pixels have none, and less than their noise
MAX_STRUCTURE = 3.0
MAX_BRIGHT_RESIDUAL = 10.0  # where noise in proportion to the signal is added to the one given
MIN_OBSERVED = 200  # values by which a result can be judged
CAPPED_SHARE = 0.05  # of the fall of the score that the last fifth of the steps may have
MAX_FLUX_ERRORS, MAX_FLUX_CHANGE = 5.0, 0.005


@dataclass(frozen=True)
class FitMeasures:
    """What the data say about a fit; NaN where they cannot say it.

    Attributes
    ----------
    is_finite : bool
        Whether all pixels of the scene are finite.
    noise_ratio : float
        Noise of the predicted data over that of the data: the median absolute deviation of the finest
        diagonal wavelet coefficients.
    noise_slope : float
        Slope of these coefficients of the predicted data on those of the residual: k / (1 - k) where a
        share k of the noise is left in the image, so below 0 where it is turned upside down.
    residual : float
        R.m.s. of the residual over the noise, errors of the flat field included.
    structure : float
        Mean square of the smoothed residual over that of smoothed noise.
    bright_residual : float
        R.m.s. of the residual over the noise that is given as one number, in pixels so bright that most
        of the noise that is assumed is in proportion to the signal.
    noise_gain : float
        Noise of the scene over that of the data; None for the identity.
    is_noise_known : bool
        Whether the noise is given or can be measured; of noise with structure, such as that of JPEG,
        only a part is.
    """

    is_finite: bool
    noise_ratio: float = np.nan
    noise_slope: float = np.nan
    residual: float = np.nan
    structure: float = np.nan
    bright_residual: float = np.nan
    noise_gain: float | None = None
    is_noise_known: bool = True


def measure_fit(
    problem: Problem, x: torch.Tensor, *, hard_data_consistency: bool = False
) -> FitMeasures:
    """Return what the data of `problem` say about the scene `x` (C, H, W).

    They say nothing about a scene that predicts them by construction.
    """
    if not bool(x.isfinite().all()):
        return FitMeasures(is_finite=False)
    if hard_data_consistency:
        return FitMeasures(is_finite=True)
    known = problem.uncensored
    std = _smoothed_std(problem, x)
    levels = [channel_medians(y[None], pixels[None]) for y, pixels in zip(problem.y, known, strict=True)]
    level = torch.stack(levels)
    predicted, y = (
        torch.where(known, (values - level) / std, torch.nan)
        for values in (problem.predicted(x), problem.y)
    )
    residual = y - predicted
    rms = float(residual[known].cpu().double().square().mean().sqrt())
    if problem.operator.initial_estimate(problem.y, problem.observed) is not None:
        return FitMeasures(is_finite=True, residual=rms)  # the data are no image
    ratio, slope = _noise_of(predicted, y, residual)
    gain = None if problem.operator.is_identity else _noise_gain(problem, x)
    structure, bright = _structure(problem, residual), _bright_residual(problem, residual, std)
    properties = problem.likelihood.properties
    is_known = properties.is_given or properties.kind != "structured"
    return FitMeasures(True, ratio, slope, rms, structure, bright, gain, is_known)


def _smoothed_std(problem: Problem, x: torch.Tensor) -> torch.Tensor:
    """The noise of each datum, (T, C, Y, X), without the noise that an error plane made from the data
    has itself.
    """
    std = problem.likelihood.std(problem.predicted(x)).expand_as(problem.y)
    smooth = smooth_std(std.detach().cpu().double().numpy())
    return torch.from_numpy(smooth).to(std)


def _noise_of(predicted: torch.Tensor, y: torch.Tensor, residual: torch.Tensor) -> tuple[float, float]:
    """The ratio of the noise of two normalized data (T, C, Y, X), and its slope on the residual.

    Where there is a pattern, they are the worse ones of those with it and without it.
    """
    details = np.stack([_details(planes) for planes in (predicted, y, residual)])
    details = np.where(np.isfinite(details).all(axis=0), details, np.nan)
    if np.count_nonzero(np.isfinite(details[0])) < MIN_DETAILS:
        return np.nan, np.nan
    floor = MIN_NOISE_SHARE * float(y[y.isfinite()].cpu().double().std())
    ratios, slopes = zip(
        *(_noise_in(values, floor) for values in (details, *_without_patterns(details))), strict=True
    )
    return float(np.fmax.reduce(ratios)), float(np.fmin.reduce(slopes))


def _noise_in(details: NDArray[np.float64], floor: float) -> tuple[float, float]:
    """Ratio and slope from the coefficients (3, N, Y, X) of prediction, data and residual."""
    ours, theirs, left = details[:, np.isfinite(details[0])]
    scale, scale_left = max(_mad_std(theirs), floor), _mad_std(left)
    inside = (np.abs(left) < 4 * scale_left) & (np.abs(ours) < 4 * scale)  # no sources
    square = float(np.mean(left[inside] ** 2)) if inside.any() else 0.0
    has_noise = scale_left > 3 * floor
    slope = float(np.mean(ours[inside] * left[inside])) / square if has_noise and square else np.nan
    return _mad_std(ours) / scale if scale else np.nan, slope


def _details(planes: torch.Tensor) -> NDArray[np.float64]:
    stacked = planes.cpu().double().numpy().reshape(-1, *planes.shape[-2:])
    return np.stack([diagonal_details(plane) for plane in stacked])


def _without_patterns(details: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Yield the coefficients (3, N, Y, X) of prediction, data and residual, without the frequencies at
    which the prediction is by far stronger than the noise: a checkerboard would hide that.

    What lies near the edges, where the window vanishes, is left out, as NaN.
    """
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in details.shape[-2:]))
    waves = np.fft.rfft2(np.nan_to_num(details) * window)
    power = np.abs(waves) ** 2
    is_pattern = power[0] > MAX_PATTERN_POWER * np.median(power[1], axis=(-2, -1), keepdims=True)
    if is_pattern.any():
        left = np.fft.irfft2(np.where(is_pattern, 0, waves), s=window.shape) / window
        yield np.where(np.isfinite(details) & (window > 0.25), left, np.nan)


def _mad_std(values: NDArray[np.float64]) -> float:
    from astropy.stats import mad_std  # takes a second to import

    return float(mad_std(values))


def _structure(problem: Problem, residual: torch.Tensor) -> float:
    """The mean square of a smoothed normalized residual (T, C, Y, X) over that of smoothed noise."""
    point = torch.zeros((33, 33), device=residual.device)
    point[16, 16] = 1
    noise = problem.likelihood.correlate(point)
    kernel = gaussian_blur(noise / noise.square().sum().sqrt(), STRUCTURE_SIGMA_PX).square().sum()
    known = residual.isfinite()
    smooth = gaussian_blur(torch.where(known, residual, 0.0), STRUCTURE_SIGMA_PX)
    weight = gaussian_blur(known.to(residual), STRUCTURE_SIGMA_PX)
    inside = known & (weight > 0.99)
    if not inside.any():
        return np.nan
    white = float(residual[known].cpu().double().square().mean())
    return float(smooth[inside].cpu().double().square().mean() / kernel.cpu().double()) / max(white, 1.0)


def _bright_residual(problem: Problem, residual: torch.Tensor, std: torch.Tensor) -> float:
    """See `FitMeasures`; `residual` is over `std`, (T, C, Y, X)."""
    if not problem.likelihood.properties.is_uniform:
        return np.nan
    over = std / torch.from_numpy(problem.likelihood.properties.sigma).to(std)
    bright = residual.isfinite() & (over > 2)
    return float((residual * over)[bright].cpu().double().square().mean().sqrt())


def _noise_gain(problem: Problem, x: torch.Tensor) -> float:
    """The noise of the scene over that of the data, in the units of the scene."""
    noise = problem.scene_noise_std.expand(len(x), 1, 1)
    details = np.stack([diagonal_details(plane) for plane in (x / noise).cpu().double().numpy()])
    return _mad_std(details[np.isfinite(details)])


def is_noisy(measures: FitMeasures) -> bool:
    """Whether an image has more noise than its data, or their noise turned upside down."""
    return measures.noise_ratio > MAX_NOISE_RATIO or measures.noise_slope < MIN_SLOPE_FAILED


def fit_findings(measures: FitMeasures) -> Iterator[Finding]:
    """Yield what is wrong with a fit."""
    if not measures.is_finite:
        yield Finding("failed", "the fit diverged: the image is not finite")
    if measures.noise_ratio > MAX_NOISE_RATIO:
        yield Finding("failed", f"the image is {measures.noise_ratio:.2f} times as noisy as the data")
    if measures.noise_slope < MIN_SLOPE_FAILED:
        yield Finding("failed", "the image carries the noise of the data upside down")
    elif measures.noise_slope < MIN_SLOPE_CHECK:
        yield Finding("check", "the image carries some of the noise of the data upside down")
    if measures.residual > MAX_RESIDUAL_FAILED and measures.is_noise_known:
        yield Finding("failed", f"the residual is {measures.residual:.2g} times the noise")
    elif measures.residual > MAX_RESIDUAL_CHECK:
        yield Finding("check", f"the residual is {measures.residual:.2g} times the noise")
    if measures.residual < MIN_RESIDUAL:
        yield Finding("check", f"the residual is only {measures.residual:.2g} times the noise")
    if measures.bright_residual > MAX_BRIGHT_RESIDUAL:
        yield Finding(
            "check",
            f"bright pixels differ from the data by {measures.bright_residual:.2g} times the given"
            " noise, as noise.relative_error allows",
        )
    if measures.structure > MAX_STRUCTURE:
        yield Finding("check", "the residual has structure that noise has not")


def noise_findings(properties: NoiseProperties, *, hard_data_consistency: bool) -> Iterator[Finding]:
    """Yield what is wrong with the noise that a fit assumed."""
    if properties.contradiction:
        yield Finding("check", properties.contradiction)
    if not (properties.is_measurable or hard_data_consistency):
        yield Finding("check", "the image shows no noise that can be measured: is there any?")


def run_findings(
    recipe: Recipe,
    observation: Observation,
    histories: Sequence[History],
    residual: FloatArray,
    noise_std: FloatArray,
) -> Iterator[Finding]:
    """Yield what is wrong with a run as a whole; residual and noise are shaped as the data."""
    if (number := int(np.count_nonzero(observation.observed))) < MIN_OBSERVED:
        yield Finding("check", f"only {number} values are observed, too few to judge the result by")
    missed = sum(not len(history.loss) and history.stop_reason != PATCHES_ONLY for history in histories)
    if missed:
        yield Finding("check", f"{missed} of {len(histories)} parts were not restored")
    if any(history.stop_reason.startswith(DIVERGED) for history in histories):
        yield Finding("check", "a fit diverged, and the best image before was kept")
    capped = [
        history
        for history in histories
        if history.stop_reason.startswith(ALL_STEPS) and _still_falls(history.validation_loss)
    ]
    if capped and recipe.stopping.kind != "fixed":
        steps = recipe.solver.max_steps
        yield Finding(
            "check", f"the fit was still improving after {steps} steps: raise solver.max_steps"
        )
    if not recipe.operator.has_complex_scene:
        yield from _flux_findings(observation, residual, noise_std)
        if recipe.noise.stripes == "off" and not recipe.hard_data_consistency:
            yield from stripe_findings(observation, noise_std)
    yield from observation.findings


def _still_falls(scores: FloatArray) -> bool:
    """Whether the last fifth of the steps lowered the score by more than a small part of its fall."""
    if len(scores) <= EMA_WARMUP_STEPS:
        return True
    start, lowest = float(scores[EMA_WARMUP_STEPS]), float(np.nanmin(scores))
    before = float(np.nanmin(scores[: -(len(scores) // 5)]))
    return before - lowest > CAPPED_SHARE * max(start - lowest, 0.0)


def _flux_findings(
    observation: Observation, residual: FloatArray, noise_std: FloatArray
) -> Iterator[Finding]:
    """Whether the sum of the predicted data is further from that of the data than noise explains."""
    change = variance = size = 0.0
    for block in arrays.iter_blocks(residual.shape):
        change -= float(np.nansum(residual[block], dtype=float))
        known = np.isfinite(residual[block])
        variance += float(np.nansum(np.where(known, noise_std[block], 0) ** 2, dtype=float))
        size += float(np.nansum(np.abs(observation.y[block]), dtype=float))
    error = float(np.sqrt(variance))
    if error and abs(change) > max(MAX_FLUX_ERRORS * error, MAX_FLUX_CHANGE * size):
        yield Finding(
            "check",
            f"the flux changed by {100 * change / size:+.2g} %, which is {abs(change) / error:.0f} times"
            " its error",
        )
