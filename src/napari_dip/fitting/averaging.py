"""Which running average of the iterates is kept."""

from __future__ import annotations

from napari_dip.core.state import Stateful
from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping import SeparatePixels

MAX_CONSECUTIVE_WORSE = 50  # steps that are worse for the separate pixels, after which they are learned


class BestIterate(Stateful):
    """The running average at the step with the lowest score."""

    changing = ("average", "_lowest")

    def __init__(self, start: torch.Tensor) -> None:
        self.average, self._lowest = start, torch.full((), torch.inf, device=start.device)

    def update(self, average: torch.Tensor, score: torch.Tensor, *, always: bool) -> None:
        """Keep `average` if its score is lower, or `always`."""
        better = torch.ones_like(score).bool() if always else score < self._lowest
        self.average = torch.where(better, average, self.average)
        self._lowest = torch.where(better, score, self._lowest)


class OneStandardErrorIterate(Stateful):
    """The last running average whose error is within one standard error of the lowest.

    It is for pixels such as stars: a step too early misses flux that the data show, a step too late adds
    a little noise. After many consecutive steps that are worse, only a better one is kept: some would
    seem as good by chance.

    References
    ----------
    .. [1] Breiman, Friedman, Olshen, Stone, "Classification and regression trees" (1984), section
           3.4.3, where the rule chooses among the simpler ones.
    """

    changing = ("average", "step", "_num_worse", "_lowest", "_errors")

    def __init__(self, start: torch.Tensor, separate: SeparatePixels) -> None:
        self.average, self.mask, self._separate, self._errors = start, separate.mask, separate, start
        self.step, self._num_worse = torch.zeros((2,), device=start.device)
        self._lowest = torch.full((), torch.inf, device=start.device)

    def update(self, average: torch.Tensor, step: int) -> torch.Tensor:
        """Keep `average` if it is as good; return the misfit of its pixels, infinite if it is not."""
        errors = torch.where(self.mask, self._separate.errors(average), 0.0)
        better = errors.sum() < self._lowest
        self._lowest = torch.where(better, errors.sum(), self._lowest)
        self._errors = torch.where(better, errors, self._errors)
        excess = errors - self._errors
        good = excess.sum() <= excess.square().sum().sqrt()
        good &= better | (self._num_worse < MAX_CONSECUTIVE_WORSE)
        self._num_worse = torch.where(good, 0, self._num_worse + 1)
        self.average = torch.where(good, average, self.average)
        self.step = torch.where(good, step, self.step)
        return torch.where(good, self._separate.misfit(average), torch.inf)


def feather_mask(mask: torch.Tensor) -> torch.Tensor:
    """Return a mask (C, H, W) dilated by one pixel as weights, which fade to 0 over one more."""
    wide = torch.nn.functional.max_pool2d(mask.float(), 3, 1, 1)
    return torch.nn.functional.avg_pool2d(wide, 3, 1, 1, count_include_pad=False)
