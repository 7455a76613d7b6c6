"""Which running average of the iterates is kept."""

from __future__ import annotations

from napari_dip.core.torch_import import torch
from napari_dip.fitting.stopping import SeparatePixels

MAX_CONSECUTIVE_WORSE = 50  # steps that are worse for the stars, after which they are learnt


class BestIterate:
    """The running average at the step of the least statistic."""

    def __init__(self, start: torch.Tensor) -> None:
        self.average, self._least = start, torch.full((), torch.inf, device=start.device)

    def update(self, average: torch.Tensor, statistic: torch.Tensor, *, newest: bool) -> None:
        """Take it if it is better, or in any case."""
        better = torch.ones_like(statistic).bool() if newest else statistic < self._least
        self.average = torch.where(better, average, self.average)
        self._least = torch.where(better, statistic, self._least)


class OneStandardErrorIterate:
    """The last running average whose stars are not worse, beyond one standard error, than the best's.

    A step too early leaves out light that the data show; one too late leaves in some noise. After many
    steps in a row that are worse, none is taken but a better one: some would seem as good by chance.

    References
    ----------
    .. [1] Breiman, Friedman, Olshen, Stone, "Classification and regression trees" (1984), section
           3.4.3, where the rule chooses among the simpler ones.
    """

    def __init__(self, start: torch.Tensor, apart: SeparatePixels) -> None:
        self.average, self.mask, self._separate, self._errors = start, apart.mask, apart, start
        self.step, self._worse = torch.zeros((2,), device=start.device)
        self._least = torch.full((), torch.inf, device=start.device)

    def update(self, average: torch.Tensor, step: int) -> torch.Tensor:
        """Take it if it is as good; the stars' misfit, infinite if it is not."""
        errors = torch.where(self.mask, self._separate.errors(average), 0.0)
        better = errors.sum() < self._least
        self._least = torch.where(better, errors.sum(), self._least)
        self._errors = torch.where(better, errors, self._errors)
        beside = errors - self._errors
        good = beside.sum() <= beside.square().sum().sqrt()
        good &= better | (self._worse < MAX_CONSECUTIVE_WORSE)
        self._worse = torch.where(good, 0, self._worse + 1)
        self.average = torch.where(good, average, self.average)
        self.step = torch.where(good, step, self.step)
        return torch.where(good, self._separate.misfit(average), torch.inf)


def feather_mask(pixels: torch.Tensor) -> torch.Tensor:
    """The `pixels` (C, H, W) and those beside them as 1, fading to 0 over one more."""
    wide = torch.nn.functional.max_pool2d(pixels.float(), 3, 1, 1)
    return torch.nn.functional.avg_pool2d(wide, 3, 1, 1, count_include_pad=False)
