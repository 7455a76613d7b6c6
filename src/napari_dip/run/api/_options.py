"""What the functions of the package share: their options, and the way from an image to a result."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from napari_dip.core import interop
from napari_dip.core.errors import RestorationWarning, SettingsError
from napari_dip.core.observation import Observation
from napari_dip.core.progress import Progress
from napari_dip.core.result import Result
from napari_dip.io import read, read_auxiliary, read_first_image
from napari_dip.physics.noise import NoiseSettings
from napari_dip.physics.noise.gaussian import Gaussian
from napari_dip.physics.noise.poisson import Poisson, PoissonGaussian
from napari_dip.physics.noise.rician import Rician
from napari_dip.run.recipe import Quality, Recipe
from napari_dip.run.restoration import iter_restoration
from napari_dip.run.restoration_run import RestorationRun

Callback = Callable[[Progress], bool | None]
NoiseName = Literal["gaussian", "poisson", "poisson-gaussian", "rician"]


class NumericOptions(TypedDict, total=False):
    """Keyword arguments that all tasks have in common; `denoise` describes them."""

    sigma: ArrayLike | None
    noise: NoiseName | NoiseSettings
    gain: float | None
    read_noise: float | None
    axes: str | None
    channel_axis: int | None
    quality: Quality
    seed: int
    device: Literal["auto", "cuda", "mps", "cpu"]
    dtype: DTypeLike | None
    callback: Callback | None
    full_output: bool


class Options(NumericOptions, total=False):
    """The same, with a mask."""

    mask: Any


def run_task(image: Any, recipe: Recipe, options: Options) -> Any:
    """Restore an image or a path by `recipe`, and return it as it was given."""
    observation, wrap = observe(image, options)
    return restore_observation(observation, wrap, recipe, options)


def observe(image: Any, options: Options) -> tuple[Observation, interop.Wrap]:
    """Return the observation of an image or a path, and a function that wraps a result as the image
    was.
    """
    mask, axes = options.get("mask"), options.get("axes")
    sigma = options.get("sigma")
    sigma = None if is_number(sigma) else load_array(sigma) if is_path(sigma) else sigma
    if isinstance(image, list | tuple) and image and all(map(is_path, image)):
        image = read(*image, axes=axes)
    elif is_path(image):
        image = read(image, axes=axes)
    return interop.to_observation(
        image,
        axes=axes,
        channel_axis=options.get("channel_axis"),
        mask=None if mask is None else load_array(mask),
        sigma=sigma,
    )


def restore_observation(
    observation: Observation,
    wrap: interop.Wrap,
    recipe: Recipe,
    options: Options,
    note: str = "",
    *,
    keep_noise: bool = False,
) -> Any:
    """Restore by `recipe` with the noise, quality, seed and device of `options`, and wrap the result.

    Warns
    -----
    RestorationWarning
        If the assessment of a result that is returned as an array is not good.
    """
    if is_number(sigma := options.get("sigma")):
        options = {**options, "sigma": float(interop.in_data_units(sigma, observation.header.unit))}
    groups: dict[str, Any] = {"seed": options.get("seed", 0)}
    groups["compute"] = {"device": options.get("device", "auto")}
    if not keep_noise:
        groups["noise"] = noise_settings(options, recipe.noise)
    recipe = recipe.with_quality(options.get("quality", "balanced")).replace(**groups)
    result = run_to_end(iter_restoration(observation, recipe, note=note), options.get("callback"))
    if options.get("full_output", False):
        return result
    dtype = options.get("dtype")
    image = result.image if dtype is None else interop.cast(result.image, dtype)
    wrapped = wrap(result, image)
    if not isinstance(wrapped, Result) and result.assessment.level != "good":
        warnings.warn(str(result.assessment), RestorationWarning, stacklevel=_caller())
    return wrapped


def _caller() -> int:
    """Return the stack level, as of the function that calls this one, of the code of the user."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith("napari_dip."):
        frame, level = frame.f_back, level + 1
    return level


def noise_settings(options: Options, default: NoiseSettings) -> NoiseSettings:
    """Return the noise model of `options`; `default` if they say nothing else than Gaussian.

    Raises
    ------
    SettingsError
        If a number does not belong to the model.
    """
    noise = options.get("noise", "gaussian")
    sigma, gain, read_noise = (options.get(name) for name in ("sigma", "gain", "read_noise"))
    numbers: dict[str, Any] = {"sigma": sigma, "gain": gain, "read_noise": read_noise}
    given = [name for name, value in numbers.items() if value is not None]
    if isinstance(noise, NoiseSettings):
        if unused := [name for name in given if is_number(numbers[name])]:
            raise SettingsError(f"{unused[0]} is part of the noise settings, which are given as well")
        return noise
    accepted = {
        "gaussian": ["sigma"],
        "poisson": ["gain"],
        "poisson-gaussian": ["gain", "read_noise"],
        "rician": ["sigma"],
    }
    if noise not in accepted:
        raise SettingsError(f"there is no noise '{noise}': choose {', '.join(accepted)}, or settings")
    if unused := [name for name in given if name not in accepted[noise]]:
        others = " or ".join(f"'{kind}'" for kind, names in accepted.items() if unused[0] in names)
        raise SettingsError(f"{unused[0]} does not apply to noise '{noise}': use noise={others}")
    match noise:
        case "poisson":
            return Poisson.parse({"gain": gain}, source="noise")
        case "poisson-gaussian":
            return PoissonGaussian.parse({"gain": gain, "read_noise": read_noise}, source="noise")
        case "rician":
            return Rician.parse({"sigma": sigma}, source="noise")
    if is_number(sigma):
        return Gaussian.parse({"sigma": float(np.asarray(sigma))}, source="noise")
    return default if isinstance(default, Gaussian) else Gaussian()


def run_to_end(run: RestorationRun, callback: Callback | None) -> Result:
    """Return the result of a run whose progress goes to `callback`."""
    for progress in run if callback else ():
        if callback and callback(progress):
            run.stop()
    return run.result


def is_path(value: Any) -> bool:
    """Whether `value` is the path of a file."""
    return isinstance(value, str | os.PathLike)


def is_number(value: Any) -> bool:
    """Whether `value` is one number, in place of an array or the path of one."""
    return value is not None and not is_path(value) and np.ndim(value) == 0


def add_auxiliary(observation: Observation, name: str, values: Any) -> Observation:
    """Return the observation with auxiliary data: an array, complex coil maps, or the path of a file."""
    if is_path(values):
        image = read_auxiliary(values)
        return observation.with_auxiliary(name, image.pixels, axes=image.axes)
    if np.iscomplexobj(values):
        from napari_dip.io.mri.arrays import kspace_image

        image = kspace_image(np.asarray(values), "", 1)
        return observation.with_auxiliary(name, image.array, axes=image.axes)
    return observation.with_auxiliary(name, interop.plain_array(values))


def load_array(values: Any) -> NDArray[Any]:
    """Return an array of any kind, or of the first image of a file; NaN where it is masked."""
    if not is_path(values):
        return interop.plain_array(values)
    return read_first_image(values).pixels
