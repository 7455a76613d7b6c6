"""OME-Zarr in and out: images at several resolutions in a folder, or in a store on a server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip.core import arrays
from napari_dip.core.errors import ReadError
from napari_dip.core.header import Header
from napari_dip.io.atomic import atomic_folder
from napari_dip.io.image import ImageData

VERSION = "0.5"  # of OME-Zarr, on zarr 3; 0.4 is read, too
CHUNK_PX = 512
SMALLEST_LEVEL_PX = 256  # no lower resolutions are made below this side
FILLED, UNCERTAINTY, RESIDUAL = "filled", "uncertainty", "residual"
PROVENANCE = "napari-dip"  # attribute of the image
KEPT = ("unit", "fits_header", "primary_header")  # of a header, for which OME-Zarr has no place
LONG_UNITS = {
    "um": "micrometer", "nm": "nanometer", "mm": "millimeter", "cm": "centimeter", "m": "meter",
    "pm": "picometer", "angstrom": "angstrom", "s": "second", "ms": "millisecond", "us": "microsecond",
    "min": "minute", "h": "hour", "d": "day",
}  # fmt: skip
_SHORT_UNITS = {long: short for short, long in LONG_UNITS.items()}
_KINDS = {"T": "time", "C": "channel"}


def zarr_images(path: str | Path) -> Iterator[ImageData]:
    """Yield the images of an OME-Zarr store: one, those of a collection, or those of all wells of a
    plate.

    Large arrays are read lazily. What was filled in a restored image is bad, and its uncertainty is
    the noise, as in other files.

    References
    ----------
    .. [1] OME-NGFF, versions 0.4 and 0.5, https://ngff.openmicroscopy.org.
    """
    root = _open(path)
    places = list(_image_places(root))
    if not places:
        raise ReadError(f"{path} has no image: its attributes have no 'multiscales'")
    for number, place in enumerate(places):
        image = _image(path, root[place] if place else root, number, place)
        others = tuple(other for other in places if other != place)
        yield replace(image, others=others)


def zarr_provenance(path: str | Path) -> dict[str, Any]:
    """Return how a store was made; empty if other software has written it."""
    found = _own(_open(path))
    return found if "recipe" in found else {}


def write_zarr(path: Path, image: ImageData, provenance: Mapping[str, Any]) -> None:
    """Write `image` with lower resolutions; what was filled as labels, and the uncertainty, the
    residual and maps as images below it.
    """
    import zarr

    with atomic_folder(path) as unfinished:
        root = zarr.open_group(unfinished, mode="w", zarr_format=3)
        image = image.with_axis_order("TCZYX")
        _write_image(root, image.array, image)
        kept = {name: getattr(image.header, name) for name in KEPT if getattr(image.header, name)}
        root.attrs[PROVENANCE] = {**provenance, **kept}
        if provenance:
            if image.bad_mask is not None and image.bad_mask.any():
                labels = root.create_group("labels")
                labels.attrs["ome"] = {"version": VERSION, "labels": [FILLED]}
                filled = labels.create_group(FILLED)
                _write_image(filled, image.bad_mask.astype(np.uint8), image, is_label=True)
            if image.sigma is not None:
                _write_image(root.create_group(UNCERTAINTY), image.sigma, image)
            if image.residual is not None:
                about = replace(image, axes=image.residual_axes)
                _write_image(root.create_group(RESIDUAL), image.residual, about)
            for one in image.byproducts():
                if one.is_map:
                    header = replace(image.header, name=one.label, channels=())
                    about = replace(image, axes=one.axes, header=header)
                    _write_image(root.create_group(one.name), one.values, about)


def _open(path: str | Path) -> Any:
    import zarr

    return zarr.open_group(os.fspath(path), mode="r")


def _own(group: Any) -> dict[str, Any]:
    """What napari-dip says in the attributes of a group."""
    return dict(dict(group.attrs).get(PROVENANCE, {}))


def _ome(group: Any) -> Mapping[str, Any]:
    """What OME-Zarr says in the attributes of a group."""
    attributes = dict(group.attrs)
    found: Mapping[str, Any] = attributes.get("ome", attributes)  # 0.5, or 0.4
    return found


def _image_places(root: Any) -> Iterator[str]:
    """The paths of the images below `root`; of itself, an empty one."""
    about = _ome(root)
    if "multiscales" in about:
        yield ""
    elif "plate" in about:
        for well in about["plate"]["wells"]:
            for field in _ome(root[well["path"]]).get("well", {}).get("images", []):
                yield f"{well['path']}/{field['path']}"
    else:  # a collection, as bioformats2raw writes it
        for name, group in sorted(root.groups(), key=lambda item: (len(item[0]), item[0])):
            if "multiscales" in _ome(group):
                yield name


def _image(path: str | Path, group: Any, number: int, place: str) -> ImageData:
    about = _ome(group)
    scale = about["multiscales"][0]
    levels = [_pixels(group[dataset["path"]]) for dataset in scale["datasets"]]
    axes, sizes = _axes(path, scale, levels[0].ndim)
    channels = about.get("omero", {}).get("channels", [])
    own: dict[str, Any] = {name: str(_own(group).get(name, "")) for name in KEPT}
    labels = _ome(group["labels"]).get("labels", []) if "labels" in group else []
    filled = _byproduct(group["labels"][FILLED], levels[0].shape) if FILLED in labels else None
    sigma = _byproduct(group[UNCERTAINTY], levels[0].shape) if UNCERTAINTY in group else None
    return ImageData(
        levels[0],
        axes,
        bad_mask=None if filled is None else filled != 0,
        sigma=sigma,
        header=Header(
            path=str(path),
            hdu=number,
            name=place or str(scale.get("name") or ""),
            pixel_size=sizes,
            channels=tuple(str(channel.get("label", "")) for channel in channels),
            **own,
        ),
        levels=tuple(levels[1:]),
    )


def _pixels(array: Any) -> Any:
    """The pixels, of large arrays as a dask array."""
    if arrays.fits_in_memory(array.shape, array.dtype):
        return np.asarray(array[...])
    import dask.array as da

    return da.from_zarr(array)  # type: ignore[no-untyped-call]


def _byproduct(group: Any, shape: tuple[int, ...]) -> NDArray[Any] | None:
    array = group[_ome(group)["multiscales"][0]["datasets"][0]["path"]]
    return np.asarray(array[...]) if array.shape == shape else None


def _axes(
    path: str | Path, scale: Mapping[str, Any], ndim: int
) -> tuple[str, dict[str, tuple[float, str]]]:
    """The letters of the axes, and the pixel sizes along those that have a unit."""
    described = scale.get("axes") or [{"name": name} for name in "tczyx"[-ndim:]]
    letters = "".join(str(axis["name"])[:1].upper() for axis in described)
    if (
        len(letters) != ndim
        or len(set(letters)) != ndim
        or not {"Y", "X"} <= set(letters) <= set("TCZYX")
    ):
        names = ", ".join(str(axis["name"]) for axis in described)
        raise ReadError(f"{path} has the axes {names}: only t, c, z, y and x can be read")
    steps = np.ones(ndim)
    transforms = [scale["datasets"][0], scale]
    for transform in (t for part in transforms for t in part.get("coordinateTransformations", ())):
        if transform.get("type") == "scale":
            steps = steps * np.asarray(transform["scale"], float)
    units = (str(axis.get("unit", "")) for axis in described)
    return letters, {
        letter: (float(step), _SHORT_UNITS.get(unit, unit))
        for letter, step, unit in zip(letters, steps, units, strict=True)
        if unit
    }


def _write_image(group: Any, array: NDArray[Any], about: ImageData, *, is_label: bool = False) -> None:
    """Write an array and its lower resolutions, with axes, pixel sizes and channels."""
    axes, header, step = about.axes, about.header, 1
    datasets: list[dict[str, Any]] = []
    while True:
        path = str(len(datasets))
        sizes = [header.pixel_size.get(letter, (1.0, ""))[0] for letter in axes]
        scale = [
            size * (step if letter in "YX" else 1) for size, letter in zip(sizes, axes, strict=True)
        ]
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if step > 1:  # the center of the first pixel moves
            shift = [(s - size) / 2 for s, size in zip(scale, sizes, strict=True)]
            transforms.append({"type": "translation", "translation": shift})
        chunks = [min(n, CHUNK_PX) if a in "YX" else 1 for a, n in zip(axes, array.shape, strict=True)]
        names = list(axes.lower())
        group.create_array(
            path, data=np.ascontiguousarray(array), chunks=tuple(chunks), dimension_names=names
        )
        datasets.append({"path": path, "coordinateTransformations": transforms})
        if min(n for a, n in zip(axes, array.shape, strict=True) if a in "YX") < 2 * SMALLEST_LEVEL_PX:
            break
        array, step = _halved(array, axes, is_label=is_label), 2 * step
    ome: dict[str, Any] = {
        "version": VERSION,
        "multiscales": [
            {
                "name": header.name or "image",
                "axes": [_axis(letter, header.pixel_size) for letter in axes],
                "datasets": datasets,
                "type": "nearest" if is_label else "mean",
            }
        ],
    }
    if is_label:
        ome["image-label"] = {"source": {"image": "../../"}}
    elif header.channels and len(header.channels) == dict(zip(axes, array.shape, strict=True)).get("C"):
        ome["omero"] = {"channels": [_channel(name, array) for name in header.channels]}
    group.attrs["ome"] = ome


def _axis(letter: str, pixel_size: Mapping[str, tuple[float, str]]) -> dict[str, str]:
    axis = {"name": letter.lower(), "type": _KINDS.get(letter, "space")}
    unit = LONG_UNITS.get(pixel_size.get(letter, (1.0, ""))[1])
    return {**axis, "unit": unit} if unit else axis


def _channel(name: str, array: NDArray[Any]) -> dict[str, Any]:
    low, high = (float(value) for value in (np.nanmin(array), np.nanmax(array)))
    window = {"min": low, "max": high, "start": low, "end": high}
    return {"label": name, "color": "FFFFFF", "active": True, "window": window}


def _halved(array: NDArray[Any], axes: str, *, is_label: bool) -> NDArray[Any]:
    """The means of 2 x 2 pixels, NaN where all are; of labels every other pixel."""
    if is_label:
        return array[tuple(slice(None, None, 2) if letter in "YX" else slice(None) for letter in axes)]
    moved = np.moveaxis(array, (axes.index("Y"), axes.index("X")), (-2, -1))
    even = moved[..., : moved.shape[-2] // 2 * 2, : moved.shape[-1] // 2 * 2]
    parts = [even[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
    stacked = np.stack(parts).astype(float)
    known = np.isfinite(stacked)
    mean = np.where(known, stacked, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    mean[~known.any(axis=0)] = np.nan
    if array.dtype.kind in "iu":
        mean = np.rint(mean)
    return np.moveaxis(mean.astype(array.dtype), (-2, -1), (axes.index("Y"), axes.index("X")))
