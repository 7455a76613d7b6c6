"""Maps of the parameter of a signal equation, from the restored images or from the data alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from napari_dip.core.assessment import Finding
from napari_dip.core.axes import BoolArray, FloatArray, to_canonical
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.parameter_maps import ParameterMaps
from napari_dip.core.result import Result
from napari_dip.core.torch_import import torch
from napari_dip.physics.signals import Signal
from napari_dip.physics.signals.pixelwise import fit_pixels, project_residuals
from napari_dip.run.map_uncertainty import Planes, map_uncertainty
from napari_dip.run.recipe import Recipe

MIN_KNOWN = 0.01  # of all pixels that have a value
MAX_CHI_SQUARE = 10.0  # the median of all pixels that have a value
RANGE_END, MAX_AT_END = 1.02, 0.2  # a factor, and a share of these pixels
PHASE_SIGMA_PX = 1.5  # of the Gaussian over which the phase of a complex image is measured
MAX_RELATIVE_STD = 2.0  # bound of the error over the value, above which the images say nothing of it


@dataclass(frozen=True, eq=False)
class _Fitted:
    """What was found for the planes (C, Z, Y, X) of an observation, by name.

    Attributes
    ----------
    values, bounds : dict of str to array
        The parameter, which comes first, and the linear quantities; and the bounds of their errors.
    residuals : dict of str to array, or None
        The residuals of the data along each of them, in units of its bound.
    chi_square : array
    signals : (T, C, Z, Y, X) array
        What the equation makes of the values.
    sigma : float
        Standard deviation of the noise.
    """

    values: dict[str, Planes]
    bounds: dict[str, Planes]
    chi_square: Planes
    signals: Planes
    sigma: float
    residuals: dict[str, Planes] | None = None


def with_maps(
    result: Result,
    recipe: Recipe,
    observation: Observation,
    *,
    simulated: Result | None = None,
    drift: int = 0,
) -> Result:
    """Return `result` with maps of its images, if the recipe has a signal equation.

    The equation is fitted to each pixel of the restored images; the bound of its error is that of the
    data. A result of data that were `simulated` from this one shows how far off the maps are. The images
    are not shifted, by whatever number of pixels they `drift`.
    """
    equation = recipe.signal
    if equation.kind == "none":
        return result
    fit = _fit_complex if recipe.operator.has_complex_scene else _fit_magnitudes
    fitted = fit(result, recipe, observation)
    uncertainty = None
    if simulated is not None:
        again = fit(simulated, recipe, observation)
        uncertainty = _uncertainty(equation, fitted, again, _relative_spread(result))
    maps = _to_maps(equation, fitted, observation, uncertainty)
    findings = list(map_findings(equation, maps))
    if drift:
        reason = f"the images drift by up to {drift} pixels, and maps take the same pixel of each"
        findings.append(Finding("check", f"{reason}: align them first"))
    assessment = result.assessment.with_findings(findings)
    return replace(result, maps=maps, provenance=replace(result.provenance, assessment=assessment))


def _uncertainty(equation: Signal, fitted: _Fitted, again: _Fitted, spread: float) -> dict[str, Planes]:
    """The standard deviations of the errors, by name; that of the parameter is found for its
    logarithm.
    """
    found = {}
    for name, value in fitted.values.items():
        residuals = None
        if fitted.residuals and again.residuals:
            residuals = fitted.residuals[name], again.residuals[name]
        bound = fitted.bounds[name]
        if name == equation.parameter.name:
            logs = np.log(value), np.log(again.values[name])
            found[name] = value * map_uncertainty(*logs, bound / value, residuals, spread)
        else:
            found[name] = map_uncertainty(value, again.values[name], bound, residuals, spread)
    return found


def _relative_spread(result: Result) -> float:
    """How much the squared error of one fit exceeds that of their mean, as a fraction of the latter."""
    factors = [factor for factor in result.provenance.ensemble.calibration if factor]
    return float(1 / np.median(factors) ** 2) if factors else 0.0


def _fit_magnitudes(result: Result, recipe: Recipe, observation: Observation) -> _Fitted:
    """The fit to restored images that are data themselves, whose noise is in the data."""
    image, residual, noise = (
        to_canonical(array, axes)
        for array, axes in (
            (result.image, result.axes),
            (result.residual, result.residual_axes),
            (result.noise_std, result.residual_axes),
        )
    )
    signals = _signals_of_means(image, recipe, observation)
    sigma = np.sqrt(np.mean(noise.astype(float) ** 2, axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = residual / noise
    fitted = _fit(recipe.signal, signals, _all_observed(observation), sigma, relative)
    with np.errstate(invalid="ignore"):
        misfit = np.mean((relative + (signals - fitted.signals) / noise) ** 2, axis=0)
    return replace(fitted, chi_square=misfit)


def _signals_of_means(means: FloatArray, recipe: Recipe, observation: Observation) -> FloatArray:
    """The signals whose data have the `means` (T, C, Z, Y, X) on average."""
    signals = np.empty_like(means)
    for depth in range(means.shape[2]):
        plane = slice(depth, depth + 1)
        data = FitData.from_observation(observation.select_planes(slice(None), plane), keep_times=True)
        signals[:, :, depth] = recipe.noise.signal_of_mean(means[:, :, depth], data)
    return signals


def _fit_complex(result: Result, recipe: Recipe, observation: Observation) -> _Fitted:
    """The fit to complex images, restored from samples of their Fourier transforms.

    The equation is fitted to the part of each image that has the phase of the pixels around: phases that
    differ between images (off resonance, motion) do not matter, and noise has no bias as in magnitudes.
    The noise of an image is that of its samples, over the root of their number for each pixel.
    """
    from scipy.ndimage import gaussian_filter

    real, imaginary = np.moveaxis(to_canonical(result.image, result.axes), 1, 0)
    around = (0, 0, PHASE_SIGMA_PX, PHASE_SIGMA_PX)
    phase = np.arctan2(gaussian_filter(imaginary, around), gaussian_filter(real, around))
    signals = (np.cos(phase) * real + np.sin(phase) * imaginary)[:, None]
    residual, noise = (
        to_canonical(array, result.residual_axes) for array in (result.residual, result.noise_std)
    )
    measured = np.isfinite(residual) & (noise > 0)
    number = measured.sum(axis=(0, 1, 3, 4)).clip(1)
    variance, chi_square = (
        (np.where(measured, square, 0).sum(axis=(0, 1, 3, 4), dtype=float) / number).reshape(1, -1, 1, 1)
        for square in (noise**2, (residual / np.where(measured, noise, 1)) ** 2)
    )
    samples = observation.observed.mean(axis=(0, 1)).sum(axis=(1, 2)).reshape(1, -1, 1, 1)
    share = samples / np.prod(signals.shape[-2:])
    known = np.ones(signals.shape[1:], bool)
    fitted = _fit(recipe.signal, signals, known, np.sqrt(variance / share))
    return replace(fitted, chi_square=np.broadcast_to(chi_square, known.shape))


def map_findings(equation: Signal, maps: ParameterMaps) -> Iterator[Finding]:
    """Yield why the maps have to be checked, as for an equation or a protocol that is not that of the
    images.
    """
    name, unit, low, high = equation.parameter
    value = maps.maps[name]
    known = np.isfinite(value)
    if known.mean() < MIN_KNOWN:
        yield Finding("check", f"the images say hardly anything of {name}: check the protocol")
        return
    misfit = float(np.median(maps.chi_square[known]))
    if misfit > MAX_CHI_SQUARE:
        reason = f"the equation does not explain the images (chi-square {misfit:.2g})"
        yield Finding("check", f"{reason}: check it, and the protocol")
    at_end = np.mean((value[known] < RANGE_END * low) | (value[known] > high / RANGE_END))
    if at_end > MAX_AT_END:
        ends = f"an end of its range, {low:g} to {high:g} {unit}"
        reason = f"{at_end:.0%} of the values of {name} are at {ends}: check the units of the protocol"
        yield Finding("check", reason)


def map_pixels(equation: Signal, observation: Observation, sigma: float | None = None) -> ParameterMaps:
    """Return maps of an observation, each pixel for itself.

    Parameters
    ----------
    equation : Signal
        The equation, with its protocol.
    observation : Observation
        The data. A pixel that lacks an image has no value.
    sigma : float, optional
        Standard deviation of the noise; automatic: from the misfit of typical pixels.
    """
    fitted = _fit(equation, observation.y, _all_observed(observation), sigma)
    return _to_maps(equation, fitted, observation)


def _fit(
    equation: Signal,
    images: FloatArray,
    known: BoolArray,
    sigma: Planes | float | None,
    residual: FloatArray | None = None,
) -> _Fitted:
    """The fit to `images` (T, C, Z, Y, X) where they are `known` (C, Z, Y, X), whose noise is `sigma`,
    one number or (C, Z, Y, X); `residual` is that of the data, in units of their noise.
    """
    known = known & np.isfinite(images).all(axis=0)
    y = torch.from_numpy(np.ascontiguousarray(images[:, known]))
    found = fit_pixels(equation, y, None if sigma is None else 1.0)
    noise = np.full(known.sum(), found.variance**0.5)
    if sigma is not None:
        noise = np.broadcast_to(sigma, known.shape)[known]
    relative = noise / found.variance**0.5

    def planes(values: torch.Tensor | Planes, factor: Planes | float = 1.0) -> Planes:
        found = np.full((*values.shape[:-1], *known.shape), np.nan)
        found[..., known] = np.asarray(values) * factor
        return found

    def by_name(
        of_value: torch.Tensor, linear: torch.Tensor, factor: Planes | float = 1.0
    ) -> dict[str, Planes]:
        names = equation.parameter.name, *equation.linear
        return dict(zip(names, planes(torch.cat((of_value[None], linear)), factor), strict=True))

    residuals = None
    if residual is not None:
        inside = torch.from_numpy(residual[:, known]).double()
        residuals = by_name(*project_residuals(equation, found.value, found.linear, inside))
    values = by_name(found.value, found.linear)
    bounds = by_name(found.value_std, found.linear_std, relative)
    name = equation.parameter.name
    with np.errstate(invalid="ignore"):
        says_nothing = ~(bounds[name] < MAX_RELATIVE_STD * values[name])
    values[name][says_nothing] = np.nan
    return _Fitted(
        values,
        bounds,
        chi_square=planes(found.misfit, 1 / noise**2),
        signals=planes(equation.signal(found.value, found.linear)),
        sigma=float(np.median(noise)) if noise.size else np.nan,
        residuals=residuals,
    )


def _to_maps(
    equation: Signal,
    fitted: _Fitted,
    observation: Observation,
    uncertainty: dict[str, Planes] | None = None,
) -> ParameterMaps:
    """What was found, with the axes of the observation, without T."""

    def on_grid(planes: dict[str, Planes]) -> dict[str, FloatArray]:
        return {n: one_on_grid(values) for n, values in planes.items()}

    def one_on_grid(values: Planes) -> FloatArray:
        return observation.to_input_axes(values[None].astype(np.float32), axes)

    axes = _map_axes(observation, len(fitted.chi_square))
    name, unit, *_ = equation.parameter
    return ParameterMaps(
        maps=on_grid(fitted.values),
        std=on_grid(fitted.bounds),
        uncertainty=on_grid(uncertainty) if uncertainty else None,
        units={name: unit} | dict.fromkeys(equation.linear, observation.header.unit),
        chi_square=one_on_grid(fitted.chi_square),
        sigma=fitted.sigma,
        axes=axes,
    )


def _all_observed(observation: Observation) -> BoolArray:
    """Which pixels (C, Z, Y, X) all images show."""
    return np.asarray(observation.observed.all(axis=0))


def _map_axes(observation: Observation, channels: int) -> str:
    """The axes of maps with so many channels: coils have none of their own."""
    axes = observation.axes.replace("T", "")
    return axes if channels == observation.y.shape[1] else axes.replace("C", "")
