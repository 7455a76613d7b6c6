"""The amortized fit: one network is fitted to random crops of the whole image."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from typing import Any

from napari_dip.core.errors import DivergenceError
from napari_dip.core.progress import Request
from napari_dip.core.result import History
from napari_dip.core.state import State, generator_states, set_generator_states
from napari_dip.core.torch_import import torch
from napari_dip.fitting.muon import Muon
from napari_dip.fitting.solver import CHECK_EVERY_STEPS, PROGRESS_INTERVAL_S, FitProgress
from napari_dip.physics.filters import channel_medians, gaussian_blur
from napari_dip.physics.problem import Problem
from napari_dip.physics.windows import ORIENTATIONS, Windows
from napari_dip.prior.amortized import AmortizedPrior

CROP_PX = 64
CROPS_PER_STEP = 4
LEARNING_RATE = 0.005  # of the kernels, by Muon
HEAD_RATE_SHARE = 0.1  # of that, of biases and of the last layer, by Adam
WARMUP_STEPS = 30
AVERAGE_DECAY = 0.99  # of the weights, in their moving average
VALIDATE_EVERY_STEPS = 100
VALIDATION_CROPS = 24
SOURCE_SHARE = 0.5  # of the crops, that contain something that stands out of the noise
SOURCE_SIGMA_PX = 1.5  # of the Gaussian that smooths the data before sources are searched
MIN_SOURCE_SIGMAS = 3.5  # of a source, in sigmas of the noise that is left then
SOURCE_MARGIN_PX = 8  # of a crop, within which no source is placed
MAX_SOURCES = 1_000_000
MAX_SOURCE_COVERAGE = 0.3  # of an image that is mostly empty
WARM_START_STEPS_SHARE = 0.25  # of the steps, with the network of another image
WARM_START_RATE_SHARE = 0.5  # of the learning rate


class CropSampler:
    """Draws random crops of a problem, more often where something stands out of the noise.

    Faint sources are rare, and a network that has hardly seen any draws them toward the sky.

    Parameters
    ----------
    problem : Problem
        The whole; T is 1.
    generator : torch.Generator
        On the CPU.
    region_height : int, optional
        Height of the regions that the whole consists of, one below the other: no crop belongs to two.

    Attributes
    ----------
    side : int
        Of the crops. [pixel]
    is_sparse : bool
        Whether most of the image is empty.
    """

    def __init__(
        self, problem: Problem, generator: torch.Generator, region_height: int | None = None
    ) -> None:
        self._generator = generator
        self._height, self._width = problem.y.shape[-2:]
        self._region = region_height or self._height
        self.side = min(CROP_PX, self._region // 8 * 8, self._width // 8 * 8)
        self._sources, coverage = _find_sources(problem)
        self.is_sparse = coverage <= MAX_SOURCE_COVERAGE

    def draw(self, number: int) -> Windows:
        """Return `number` random windows."""
        places = [self._place() for _ in range(number)]
        orientations = tuple(self._random(ORIENTATIONS) for _ in range(number))
        return Windows(tuple(places), (self.side, self.side), orientations)

    def _place(self) -> tuple[int, int]:
        side, region = self.side, self._region
        if len(self._sources) and self._random(1000) < 1000 * SOURCE_SHARE:
            row, column = self._sources[self._random(len(self._sources))]
            start = row // region * region
            margin = min(SOURCE_MARGIN_PX, side // 4)
            top = row - start - margin - self._random(side - 2 * margin)
            left = column - margin - self._random(side - 2 * margin)
        else:
            start = self._random(self._height // region) * region
            top, left = self._random(region - side + 1), self._random(self._width - side + 1)
        top = min(max(top, 0), region - side)
        return start + top, min(max(left, 0), self._width - side)

    def _random(self, below: int) -> int:
        return int(torch.randint(below, (), generator=self._generator))


def _find_sources(problem: Problem) -> tuple[list[tuple[int, int]], float]:
    """Pixels that stand out of the noise after smoothing, and their share."""
    known = problem.uncensored[0]
    level = channel_medians(problem.y, problem.uncensored).nan_to_num()
    centered = torch.where(known, problem.y[0] - level, 0.0)
    smooth = gaussian_blur(centered, SOURCE_SIGMA_PX)
    left = problem.scene_noise_std / math.sqrt(4 * math.pi * SOURCE_SIGMA_PX**2)
    places = (smooth.abs() > MIN_SOURCE_SIGMAS * left).any(dim=0).nonzero()
    every = max(math.ceil(len(places) / MAX_SOURCES), 1)
    rows_and_columns: list[tuple[int, int]] = [tuple(place) for place in places[::every].tolist()]
    return rows_and_columns, len(places) / known[0].numel()


class AmortizedFit:
    """The fit of an amortized prior to a problem.

    Each step splits a few random crops in two, as the self-supervision says, and lowers the misfit of
    what the network makes of one part to the other part. All steps are taken: the learning rate falls
    to 0 along a cosine. The result is the moving average of the weights.

    Parameters
    ----------
    prior : AmortizedPrior
        What to fit; at the end it has the averaged weights.
    problem : Problem
        The whole image, or a sample of it.
    sampler : CropSampler
        Of its crops.
    steps : int
        Number of steps.
    generator : torch.Generator
        Source of the random numbers, on the CPU.
    is_warm : bool
        Whether the network was fitted to another image before: then it takes a quarter of the steps.
    """

    def __init__(
        self,
        prior: AmortizedPrior,
        problem: Problem,
        sampler: CropSampler,
        steps: int,
        generator: torch.Generator,
        *,
        is_warm: bool = False,
    ) -> None:
        self._prior, self._problem, self._sampler, self._generator = prior, problem, sampler, generator
        self._steps = max(round(steps * (WARM_START_STEPS_SHARE if is_warm else 1)), 1)
        self._rate = LEARNING_RATE * (WARM_START_RATE_SHARE if is_warm else 1)
        named = dict(prior.network.named_parameters())
        kernels = {n: p for n, p in named.items() if p.ndim == 4 and not n.startswith("head")}
        self._muon = Muon(kernels.values())
        self._adam = torch.optim.Adam([p for n, p in named.items() if n not in kernels], lr=1.0)
        self._parameters = list(named.values())
        self._average = [p.detach().clone() for p in self._parameters]
        self._validation = problem.crops(sampler.draw(VALIDATION_CROPS))
        self._curves = torch.zeros((2, self._steps), device=problem.y.device)  # losses, scores
        self.step = 0

    def run(self) -> Generator[FitProgress, Request | None, tuple[History, bool]]:
        """Take all steps, and leave the averaged weights in the prior.

        Yields several times a second, without an image. Returns the course of the fit, and whether it
        was asked to stop.

        Raises
        ------
        DivergenceError
            If the loss is not finite.
        """
        losses, scores = self._curves
        score = scores[self.step - 1] if self.step else self._validate()
        last_report, stop = time.monotonic(), False
        while self.step < self._steps and not stop:
            self.step += 1
            step, loss = self.step, self._take_step()
            if step % VALIDATE_EVERY_STEPS == 0 or step == self._steps:
                score = self._validate()
            losses[step - 1], scores[step - 1] = loss, score
            if time.monotonic() - last_report >= PROGRESS_INTERVAL_S:
                last_report = time.monotonic()
                request = (yield FitProgress(step, float(loss), float(score), None)) or Request()
                stop = request.stop
            is_checked = step % CHECK_EVERY_STEPS == 0 or step == self._steps or stop
            if is_checked and not math.isfinite(loss):
                raise DivergenceError(f"the fit to crops diverged before step {step}")
        self._use_average()
        step = self.step
        reason = f"stopped by hand after {step} steps" if stop else f"{step} steps on crops, as planned"
        return History(losses[:step].cpu().numpy(), scores[:step].cpu().numpy(), step, reason), stop

    def state_dict(self) -> State:
        """Return all that the rest of the fit depends on, and its result."""
        return {
            "step": self.step,
            "steps": self._steps,
            "rate": self._rate,
            "curves": self._curves,
            "average": self._average,
            "network": self._prior.network.state_dict(),
            "muon": self._muon.momenta,
            "optimizer": self._adam.state_dict(),
            "random": generator_states([self._generator]),
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another fit to crops of the same problem stood."""
        self.step, self._steps, self._rate = state["step"], state["steps"], state["rate"]
        self._curves = state["curves"].to(self._curves.device)
        self._prior.network.load_state_dict(state["network"])
        tensors = (self._average, state["average"]), (self._muon.momenta, state["muon"])
        for current, stored in tensors:
            for tensor, values in zip(current, stored, strict=True):
                tensor.copy_(values)
        self._adam.load_state_dict(state["optimizer"])
        set_generator_states([self._generator], state["random"])

    def _take_step(self) -> torch.Tensor:
        rate = self._rate * min(1.0, self.step / WARMUP_STEPS)
        rate *= 0.5 * (1 + math.cos(math.pi * self.step / self._steps))
        crops = self._problem.crops(self._sampler.draw(CROPS_PER_STEP))
        loss = self._loss(crops, self._generator)
        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        self._muon.step(rate)
        for group in self._adam.param_groups:
            group["lr"] = HEAD_RATE_SHARE * rate
        self._adam.step()
        decay = min(AVERAGE_DECAY, self.step / (self.step + 10))
        torch._foreach_lerp_(self._average, [p.detach() for p in self._parameters], 1 - decay)
        return loss.detach()

    def _loss(self, crops: Problem, generator: torch.Generator) -> torch.Tensor:
        given, target = self._prior.split(crops, generator)
        return target.data_misfit(self._prior(given))

    @torch.no_grad()
    def _validate(self) -> torch.Tensor:
        """The loss of the averaged weights on the same crops with the same random numbers."""
        current = [p.detach().clone() for p in self._parameters]
        self._use_average()
        score = self._loss(self._validation, torch.Generator().manual_seed(0))
        for parameter, value in zip(self._parameters, current, strict=True):
            parameter.copy_(value)
        return score

    @torch.no_grad()
    def _use_average(self) -> None:
        for parameter, value in zip(self._parameters, self._average, strict=True):
            parameter.copy_(value)
