"""Data that are simulated from a restored image, whose restoration shows how far off maps are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_dip.core.axes import FloatArray
from napari_dip.core.fit_data import FitData
from napari_dip.core.result import Result
from napari_dip.core.torch_import import torch
from napari_dip.refine.ensemble import Ensemble
from napari_dip.run.provenance import RunRecord
from napari_dip.run.recipe import Recipe
from napari_dip.run.result_canvases import ResultCanvases
from napari_dip.run.tiles.planner import TilePlanner
from napari_dip.run.tiles.tiled_fit import TiledFit
from napari_dip.run.warm_start import WarmStart


def has_simulation(recipe: Recipe) -> bool:
    """Whether a fit of simulated data follows those of the ensemble: for maps with an uncertainty."""
    has_maps = recipe.signal.kind != "none" and recipe.strength == 1
    return has_maps and recipe.ensemble.size > 1


class Simulation:
    """The fits of simulated data, each as one of the ensemble, with random numbers of its own.

    Parameters
    ----------
    recipe : Recipe
        That of the run.
    canvases : ResultCanvases
        Into which the fitted blocks are put.

    Attributes
    ----------
    recipe : Recipe
        That of the fits.
    canvases : ResultCanvases
    """

    def __init__(self, recipe: Recipe, canvases: ResultCanvases) -> None:
        self.canvases = canvases
        size = recipe.ensemble.size
        *_, seed = Ensemble(size=size + 1).seeds(recipe.seed)
        self._noise_seed = recipe.seed, size
        self.recipe = recipe.model_copy(update={"seed": seed})
        self._start = WarmStart(self.recipe, num_fits=1)

    def new_fit(self, block: TiledFit, data: FitData, number: int, planner: TilePlanner) -> TiledFit:
        """Return the fit to data that are simulated from the restored `block` of this number, whose
        measured data are given.
        """
        self._start.fit = None  # two need more memory
        return TiledFit(self.recipe, self.simulate(block, data, number), planner, self._start)

    def finish(self, record: RunRecord) -> Result | None:
        """Return the result of all fits; None without any."""
        return self.canvases.finish(record) if self.canvases.is_allocated else None

    def simulate(self, block: TiledFit, data: FitData, number: int) -> FitData:
        """Return data of the restored `block`, with other noise than the measured `data`.

        The noise depends on the `number` of the block, and on no seed of a fit, which would know it.
        """
        assert block.block_fit is not None
        likelihood = block.block_fit.problem.likelihood
        seed = int(np.random.default_rng([*self._noise_seed, number]).integers(2**31))
        generator = torch.Generator().manual_seed(seed)
        mean = data.y - block.canvases.residual.planes

        def draw_unit() -> FloatArray:
            return np.asarray(likelihood.correlate(torch.randn(mean.shape, generator=generator)))

        y = self.recipe.noise.draw(mean, block.canvases.noise_std.planes, data, draw_unit)
        return replace(data, y=np.where(np.isfinite(y), y, data.y).astype(np.float32))
