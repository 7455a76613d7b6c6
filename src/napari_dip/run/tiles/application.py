"""Networks applied to the tiles of an image by other processes, on this machine or on others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, replace
from itertools import islice

from napari_dip.core.device import raising_out_of_memory
from napari_dip.core.errors import DeviceError
from napari_dip.core.fit_data import FitData
from napari_dip.core.torch_import import torch
from napari_dip.physics.noise import Likelihood
from napari_dip.run.amortized import Member
from napari_dip.run.block_fit import BlockFit
from napari_dip.run.block_report import FittedBlock
from napari_dip.run.executors import POLL_INTERVAL_S, Workers
from napari_dip.run.recipe import Recipe
from napari_dip.run.tiles.tile import Tile

MAX_WAITING_TILES = 64  # that the workers are given at a time; the memory holds their data
MAX_CRASHES = 3  # of processes, after which the memory of the workers is said to be full


@dataclass(frozen=True)
class TileTask:
    """What a worker needs besides the data of a tile.

    Attributes
    ----------
    recipe : Recipe
        What to do.
    reference : Likelihood
        The noise of the whole image.
    members : tuple of Member
        The fitted networks.
    """

    recipe: Recipe
    reference: Likelihood
    members: tuple[Member, ...]

    def run(self, part: FitData, corner: tuple[int, int]) -> FittedBlock:
        """Return what the networks make of the data of a tile, whose first pixel is `corner`.

        It is the same in every process on the same kind of device.

        Raises
        ------
        InsufficientMemoryError
            If the memory of the device is full.
        """
        device = self.recipe.compute.resolve_device()
        if self.recipe.compute.num_threads is not None:
            torch.set_num_threads(self.recipe.compute.num_threads)
        members = [replace(m, prior=m.prior.to(device)) for m in self.members]
        with raising_out_of_memory(device):
            fit = BlockFit(self.recipe, part, device, self.reference)
            for _ in fit.apply(members, corner):
                pass
            return fit.result()


def apply_on_workers(
    task: TileTask, parts: Iterable[tuple[Tile, FitData]], workers: Workers
) -> Iterator[tuple[Tile, FittedBlock] | None]:
    """Let workers run `task` on all tiles, and yield each when it is done; None while there is none.

    A tile whose process dies is given to another one.

    Raises
    ------
    DeviceError
        If processes die again and again.
    """
    cpu = torch.device("cpu")
    task = replace(task, members=tuple(replace(m, prior=m.prior.to(cpu)) for m in task.members))
    waiting, again = iter(parts), list[tuple[Tile, FitData]]()
    for _ in range(MAX_CRASHES):
        running: dict[Future[FittedBlock], tuple[Tile, FitData]] = {}
        try:
            with workers() as executor:
                while True:
                    while len(running) < MAX_WAITING_TILES:
                        again += [] if again else islice(waiting, 1)
                        if not again:
                            break
                        tile, part = again[-1]  # which stays there if its process is dead already
                        corner = tile.rows.start, tile.columns.start
                        future = executor.submit(task.run, part, corner)
                        running[future] = again.pop()
                    if not running:
                        return
                    yield None
                    for future in wait(running, POLL_INTERVAL_S, FIRST_COMPLETED).done:
                        fitted = future.result()
                        tile, _ = running.pop(future)
                        yield tile, fitted
        except BrokenExecutor:
            again += running.values()
    raise DeviceError(
        f"processes of the workers died {MAX_CRASHES} times: is their memory full? Use fewer, or set"
        " compute.tile_size"
    )
