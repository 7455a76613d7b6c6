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


class Refinement(Settings):
    """A second look at the data, with the picture that was fitted to tell what to look for.

    The picture lacks noise, so it tells well which patches are alike and how they vary; the data have
    what it has not learnt. Where a blur lies between, the data tell at which frequencies the
    picture is noise.
    """

    patches: Literal["auto", "on", "off"] = "auto"
    """Estimate patches that are alike together (nonlocal Bayes). Automatic: where the data show the
    scene as it is, under noise that is independent and as its model says; never where another grid
    or a blur lies between."""
    passes: Annotated[int, Field(ge=1, le=5)] = 2
    """How often; each pass has the picture of the one before."""
    side: Annotated[int, Field(ge=2, le=12)] | None = None
    """Side of a patch; automatic: 7 where there is one channel, 5 where there are more. [pixel]"""
    alike: Annotated[int, Field(ge=8, le=100)] = 30
    """Patches in a group."""
    spectrum: Literal["auto", "off"] = "auto"
    """Take out the frequencies that are noise. Automatic: where a blur or another grid lies between,
    and the run stopped by noise fission."""

    def refined(
        self, x: torch.Tensor, data: Problem, problem: Problem, watch: Watch
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
        """
        white = problem.likelihood.character == "white"
        if problem.operator.copies and (self.patches == "on" or (self.patches == "auto" and white)):
            side = self.side or (7 if len(x) == 1 else 5)
            for _ in range(self.passes):
                x = yield from nonlocal_bayes(x, data, side=side, alike=self.alike)
        if not problem.operator.copies and self.spectrum == "auto" and watch.probe is not None:
            x = spectrally_shrunk(x, problem, watch.probe)
        return x
