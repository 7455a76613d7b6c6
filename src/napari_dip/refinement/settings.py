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
        side = self.side or (7 if len(x) == 1 else 5)
        white = data.likelihood.character == "white"
        if keep_observed and self.patches != "off":
            if data.operator.copies and data.observed.all():
                return x
            x = data.agreeing(x)
            made_up = (MISSING if data.operator.copies else FINER) * data.made_up(x)
            deviation = torch.full_like(x, made_up)
            for _ in range(self.passes or (3 if data.operator.copies else 5)):
                x = yield from nonlocal_bayes(x, x, deviation, side=side, alike=self.alike)
                x = data.agreeing(x)
        elif data.operator.copies and (self.patches == "on" or (self.patches == "auto" and white)):
            for _ in range(self.passes or 2):
                seen, deviation = data.scene_and_noise(x)
                x = yield from nonlocal_bayes(x, seen, deviation, side=side, alike=self.alike)
        elif not data.operator.copies and self.spectrum == "auto" and watch.probe is not None:
            x = spectrally_shrunk(x, problem, watch.probe)
        return x
