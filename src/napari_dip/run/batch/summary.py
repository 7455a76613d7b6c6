"""The table of a batch."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from napari_dip.core.errors import WriteError
from napari_dip.io.atomic import atomic_write
from napari_dip.run.batch.claims import claim
from napari_dip.run.batch.job import JobResult

SUMMARY = "napari-dip-summary.csv"
POLL_INTERVAL_S, MAX_WAIT_S = 0.05, 30.0  # while another process writes it


def write_summary(path: Path, rows: Iterable[JobResult]) -> None:
    """Write results as CSV, with one column for each field of `JobResult`, sorted by the output.

    Rows of other outputs that the file has already stay: a batch in parts has one summary.

    Raises
    ------
    WriteError
        If the folder or the disk does not allow it.
    """
    names = [field.name for field in fields(JobResult)]
    try:
        with (
            _claim_patiently(path),
            atomic_write(path) as unfinished,
            unfinished.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            table = _rows(path, names)
            for row in rows:
                values = asdict(row).items()
                table[row.output] = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values}
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(table[output] for output in sorted(table))
    except OSError as error:
        raise WriteError(f"{path} could not be written: {error.strerror or error}") from error


@contextmanager
def _claim_patiently(path: Path) -> Iterator[None]:
    """Claim a file, and wait while another process writes it."""
    deadline = time.monotonic() + MAX_WAIT_S
    while True:
        with claim(path) as owner:
            if not owner or time.monotonic() > deadline:
                yield
                return
        time.sleep(POLL_INTERVAL_S)


def _rows(path: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """The rows of a summary by output; none of a file with other columns."""
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            return {row["output"]: row for row in reader} if reader.fieldnames == names else {}
    except (OSError, ValueError):
        return {}
