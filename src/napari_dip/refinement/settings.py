"""What is done after the fit, and when."""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, Literal

from pydantic import Field

from napari_dip.problem import Problem
from napari_dip.refinement.nonlocal_bayes import nonlocal_bayes
from napari_dip.refinement.spectral_shrinkage import spectrally_shrunk
from napari_dip.settings import Settings
from napari_dip.stopping import Watch
from napari_dip.torch_import import torch

Look = Literal["patches", "spectrum", "none"]

# Noise of a picture that agrees with the data, by what it has beyond a linear one: where pixels are
# missing, and where all are finer than the data's.
MISSING, FINER = 1.5, 2.5


class Refinement(Settings):
    """A second look at the data, with the picture that was fitted to tell what to look for.

    The picture lacks noise, so it tells well which patches are alike and how they vary; the data have
    what it has not learnt. Where a blur lies between, the data tell at which frequencies the
    picture is noise.
    """

    patches: Literal["auto", "on", "off"] = "auto"
    """Estimate patches that are alike together (nonlocal Bayes). Automatic: where the data show the
    scene as it is, under noise that is independent and as its model says, or where the result has
    to agree with them; never behind a blur."""
    passes: Annotated[int, Field(ge=1, le=5)] | None = None
    """How often, each time with the picture of the time before; automatic: 2, and where the result has
    to agree with the data 3, or 5 on a finer grid."""
    side: Annotated[int, Field(ge=2, le=12)] | None = None
    """Side of a patch; automatic: 7 where there is one channel, 5 where there are more. [pixel]"""
    alike: Annotated[int, Field(ge=8, le=100)] = 30
    """Patches in a group."""
    spectrum: Literal["auto", "off"] = "auto"
    """Take out the frequencies that are noise. Automatic: behind a blur, where the run stopped by
    noise fission."""

    def chosen(self, problem: Problem, watch: Watch, *, keep_observed: bool) -> Look:
        """What is done to a picture that was fitted to `problem` under `watch`."""
        copies, likelihood = problem.operator.copies, problem.likelihood
        if keep_observed:
            whole = copies and bool(problem.observed.all())
            return "none" if whole or self.patches == "off" else "patches"
        if not copies:
            return "spectrum" if self.spectrum == "auto" and watch.probe is not None else "none"
        known = self.patches == "auto" and likelihood.character == "white"
        return "patches" if known or self.patches == "on" else "none"

    def refined(
        self, x: torch.Tensor, problem: Problem, watch: Watch, *, keep_observed: bool
    ) -> Generator[None, None, torch.Tensor]:
        """The scene `x` (C, H, W), which was fitted under `watch`, after a second look.

        A generator, for it takes its time: it yields between two steps of the work.

        Parameters
        ----------
        x : (C, H, W) tensor
            The picture.
        problem : Problem
            All of the data. Only what was fitted is looked at; the rest judges.
        watch : Watch
            What knows how much of the noise is in `x`.
        keep_observed : bool
            Whether the result has to agree with the data.
        """
        look = self.chosen(problem, watch, keep_observed=keep_observed)
        if look == "spectrum" and watch.probe is not None:
            return spectrally_shrunk(x, problem, watch.probe)
        if look == "none":
            return x
        data = watch.fitted
        copies, side = data.operator.copies, self.side or (7 if len(x) == 1 else 5)
        if keep_observed:
            x = data.agreeing(x)
            made_up = torch.full_like(x, (MISSING if copies else FINER) * data.made_up(x))
        found = x
        for _ in range(self.passes or (2 if not keep_observed else 3 if copies else 5)):
            seen, noise = (found, made_up) if keep_observed else data.scene_and_noise(found)
            found = yield from nonlocal_bayes(found, seen, noise, side=side, alike=self.alike)
            found = data.agreeing(found) if keep_observed else found
        return x + _share(x, found, problem, watch) * (found - x)


def _share(x: torch.Tensor, found: torch.Tensor, problem: Problem, watch: Watch) -> float:
    """How much of the step from one scene to another is worth taking, from 0 to 1.

    That with the least expected error of the data, by the half that was not fitted; all of it where
    there is none: some held-out pixels are too few to tell.

    References
    ----------
    .. [1] Efron, "The estimation of prediction error: covariance penalties and cross-validation",
           J. Am. Stat. Assoc. 99 (2004) 619, eq. (2.8).
    """
    if watch.probe is None:
        return 1.0
    noise, predicted = problem.noise(x), problem.predicted(x)
    step = (problem.predicted(found) - predicted) / noise
    left = (problem.y - watch.probe - predicted) / noise
    worth, length = (
        torch.where(problem.observed, product, 0.0).sum() for product in (left * step, step**2)
    )
    return float((worth / length.clamp(min=1e-30)).clamp(0, 1))
