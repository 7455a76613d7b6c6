"""Numbers of the acquisition in small files beside an image, as BIDS has them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from napari_dip.core.errors import ReadWarning

NAMES = (
    *("EchoTime", "FlipAngle", "InversionTime", "RepetitionTimeExcitation", "RepetitionTime"),
    *("FrameTimesStart", "bval"),
)
MAX_BYTES = 2**20


def protocol_beside(path: Path) -> dict[str, tuple[float, ...]]:
    """Return the numbers in ``image.json`` and ``image.bval`` beside ``image.nii.gz``, or another image,
    by their names in BIDS.

    Warns
    -----
    ReadWarning
        If such a file cannot be read.

    References
    ----------
    .. [1] Brain Imaging Data Structure, https://bids-specification.readthedocs.io.
    """
    found: dict[str, tuple[float, ...]] = {}
    stem = path.name.partition(".")[0]
    for beside in (path.with_name(f"{stem}.json"), path.with_name(f"{stem}.bval")):
        if beside == path or not beside.is_file():
            continue
        try:
            found |= _numbers(beside)
        except (OSError, ValueError, RecursionError) as error:
            text = f"{beside}, beside the image, cannot be read: {str(error).splitlines()[0]}"
            warnings.warn(text, ReadWarning, stacklevel=3)
    if "RepetitionTime" in found:
        found.setdefault("RepetitionTimeExcitation", found["RepetitionTime"])
    return found


def _numbers(path: Path) -> dict[str, tuple[float, ...]]:
    """The numbers of one file.

    Raises
    ------
    ValueError
        If it is no table, or no JSON.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it has {path.stat().st_size:,} bytes")
    text = path.read_text("utf-8-sig")
    if path.suffix == ".bval":
        return {"bval": tuple(float(number) for number in text.split())}
    values = json.loads(text)
    listed = {
        name: value if isinstance(value, list) else [value]
        for name, value in (values.items() if isinstance(values, dict) else ())
        if name in NAMES
    }
    return {
        name: tuple(map(float, numbers))
        for name, numbers in listed.items()
        if numbers and all(isinstance(number, int | float) for number in numbers)
    }
