"""Data that are simulated from a restored image, whose restoration shows how far off maps are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_dip.core.axes import FloatArray
from napari_dip.core.fit_data import FitData
from napari_dip.core.torch_import import torch
from napari_dip.refine.ensemble import Ensemble
from napari_dip.run.recipe import Recipe
from napari_dip.run.tiles.tiled_fit import TiledFit


def has_simulation(recipe: Recipe) -> bool:
    """Whether a last fit of simulated data follows those of the ensemble: for maps with an
    uncertainty.
    """
    return recipe.signal.kind != "none" and recipe.ensemble.size > 1


def num_fits(recipe: Recipe) -> int:
    """Return the number of fits to a block, or to a tile of it."""
    return recipe.ensemble.size + has_simulation(recipe)


def simulation_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe of the fit to simulated data: a single one, with random numbers of its own."""
    seed = Ensemble(size=recipe.ensemble.size + 1).seeds(recipe.seed)[-1]
    return recipe.model_copy(update={"ensemble": Ensemble(size=1), "seed": seed})


def simulate_data(recipe: Recipe, data: FitData, block: TiledFit) -> FitData:
    """Return data of the restored `block`, with other noise than the measured `data`."""
    assert block.block_fit is not None
    likelihood = block.block_fit.problem.likelihood
    generator = torch.Generator().manual_seed(simulation_recipe(recipe).seed)
    mean = data.y - block.canvases.residual.planes

    def draw_unit() -> FloatArray:
        white = torch.randn(mean.shape, generator=generator)
        return np.asarray(likelihood.to(white.device).correlate(white))

    y = recipe.noise.draw(mean, block.canvases.noise_std.planes, data, draw_unit)
    return replace(data, y=np.where(np.isfinite(y), y, data.y).astype(np.float32))
