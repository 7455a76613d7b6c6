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
        self, x: torch.Tensor, data: Problem, problem: Problem, watch: Watch, *, keep_observed: bool
    ) -> Generator[None, None, torch.Tensor]:
        """The scene `x` (C, H, W), which was fitted under `watch`, after a second look.

        A generator, for it takes its time: it yields between two steps of the work.

        Parameters
        ----------
        x : (C, H, W) tensor
            The picture.
        data : Problem
            What may be looked at again.
        problem : Problem
            All of the data.
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
        copies, side = data.operator.copies, self.side or (7 if len(x) == 1 else 5)
        if keep_observed:
            x = data.agreeing(x)
            made_up = torch.full_like(x, (MISSING if copies else FINER) * data.made_up(x))
        for _ in range(self.passes or (2 if not keep_observed else 3 if copies else 5)):
            seen, noise = (x, made_up) if keep_observed else data.scene_and_noise(x)
            x = yield from nonlocal_bayes(x, seen, noise, side=side, alike=self.alike)
            x = data.agreeing(x) if keep_observed else x
        return x
