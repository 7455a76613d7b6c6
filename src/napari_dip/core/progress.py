"""What a run reports, and what can be requested of it."""

from __future__ import annotations

from dataclasses import dataclass

from napari_dip.core.axes import FloatArray


@dataclass(frozen=True)
class Request:
    """What the reader of a run asks of its next step; sent into the generator.

    Attributes
    ----------
    preview : bool
        Attach the running average to the next report.
    stop : bool
        Stop now and keep the best image so far.
    """

    preview: bool = False
    stop: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class Progress:
    """Where a run stands.

    Attributes
    ----------
    step, steps : int
        Steps taken in this fit, and the maximum.
    block, blocks : int
        Which block (the planes that one network fits), counted from 0, and how many there are.
    tile, tiles : int
        Which tile of a block that is processed in tiles, counted from 0, and how many there are.
    member, members : int
        Which fit of the ensemble, counted from 0, and how many there are; `member` is `members` while
        simulated data are fitted.
    loss, validation_loss : float
        Loss of this step; stopping score of the running average.
    seconds : float
        Time since the run started.
    note : str
        Why the image is processed in tiles, or on another device than the requested one.
    image : float32 array with the axes of the result, or None
        The running average where it was requested, averaged with the fits before; NaN in blocks that
        were not reached.
    simulations : int
        How many fits of simulated data to a tile follow those of the ensemble: 0 or 1.
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
    simulations: int = 0

    @property
    def is_single_fit(self) -> bool:
        """Whether the run consists of one fit."""
        return self.blocks == self.tiles == self.members == 1

    @property
    def is_simulation(self) -> bool:
        """Whether simulated data are fitted, after the ensemble has been in all tiles of a block."""
        return self.simulations > 0 and self.member == self.members

    @property
    def fits(self) -> int:
        """Number of all fits."""
        return self.blocks * self.tiles * (self.members + self.simulations)

    @property
    def fits_done(self) -> int:
        """Number of fits before this one."""
        if self.is_simulation:
            in_block = self.tiles * self.members + self.tile
        else:
            in_block = self.tile * self.members + self.member
        return self.block * self.fits // self.blocks + in_block

    @property
    def fraction_done(self) -> float:
        """Lower bound of the fraction of the run that is done, from 0 to 1."""
        return (self.fits_done + self.step / self.steps) / self.fits

    def __repr__(self) -> str:
        loss = f"loss={self.loss:.4g}, validation_loss={self.validation_loss:.4g}"
        return f"Progress({self.fraction_done:.0%}, step {self.step} of at most {self.steps}, {loss})"
