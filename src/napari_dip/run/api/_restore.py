"""Restoration by any recipe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike

from napari_dip.core import interop
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.io import file_and_extension
from napari_dip.run.api._options import (
    Callback,
    add_auxiliary,
    is_number,
    observe,
    run_to_end,
)
from napari_dip.run.checkpoint import Checkpoint
from napari_dip.run.executors import Workers
from napari_dip.run.recipe import Recipe
from napari_dip.run.restoration import iter_restoration
from napari_dip.run.restoration_run import RestorationRun
from napari_dip.run.warm_start import WarmStart


def restore(
    image: Any,
    recipe: str | os.PathLike[str] | Recipe = "denoise",
    *,
    mask: Any = None,
    sigma: ArrayLike | None = None,
    auxiliary: Mapping[str, Any] | None = None,
    axes: str | None = None,
    workers: Workers | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    callback: Callback | None = None,
) -> Result:
    """Restore an image by any recipe, and wait for the result.

    Parameters
    ----------
    image
        As for `denoise`.
    recipe : str, path or Recipe
        The name of a preset, the JSON file of a recipe, or a recipe.
    mask : array of bool, optional
        True where data are missing.
    sigma : float or array of float, optional
        Standard deviation of the noise of each pixel.
    auxiliary : mapping of str to array, optional
        What the recipe takes besides: ``"psf"``, ``"guide"``, ``"coil_maps"``, ``"trajectory"``.
    axes : str, optional
        As for `denoise`.
    workers : callable, optional
        Makes an executor whose processes apply the network of a large image to its parts:
        ``partial(local_workers, 4)``, ``partial(dask_workers, "tcp://host:8786")``.
    checkpoint : path, optional
        A folder that keeps the fit, every two minutes, until there is a result. If Python is killed, the
        same call continues the fit; on a CPU the result is the same bit for bit.
    callback : callable, optional
        As for `denoise`.

    Returns
    -------
    Result

    Raises
    ------
    ObservationError, SettingsError, ReadError
        As for `denoise`; also if the recipe does not exist.

    Examples
    --------
    >>> import napari_dip as dip
    >>> noisy = np.random.default_rng(0).normal(100, 5, (48, 64))
    >>> recipe = dip.Recipe.preset("denoise").with_quality("fast")
    >>> result = dip.restore(noisy, recipe)
    >>> result.image.shape, result.uncertainty is None
    ((48, 64), True)
    """
    options = {"mask": mask, "sigma": sigma, "auxiliary": auxiliary, "axes": axes}
    observation, chosen = _prepare(image, recipe, **options)
    start = WarmStart(chosen)
    if checkpoint is not None:
        start.checkpoint = Checkpoint.of_run(checkpoint, chosen, observation)
    run = iter_restoration(observation, chosen, warm_start=start, workers=workers)
    result = run_to_end(run, callback)
    start.checkpoint.remove()
    return result


def iter_restore(
    image: Any,
    recipe: str | os.PathLike[str] | Recipe = "denoise",
    *,
    mask: Any = None,
    sigma: ArrayLike | None = None,
    auxiliary: Mapping[str, Any] | None = None,
    axes: str | None = None,
    snapshot_every: int | None = None,
    workers: Workers | None = None,
) -> RestorationRun:
    """Restore an image by any recipe, step by step.

    Parameters
    ----------
    image, recipe, mask, sigma, auxiliary, axes
        As for `restore`.
    snapshot_every : int, optional
        Number of steps between reports that always carry an image.
    workers : callable, optional
        As for `restore`.

    Returns
    -------
    RestorationRun
        A context manager, which yields `Progress` when it is iterated, and whose `result` is the
        `Result`.

    Raises
    ------
    ObservationError, SettingsError, ReadError
        As for `restore`.

    Examples
    --------
    >>> import napari_dip as dip
    >>> noisy = np.random.default_rng(0).normal(100, 5, (48, 64))
    >>> with dip.iter_restore(noisy) as run:
    ...     for progress in run:
    ...         if progress.step >= 20:
    ...             run.stop()
    >>> run.result.stop_reason.startswith("stopped by hand")
    True
    """
    options = {"mask": mask, "sigma": sigma, "auxiliary": auxiliary, "axes": axes}
    observation, chosen = _prepare(image, recipe, **options)
    return iter_restoration(observation, chosen, snapshot_every=snapshot_every, workers=workers)


def _prepare(
    image: Any,
    recipe: str | os.PathLike[str] | Recipe,
    *,
    mask: Any,
    sigma: ArrayLike | None,
    auxiliary: Mapping[str, Any] | None,
    axes: str | None,
) -> tuple[Observation, Recipe]:
    """What was measured, and what to do."""
    observation, _ = observe(image, {"mask": mask, "axes": axes, "sigma": sigma})
    for name, values in (auxiliary or {}).items():
        observation = add_auxiliary(observation, name, values)
    chosen = _find_recipe(recipe)
    if is_number(sigma):
        sigma = float(interop.in_data_units(sigma, observation.header.unit))
        chosen = chosen.replace(noise={"sigma": sigma})
    return observation, chosen


def _find_recipe(recipe: str | os.PathLike[str] | Recipe) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    file, _ = file_and_extension(recipe)
    is_file = file.suffix == ".json" and file.is_file()
    return Recipe.from_file(file) if is_file else Recipe.preset(os.fspath(recipe))
