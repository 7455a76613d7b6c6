"""The table of a batch."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

from napari_dip.core.errors import WriteError
from napari_dip.io.atomic import atomic_write
from napari_dip.run.batch.job import JobResult

SUMMARY = "napari-dip-summary.csv"


def write_summary(path: Path, rows: Iterable[JobResult]) -> None:
    """Write results as CSV, with one column for each field of `JobResult`.

    Raises
    ------
    WriteError
        If the folder or the disk does not allow it.
    """
    try:
        with (
            atomic_write(path) as unfinished,
            unfinished.open("w", newline="", encoding="utf-8") as file,
        ):
            table = csv.DictWriter(file, [field.name for field in fields(JobResult)])
            table.writeheader()
            for row in rows:
                values = asdict(row).items()
                table.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values})
    except OSError as error:
        raise WriteError(f"{path} could not be written: {error.strerror or error}") from error
