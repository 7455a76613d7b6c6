"""The loop: fit the prior to the problem, average along the way, stop before the noise is learnt."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from napari_dip.core.axes import Floats
from napari_dip.core.errors import RestoreError
from napari_dip.core.progress import Wish
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.fitting.averaging import _Best, _LastAsGood, _softened
from napari_dip.fitting.stopping import SETTLED, Watch, step_of_least
from napari_dip.physics.problem import Problem
from napari_dip.prior.generator import Prior

TICK = 0.05  # seconds between two ticks, at least; a step in progress is never cut
AGAIN = 200  # steps that a fit which is run on takes at least
CHECK = 10  # steps between two looks at the stopping statistic, so that no step waits for the host


class Solver(Settings):
    """Optimiser and running average."""

    max_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 3000
    """Steps after which the run ends, stopped or not. [step]"""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Step size of the Adam optimiser."""
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Weight of the past in the running average of the images; 0 for none."""
    warm_start: bool = True
    """Begin each crop of a large frame, and each frame of a stack, with the network of the one before,
    which takes about half the steps. Off: each with a new one."""


@dataclass(frozen=True)
class Tick:
    """A light sign of life; `image` (C, H, W), on its device, only where the reader asked for it."""

    step: int
    loss: float
    statistic: float
    image: torch.Tensor | None


@dataclass(frozen=True)
class Solution:
    """The image of the chosen step, on its device, and the course of the fit."""

    x: torch.Tensor
    loss: Floats
    statistic: Floats
    chosen: int
    reason: str
    wish: Wish
    """What the reader of the run asked for last."""


class Fit:
    """The fit of a prior to a problem: it can be run, and then run on.

    Adam on the mean negative log-likelihood of `watch.fitted`; the result is the exponential running
    average of the images, corrected for its start, at the step that the watch prefers, and where it
    sets pixels apart at theirs.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, eq. (3) and section 4.1
           (averaging).
    .. [2] Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 3 (the
           correction of running averages for their start).
    """

    def __init__(self, prior: Prior, watch: Watch, solver: Solver) -> None:
        self.prior, self.watch, self._solver = prior, watch, solver
        problem: Problem = watch.fitted
        self._optimiser = torch.optim.Adam(
            prior.network.parameters(), lr=solver.learning_rate, foreach=problem.y.device.type != "cpu"
        )
        self._course = torch.zeros((3, 0), device=problem.y.device)  # losses, statistics, misfits
        self._average = self._running = torch.zeros(
            problem.operator.scene_shape, device=problem.y.device
        )
        self._best = _Best(self._running)
        self._stars = _LastAsGood(self._running, watch.apart) if watch.apart else None
        self.step = 0

    def run(self, *, snapshot_every: int | None = None) -> Generator[Tick, Wish | None, Solution]:
        """Minimise the loss over the network's parameters, from where it stands.

        Yields a tick several times a second and at every multiple of `snapshot_every`, then with its
        image. One that is run on goes `AGAIN` steps before the watch may stop it once more, and as
        many as the solver's most.

        Raises
        ------
        RestoreError
            If the fit diverges before there is anything to keep.
        """
        solver, watch, prior = self._solver, self.watch, self.prior
        best, stars, running, average = self._best, self._stars, self._running, self._average
        reason, wish, last_tick = "", Wish(), time.monotonic()
        step, last = self.step, self.step + solver.max_steps
        earliest = step + AGAIN if step else 0
        more = self._course.new_zeros((3, solver.max_steps))
        self._course = torch.cat((self._course[:, :step], more), dim=1)
        losses, statistics, misfits = self._course
        while not reason:
            step += 1
            x, asked = prior(average if step > SETTLED else None)
            loss = asked.loss(x)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            with torch.no_grad():
                running.lerp_(x, 1 - solver.averaging)
                average = running / (1 - solver.averaging**step)
                statistic = watch.statistic(average, x)
                losses[step - 1], statistics[step - 1] = loss.detach(), statistic
                newest = step <= SETTLED or not watch.keeps_least
                best.offer(average, statistic, newest=newest)
                if stars:
                    misfits[step - 1] = stars.offer(average, step)
            self.step, self._average = step, average
            if step % CHECK == 0:
                seen = statistics[:step].cpu().numpy()
                if not np.isfinite(seen[-1]):
                    reason = "the fit diverged, and the best image before that was taken"
                    _refuse_divergence(seen, watch)
                elif step >= earliest:
                    reason = watch.reason_to_stop(seen) or ""
                    if stars and not watch.reason_to_stop(misfits[:step].cpu().numpy()):
                        reason = ""
            if step == last and not reason:
                reason = f"all {step} steps were taken"
            snapshot = snapshot_every is not None and step % snapshot_every == 0
            if snapshot or wish.image or time.monotonic() - last_tick >= TICK:
                image = average if snapshot or wish.image else None
                last_tick = time.monotonic()
                now = (losses[step - 1].item(), statistics[step - 1].item())
                wish = (yield Tick(step, *now, image=image)) or Wish()
                if wish.finish and not reason:
                    reason = f"finished by hand after {step} steps"
        course = statistics[:step].cpu().numpy()
        _refuse_divergence(course, watch)
        chosen = step_of_least(course) if watch.keeps_least else step
        x = best.average
        if stars:
            x = torch.lerp(x, stars.average, _softened(stars.pixels))
            reason += f" (stars and the like are from step {int(stars.step)})"
        return Solution(x, losses[:step].cpu().numpy(), course, chosen, reason, wish)


def _refuse_divergence(course: Floats, watch: Watch) -> None:
    """Raise where a fit came to nothing finite, and has no earlier image to fall back on."""
    if np.isfinite(course[-1]) or (watch.keeps_least and np.isfinite(course).any()):
        return
    raise RestoreError(
        f"the fit diverged within {len(course)} steps: try a smaller solver.learning_rate,"
        " or a larger noise.sigma"
    )
