"""The image of another step as the result of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from napari_dip.core.assessment import Assessment
from napari_dip.core.axes import FloatArray
from napari_dip.core.result import Result
from napari_dip.core.strength import blend
from napari_dip.core.torch_import import torch
from napari_dip.physics.problem import Problem
from napari_dip.run.assessment import fit_findings, measure_fit, noise_findings
from napari_dip.run.parameter_maps import with_maps
from napari_dip.run.provenance import flux_change
from napari_dip.run.recipe import Recipe
from napari_dip.run.reduction import reduced_recipe

if TYPE_CHECKING:
    from napari_dip.core.observation import Observation

MAX_OUTSIDE_SHARE = 1e-3  # of a datum, that may come from the scene outside the image


def reselect_step(result: Result, image: FloatArray, step: int) -> Result:
    """Return `result` with the `image` of another step of its only fit, and its residual.

    Parameters
    ----------
    result : Result
        Of one block, restored as a whole by one fit, with its observation.
    image : float32 array of the shape of ``result.image``
        The moving average at `step`, in data units.
    step : int
        Which step that is.

    Returns
    -------
    Result
        Without refinement and uncertainty. Its residual is NaN where it depends on the scene outside the
        image.
    """
    recipe = reduced_recipe(Recipe.parse(result.provenance.recipe, source="provenance"))
    observation = cast("Observation", result.observation)
    combines_time = recipe.operator.combines_time
    _, data = next(iter(recipe.stack.iter_blocks(observation, combines_time=combines_time)))
    physics = (recipe.operator, recipe.noise)
    problem = Problem.from_data(data, *physics, device=torch.device("cpu"))
    x, outside = _scene_showing(image, result.axes, problem)
    residual = problem.residual(x)
    residual[problem.operator(outside).abs() > MAX_OUTSIDE_SHARE] = torch.nan
    known = replace(problem, observed=problem.observed & torch.isfinite(residual))
    shape = observation.y.shape
    residual_planes, noise_planes = (
        observation.to_input_axes(plane.numpy().reshape(shape))
        for plane in (residual, problem.noise_std(x))
    )
    history = replace(
        result.history[0], selected_step=step, stop_reason=f"step {step} was selected by hand"
    )
    hard = recipe.hard_data_consistency
    findings = [
        *fit_findings(measure_fit(known, x, hard_data_consistency=hard)),
        *noise_findings(problem.likelihood.properties, hard_data_consistency=hard),
        *problem.operator.findings,
        *observation.findings,
    ]
    provenance = replace(
        result.provenance,
        assessment=Assessment.from_findings(findings),
        noise=replace(
            result.provenance.noise,
            residual=(round(float(known.rms_normalized_residual(x)), 3),),
        ),
        selected_step=(step,),
        stop_reason=history.stop_reason,
        refinement="none",
        source_flux_corrected=False,
        flux_change=flux_change(observation, residual.numpy().reshape(shape)),
    )
    selected = replace(
        result,
        image=image,
        residual=residual_planes,
        noise_std=noise_planes,
        uncertainty=None,
        history=(history,),
        provenance=provenance,
    )
    return blend(with_maps(selected, recipe, observation), observation, recipe.strength)


def _scene_showing(image: FloatArray, axes: str, problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """The scene (C, Y, X) that shows `image`, with its edge repeated outside; and 1 outside."""
    planes = np.moveaxis(image, axes.index("C"), 0) if "C" in axes else image
    inside = torch.from_numpy(np.ascontiguousarray(planes)).reshape(-1, *planes.shape[-2:])
    region = problem.operator.valid_region
    rows, columns = (
        (torch.arange(size) - (along.start or 0)).clamp(0, length - 1)
        for size, along, length in zip(
            problem.operator.scene_shape[1:], region, inside.shape[1:], strict=True
        )
    )
    inside = (
        inside
        - torch.as_tensor(problem.operator.foreground).expand(problem.operator.scene_shape)[:, *region]
    )
    x = inside[:, rows][:, :, columns]
    outside = torch.ones_like(x)
    outside[:, *region] = 0
    return x, outside
