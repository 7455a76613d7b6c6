"""Another step of a run for its result, where a person knows better than the stop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_dip.core.axes import FloatArray
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.core.torch_import import torch
from napari_dip.physics.problem import Problem
from napari_dip.run.provenance import flux_change
from napari_dip.run.recipe import Recipe


def reselect_step(result: Result, observation: Observation, image: FloatArray, step: int) -> Result:
    """`result` with the `image` of another step of its only fit, and with that image's residual.

    Parameters
    ----------
    result : Result
        Of one frame, restored as a whole by one fit.
    observation : Observation
        What was measured.
    image : float32 array of the shape of ``result.image``
        The running average at `step`, in data units.
    step : int
        Which step that is.

    Returns
    -------
    Result
        With no second look at the data and no uncertainty. Its residual is NaN where it hangs on what
        lies beyond the image.
    """
    recipe = Recipe.parse(result.provenance["recipe"], source="provenance")
    _, frame = next(iter(recipe.stack.iter_blocks(observation, joint=recipe.operator.combines_time)))
    problem = Problem.from_data(frame, recipe.operator, recipe.noise, device=torch.device("cpu"))
    x, beyond = _scene_showing(image, result.axes, problem)
    residual = problem.residual(x)
    residual[problem.operator(beyond).abs() > 1e-6] = torch.nan
    noise = problem.noise_std(x)
    known = torch.isfinite(residual)
    inner = replace(problem, observed=problem.observed & known)
    shape = observation.y.shape
    planes = [observation.to_input_axes(plane.numpy().reshape(shape)) for plane in (residual, noise)]
    history = replace(
        result.history[0], selected_step=step, stop_reason=f"step {step} was picked by hand"
    )
    provenance = {
        **result.provenance,
        "noise": {
            **result.provenance["noise"],
            "residual": [round(float(inner.rms_normalized_residual(x)), 3)],
        },
        "chosen": [step],
        "reason": history.stop_reason,
        "refinement": "none",
        "sources": False,
        "flux_change": flux_change(observation, residual.numpy().reshape(shape)),
    }
    return replace(
        result,
        image=image,
        residual=planes[0],
        noise_std=planes[1],
        uncertainty=None,
        history=(history,),
        provenance=provenance,
    )


def _scene_showing(image: FloatArray, axes: str, problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """The scene (C, Y, X) that shows `image`, its edge repeated beyond it; and 1 where that is."""
    planes = np.moveaxis(image, axes.index("C"), 0) if "C" in axes else image
    seen = torch.from_numpy(np.ascontiguousarray(planes)).reshape(-1, *planes.shape[-2:])
    window = problem.operator.valid_region
    places = [
        (torch.arange(size) - (here.start or 0)).clamp(0, shown - 1)
        for size, here, shown in zip(
            problem.operator.scene_shape[1:], window, seen.shape[1:], strict=True
        )
    ]
    x = seen[:, places[0]][:, :, places[1]]
    beyond = torch.ones_like(x)
    beyond[:, *window] = 0
    return x, beyond
