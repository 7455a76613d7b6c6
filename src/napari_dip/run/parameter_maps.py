"""Maps of the parameter of a signal equation, from the restored images or from the data alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import FloatArray, to_canonical
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.parameter_maps import ParameterMaps
from napari_dip.core.result import Result
from napari_dip.core.torch_import import torch
from napari_dip.physics.signals import Signal
from napari_dip.physics.signals.pixelwise import fit_pixels
from napari_dip.run.recipe import Recipe

MAX_RELATIVE_STD = 2.0  # bound of the error over the value, above which the images say nothing of it


def with_maps(result: Result, recipe: Recipe, observation: Observation) -> Result:
    """Return `result` with maps of its images, if the recipe has a signal equation.

    The equation is fitted to each pixel of the restored images; the bound of its error is that of the
    data.
    """
    if recipe.signal.kind == "none":
        return result
    image, residual, noise = (
        to_canonical(array, axes)
        for array, axes in (
            (result.image, result.axes),
            (result.residual, result.residual_axes),
            (result.noise_std, result.residual_axes),
        )
    )
    signals = np.empty_like(image)
    for depth in range(image.shape[2]):
        plane = slice(depth, depth + 1)
        data = FitData.from_observation(observation.select_planes(slice(None), plane), keep_times=True)
        signals[:, :, depth] = recipe.noise.signal_of_mean(image[:, :, depth], data)
    sigma = np.sqrt(np.mean(noise.astype(float) ** 2, axis=0))
    maps, fitted = _fit(recipe.signal, signals, observation, sigma)
    with np.errstate(invalid="ignore"):
        misfit = np.mean(((residual + signals - fitted) / noise) ** 2, axis=0)
    return replace(result, maps=replace(maps, chi_square=_on_grid(misfit, observation)))


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
    return _fit(equation, observation.y, observation, sigma)[0]


def _fit(
    equation: Signal,
    images: FloatArray,
    observation: Observation,
    sigma: NDArray[np.float64] | float | None,
) -> tuple[ParameterMaps, NDArray[np.float64]]:
    """Maps of `images` (T, C, Z, Y, X), whose noise is `sigma`, one number or (C, Z, Y, X); and what the
    equation makes of them.
    """
    known = observation.observed.all(axis=0) & np.isfinite(images).all(axis=0)
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
    maps = ParameterMaps(
        maps={n: on_grid(values) for n, values in zip(names, values, strict=True)},
        std={n: on_grid(std) for n, std in zip(names, stds, strict=True)},
        units={name: unit} | dict.fromkeys(equation.linear, observation.header.unit),
        chi_square=on_grid(found.misfit.numpy() / noise**2),
        sigma=float(np.median(noise)) if noise.size else np.nan,
        axes=observation.axes.replace("T", ""),
    )
    fitted = np.full(images.shape, np.nan)
    fitted[:, known] = equation.signal(found.value, found.linear).numpy()
    return maps, fitted


def _on_grid(planes: NDArray[np.float64], observation: Observation) -> FloatArray:
    """Planes (C, Z, Y, X) with the axes of the observation, without T."""
    axes = observation.axes.replace("T", "")
    return observation.to_input_axes(planes[None].astype(np.float32), axes)
