"""ISMRMRD: raw data of magnetic resonance scanners, readout by readout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.errors import ReadError

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP = "dataset"
INSTALL_HINT = "its package: pip install 'napari-dip[mri]'"


def read_cartesian(path: Path) -> tuple[NDArray[np.complex64], Mapping[str, tuple[float, str]]]:
    """Return k-space on its grid, and the pixel size of its image.

    Repetitions and cardiac phases are frames, averages are averaged, oversampling along the readout is
    taken out. Readouts that are no image (noise, navigators, corrections) are left out.

    Returns
    -------
    kspace : (T, coils, Z, Y, X) complex64
        0 where nothing was sampled; Z are the slices.
    pixel_size : mapping of axis letter to (size, "mm")

    Raises
    ------
    ReadError
        If the package is missing, or the samples do not lie on a grid of two dimensions.

    References
    ----------
    .. [1] Inati et al., "ISMRM Raw data format: a proposed standard for MRI raw datasets", Magn. Reson.
           Med. 77 (2017) 411.
    """
    try:
        import ismrmrd
        from ismrmrd.xsd import CreateFromDocument
    except ImportError as error:
        raise ReadError(f"{path}: ISMRMRD needs {INSTALL_HINT}") from error
    other = (
        ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
        ismrmrd.ACQ_IS_NAVIGATION_DATA,
        ismrmrd.ACQ_IS_PHASECORR_DATA,
        ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
        ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
        ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
        ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,  # other lines are calibration and image
    )
    dataset = ismrmrd.Dataset(str(path), GROUP, create_if_needed=False)
    try:
        encoding = CreateFromDocument(dataset.read_xml_header()).encoding[0]
        readouts = [
            one
            for one in map(dataset.read_acquisition, range(dataset.number_of_acquisitions()))
            if not any(one.is_flag_set(flag) for flag in other)
        ]
    finally:
        dataset.close()
    kind = getattr(encoding.trajectory, "value", encoding.trajectory)
    if kind != "cartesian" or any(one.idx.kspace_encode_step_2 for one in readouts):
        kind = kind if kind != "cartesian" else "in three dimensions"
        raise ReadError(
            f"{path}: its samples are {kind}; only those on a grid, in two dimensions, can be read"
        )
    if not readouts:
        raise ReadError(f"{path} has no readout of an image")
    _check_one_image(path, readouts)
    grid, image = encoding.encodedSpace.matrixSize, encoding.reconSpace.matrixSize
    lines = encoding.encodingLimits.kspace_encoding_step_1
    first = grid.y // 2 - (lines.center if lines else grid.y // 2)
    kspace = _gridded(readouts, (grid.y, grid.x), image.x, first, ismrmrd.ACQ_IS_REVERSE)
    return kspace, _pixel_size(encoding.reconSpace)


def _check_one_image(path: Path, readouts: list[Any]) -> None:
    """Refuse readouts whose mean is no image: of several echoes or sets, or segments of one line."""
    for name, spoken in (("contrast", "echoes (contrasts)"), ("set", "sets")):
        if (number := len({getattr(one.idx, name) for one in readouts})) > 1:
            raise ReadError(
                f"{path} has {number} {spoken}, which are different images: write each to its own file"
            )
    segments: dict[tuple[int, ...], set[int]] = {}
    for one in readouts:
        idx = one.idx
        place = (idx.kspace_encode_step_1, idx.slice, idx.phase, idx.repetition, idx.average)
        segments.setdefault(place, set()).add(idx.segment)
    if (number := max(map(len, segments.values()))) > 1:
        raise ReadError(
            f"{path} has {number} segments of the same line, which are different images: write each to"
            " its own file"
        )


def _gridded(
    readouts: list[Any], grid: tuple[int, int], width: int, first: int, reverse: int
) -> NDArray[np.complex64]:
    """The mean of the `readouts` at each position of the `grid`; `first` is the row of line 0.

    Those with the flag `reverse` run from right to left, as in echo-planar imaging.
    """
    phases = 1 + max(one.idx.phase for one in readouts)
    times = phases * (1 + max(one.idx.repetition for one in readouts))
    slices = 1 + max(one.idx.slice for one in readouts)
    coils = readouts[0].data.shape[0]
    total = np.zeros((times, slices, grid[0], coils, grid[1]), np.complex64)
    number = np.zeros((times, slices, grid[0], 1, grid[1]), np.int32)
    for one in readouts:
        at = one.idx.repetition * phases + one.idx.phase
        samples, center = one.data, one.center_sample
        if one.is_flag_set(reverse):
            samples, center = samples[:, ::-1], one.number_of_samples - 1 - center
        start = grid[1] // 2 - center
        stop = min(start + one.number_of_samples, grid[1])
        samples = samples[:, max(-start, 0) : stop - start]
        here = (
            at,
            one.idx.slice,
            one.idx.kspace_encode_step_1 + first,
            ...,
            slice(max(start, 0), stop),
        )
        total[here] += samples
        number[here] += 1
    total /= np.maximum(number, 1)
    kspace = np.moveaxis(total, 3, 1)
    return remove_oversampling(kspace, width) if width < grid[1] else kspace


def remove_oversampling(kspace: NDArray[np.complex64], width: int) -> NDArray[np.complex64]:
    """Return the k-space of the central `width` columns of the image, with noise as strong as before."""
    middle = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(kspace, -1), norm="ortho"), -1)
    start = kspace.shape[-1] // 2 - width // 2
    kept = middle[..., start : start + width]
    narrowed = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(kept, -1), norm="ortho"), -1)
    # A line of which a part is missing becomes complete; one that is missing stays missing.
    return np.where((kspace != 0).any(axis=-1, keepdims=True), narrowed, 0).astype(np.complex64)


def _pixel_size(space: Any) -> dict[str, tuple[float, str]]:
    size, field = space.matrixSize, space.fieldOfView_mm
    return {"Y": (field.y / size.y, "mm"), "X": (field.x / size.x, "mm")}
