"""What a run reports, and what can be requested of it."""

from __future__ import annotations

from dataclasses import dataclass

from napari_dip.core.axes import FloatArray


@dataclass(frozen=True)
class Request:
    """What the reader of a run asks of its next step; sent into the generator.

    Attributes
    ----------
    image : bool
        Bring the running average along with the next iterate.
    finish : bool
        Stop here and return the best so far.
    """

    preview: bool = False
    stop: bool = False


@dataclass(frozen=True, eq=False)
class Progress:
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
    block: int
    blocks: int
    tile: int
    tiles: int
    member: int
    members: int
    loss: float
    validation_loss: float
    seconds: float
    note: str = ""
    image: FloatArray | None = None

    @property
    def is_single_fit(self) -> bool:
        """Whether this is the run's only fit."""
        return self.blocks == self.tiles == self.members == 1

    @property
    def fraction_done(self) -> float:
        """Part of the whole run that is done at the latest, from 0 to 1."""
        crop = self.tile + (self.member + self.step / self.steps) / self.members
        return (self.block + crop / self.tiles) / self.blocks
