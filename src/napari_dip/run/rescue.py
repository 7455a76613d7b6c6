"""Results that cannot be written where they should be."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from napari_dip.core.errors import WriteError
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.io import write
from napari_dip.run.recipe import Recipe

MIN_SPACE_SHARE = 0.25  # of the size of the arrays, which may be packed


def check_free_space(target: str | os.PathLike[str], observation: Observation, recipe: Recipe) -> None:
    """Check before the work whether the disk has room for a result.

    Raises
    ------
    WriteError
        If it has less than a quarter of the size of the image and what belongs to it.
    """
    factors = np.broadcast_to(getattr(recipe.operator, "scale_factor", 1.0), 2)
    arrays = 2 + (recipe.ensemble.size > 1)  # the image, the residual, the uncertainty
    need = MIN_SPACE_SHARE * observation.y.nbytes * arrays * float(np.prod(factors))
    folder = Path(target).resolve().parent
    free = shutil.disk_usage(folder).free
    if free < need:
        raise WriteError(
            f"{folder} has {free / 1e9:.2g} GB free, and the result needs {need / 1e9:.2g} GB at least:"
            " free some space, or choose another folder"
        )


def write_or_rescue(path: str | os.PathLike[str], result: Result, **options: Any) -> float:
    """Write a result as `write` does; where this fails, beside it or in a temporary folder.

    Raises
    ------
    WriteError
        If it was not written to `path`; the sentence says where it is.
    """
    try:
        return write(path, result, **options)
    except (WriteError, MemoryError) as error:
        target = Path(path)
        for folder in (target.parent, Path(tempfile.gettempdir())):
            rescued = folder / f"rescued-{os.getpid()}-{target.name}"
            try:
                write(rescued, result, **{**options, "overwrite": True})
            except (WriteError, MemoryError):
                continue
            raise WriteError(f"{error}; the result is in {rescued}") from error
        raise
