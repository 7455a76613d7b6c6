"""Maps of the parameter of a signal equation, from the restored images or from the data alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.assessment import Finding
from napari_dip.core.axes import BoolArray, FloatArray, to_canonical
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.parameter_maps import ParameterMaps
from napari_dip.core.result import Result
from napari_dip.core.torch_import import torch
from napari_dip.physics.signals import Signal
from napari_dip.physics.signals.pixelwise import fit_pixels, propagate_errors
from napari_dip.run.recipe import Recipe

MIN_KNOWN = 0.01  # of all pixels that have a value
MAX_CHI_SQUARE = 10.0  # the median of all pixels that have a value
RANGE_END, MAX_AT_END = 1.02, 0.2  # a factor, and a share of these pixels
PHASE_SIGMA_PX = 1.5  # of the Gaussian over which the phase of a complex image is measured
MAX_RELATIVE_STD = 2.0  # bound of the error over the value, above which the images say nothing of it


def with_maps(result: Result, recipe: Recipe, observation: Observation) -> Result:
    """Return `result` with maps of its images, if the recipe has a signal equation.

    The equation is fitted to each pixel of the restored images; the bound of its error is that of the
    data.
    """
    if recipe.signal.kind == "none":
        return result
    to_maps = _maps_of_complex if recipe.operator.has_complex_scene else _maps_of_images
    maps = to_maps(result, recipe, observation)
    assessment = result.assessment.with_findings(map_findings(recipe.signal, maps))
    return replace(result, maps=maps, provenance=replace(result.provenance, assessment=assessment))


def _maps_of_images(result: Result, recipe: Recipe, observation: Observation) -> ParameterMaps:
    """Maps of restored images that are data themselves, whose noise is in the data."""
    image, residual, noise = (
        to_canonical(array, axes)
        for array, axes in (
            (result.image, result.axes),
            (result.residual, result.residual_axes),
            (result.noise_std, result.residual_axes),
        )
    )
    signals = _signals_of_means(image, recipe, observation)
    error = None
    if result.uncertainty is not None:
        above = image + to_canonical(result.uncertainty, result.axes)
        error = _signals_of_means(above, recipe, observation) - signals
    sigma = np.sqrt(np.mean(noise.astype(float) ** 2, axis=0))
    known = _all_observed(observation)
    maps, fitted = _fit(recipe.signal, signals, known, observation, sigma, error)
    with np.errstate(invalid="ignore"):
        misfit = np.mean(((residual + signals - fitted) / noise) ** 2, axis=0)
    return replace(maps, chi_square=_on_grid(misfit, observation))


def _signals_of_means(means: FloatArray, recipe: Recipe, observation: Observation) -> FloatArray:
    """The signals whose data have the `means` (T, C, Z, Y, X) on average."""
    signals = np.empty_like(means)
    for depth in range(means.shape[2]):
        plane = slice(depth, depth + 1)
        data = FitData.from_observation(observation.select_planes(slice(None), plane), keep_times=True)
        signals[:, :, depth] = recipe.noise.signal_of_mean(means[:, :, depth], data)
    return signals


def _maps_of_complex(result: Result, recipe: Recipe, observation: Observation) -> ParameterMaps:
    """Maps of complex images, restored from samples of their Fourier transforms.

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
    variance, chi_square = (
        np.nanmean(square.astype(float), axis=(0, 1, 3, 4)).reshape(1, -1, 1, 1)
        for square in (np.where(np.isfinite(residual), noise**2, np.nan), (residual / noise) ** 2)
    )
    samples = observation.observed.mean(axis=(0, 1)).sum(axis=(1, 2)).reshape(1, -1, 1, 1)
    share = samples / np.prod(signals.shape[-2:])
    known = np.ones(signals.shape[1:], bool)
    maps, _ = _fit(recipe.signal, signals, known, observation, np.sqrt(variance / share))
    misfit = np.broadcast_to(chi_square, known.shape)
    return replace(maps, chi_square=_on_grid(misfit, observation))


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
    return _fit(equation, observation.y, _all_observed(observation), observation, sigma)[0]


def _fit(
    equation: Signal,
    images: FloatArray,
    known: BoolArray,
    observation: Observation,
    sigma: NDArray[np.float64] | float | None,
    error: FloatArray | None = None,
) -> tuple[ParameterMaps, NDArray[np.float64]]:
    """Maps of `images` (T, C, Z, Y, X) where they are `known` (C, Z, Y, X), whose noise is `sigma`, one
    number or (C, Z, Y, X), and whose own error has the standard deviation `error`; and what the equation
    makes of them.
    """
    known = known & np.isfinite(images).all(axis=0)
    y = torch.from_numpy(np.ascontiguousarray(images[:, known]))
    found = fit_pixels(equation, y, None if sigma is None else 1.0)
    noise = np.full(known.sum(), found.variance**0.5)
    if sigma is not None:
        noise = np.broadcast_to(sigma, known.shape)[known]
    relative = noise / found.variance**0.5

    def on_grid(values: NDArray[np.float64]) -> FloatArray:
        planes = np.full(known.shape, np.nan)
        planes[known] = values
        return _on_grid(planes, observation)

    value, bound = found.value.numpy(), found.value_std.numpy() * relative
    value = np.where(bound < MAX_RELATIVE_STD * value, value, np.nan)
    name, unit, *_ = equation.parameter
    names = (name, *equation.linear)
    values = (value, *found.linear.numpy())
    stds = (bound, *found.linear_std.numpy() * relative)
    uncertainty = None
    if error is not None:
        errors = propagate_errors(
            equation, found.value, found.linear, torch.from_numpy(error[:, known]).double()
        )
        planes = (np.where(np.isfinite(value), errors[0].numpy(), np.nan), *errors[1].numpy())
        uncertainty = {n: on_grid(one) for n, one in zip(names, planes, strict=True)}
    maps = ParameterMaps(
        maps={n: on_grid(one) for n, one in zip(names, values, strict=True)},
        std={n: on_grid(one) for n, one in zip(names, stds, strict=True)},
        uncertainty=uncertainty,
        units={name: unit} | dict.fromkeys(equation.linear, observation.header.unit),
        chi_square=on_grid(found.misfit.numpy() / noise**2),
        sigma=float(np.median(noise)) if noise.size else np.nan,
        axes=_map_axes(observation, images.shape[1]),
    )
    fitted = np.full(images.shape, np.nan)
    fitted[:, known] = equation.signal(found.value, found.linear).numpy()
    return maps, fitted


def _all_observed(observation: Observation) -> BoolArray:
    """Which pixels (C, Z, Y, X) all images show."""
    return np.asarray(observation.observed.all(axis=0))


def _on_grid(planes: NDArray[np.float64], observation: Observation) -> FloatArray:
    """Planes (C, Z, Y, X) with the axes of the observation, without T."""
    axes = _map_axes(observation, len(planes))
    return observation.to_input_axes(planes[None].astype(np.float32), axes)


def _map_axes(observation: Observation, channels: int) -> str:
    """The axes of maps with so many channels: coils have none of their own."""
    axes = observation.axes.replace("T", "")
    return axes if channels == observation.y.shape[1] else axes.replace("C", "")
