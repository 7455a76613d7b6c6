"""What a run reports, and what can be requested of it."""

from __future__ import annotations

from dataclasses import dataclass

from napari_dip.core.axes import Floats


@dataclass(frozen=True)
class Wish:
    """What the reader of a run asks of its next step; sent into the generator.

    Attributes
    ----------
    image : bool
        Bring the running average along with the next iterate.
    finish : bool
        Stop here and return the best so far.
    """

    image: bool = False
    finish: bool = False


@dataclass(frozen=True, eq=False)
class Iterate:
    """Where a run stands.

    Attributes
    ----------
    step, steps : int
        Steps taken in this fit, and the most that may be taken.
    frame, frames : int
        Which frame, counted from 0, of how many.
    crop, crops : int
        Which part of a frame that is restored in parts, counted from 0, of how many.
    member, members : int
        Which fit to this frame, or part, counted from 0, of how many.
    loss, statistic : float
        The loss of the step; the stopping statistic of the running average.
    seconds : float
        Time since the run began.
    remark : str
        Why the frame is restored in parts, or on another device than was chosen.
    image : float32 array with the result's axes, or None
        The running average where somebody asked for it, in the mean with the fits before; frames not
        yet reached are NaN.
    """

    step: int
    steps: int
    frame: int
    frames: int
    crop: int
    crops: int
    member: int
    members: int
    loss: float
    statistic: float
    seconds: float
    remark: str = ""
    image: Floats | None = None

    @property
    def alone(self) -> bool:
        """Whether this is the run's only fit."""
        return self.frames == self.crops == self.members == 1

    @property
    def done(self) -> float:
        """Part of the whole run that is done at the latest, from 0 to 1."""
        crop = self.crop + (self.member + self.step / self.steps) / self.members
        return (self.frame + crop / self.crops) / self.frames
