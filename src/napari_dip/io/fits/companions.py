"""What each HDU of a file holds: an image, or the errors, flags or weights of one."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from napari_dip.core.errors import ReadError, ReadWarning
from napari_dip.io.data_quality import DataQuality
from napari_dip.io.fits.hdu import data_of, has_pixels, name_of, native, open_fits, shape_of

Kind = Literal["image", "sigma", "variance", "inverse variance", "weight", "flags", "other"]

_NAMES: dict[Kind, frozenset[str]] = {
    "image": frozenset({"SCI", "IMAGE", "DATA", "FLUX"}),
    "sigma": frozenset({"ERR", "ERROR", "SIGMA", "UNCERT", "RMS", "NOISE", "STDEV"}),
    "variance": frozenset({"VAR", "VARIANCE", "STAT"}),
    "inverse variance": frozenset({"IVAR", "INVVAR", "WGT"}),
    "weight": frozenset({"WHT", "WEIGHT"}),  # often exposure times: only 0 has a reliable meaning
    "flags": frozenset({"DQ", "MASK", "MSK", "FLAGS", "FLG", "FILLED"}),
    "other": frozenset({"CTX", "CON", "COVERAGE", "APERTURE"}),
}
# Lookup tables and by-products that are stored as images but do not show the sky.
_NOT_SCIENCE = re.compile(
    r"WCSDVARR|D2IMARR|FIELDMAP|WAVELENGTH|AREA$|SKYFIT|RESIDUAL|VAR_|PATHLOSS|TRUTH"
)
_UNCERTAINTIES: dict[str, Kind] = {  # astropy.nddata, in UTYPE
    "STDDEVUNCERTAINTY": "sigma",
    "VARIANCEUNCERTAINTY": "variance",
    "INVERSEVARIANCE": "inverse variance",
}
_ESO_ERRORS: dict[str, Kind] = {"MSE": "variance", "INVMSE": "inverse variance"}  # HDUCLAS3
_SIGMAS = ("sigma", "variance", "inverse variance")
_FILES_BESIDE = {"_ood_": "DQ", "_oow_": "IVAR"}  # of DECam, beside the image "_ooi_"


@dataclass(frozen=True)
class Role:
    """What an HDU holds.

    Attributes
    ----------
    kind : str
        An image, its noise in one of three forms, its weights or flags; other pixels are no image.
    group : str
        What the names of an image and its planes have in common; empty for most files.
    """

    kind: Kind
    group: str = ""

    @property
    def is_companion(self) -> bool:
        """Whether it belongs to an image."""
        return self.kind not in ("image", "other")

    @property
    def is_noise(self) -> bool:
        """Whether it holds the noise of an image."""
        return self.kind in _SIGMAS


def role_of(hdu: Any) -> Role:
    """Return what an HDU holds, by the conventions of many observatories.

    These are the classes of ESO (HDUCLAS2, HDUCLAS3), the uncertainty of astropy's CCDData (UTYPE), the
    EXTTYPE of Rubin and Subaru, and the names of HST, JWST, MUSE, DES (``SCI``, ``MSK``, ``WGT``) and
    Euclid (``1-1.E.SCI``, ``1-1.E.RMS``, ``1-1.E.FLG``).
    """
    if not has_pixels(hdu):
        return Role("other")
    name = name_of(hdu)
    group, _, part = name.rpartition(".")
    cards = {
        keyword: str(hdu.header.get(keyword, "")).upper().strip()
        for keyword in ("HDUCLAS2", "HDUCLAS3", "SCIDATA", "UTYPE", "EXTTYPE")
    }
    if cards["UTYPE"] in _UNCERTAINTIES:
        return Role(_UNCERTAINTIES[cards["UTYPE"]], group)
    if cards["HDUCLAS2"] == "ERROR":
        return Role(_ESO_ERRORS.get(cards["HDUCLAS3"], "sigma"), cards["SCIDATA"] or group)
    if cards["HDUCLAS2"] == "QUALITY":
        return Role("flags", cards["SCIDATA"] or group)
    for text in (part, cards["EXTTYPE"]):
        for kind, names in _NAMES.items():
            if text in names:
                return Role(kind, group)
    return Role("other" if _NOT_SCIENCE.match(name) else "image", group)


def owners_of(hdus: fits.HDUList) -> dict[int, int]:
    """Return the number of the image that each plane of noise, weights or flags belongs to.

    It has the same group, shape and EXTVER; of several it is the one before the plane: extensions
    without names follow their image. By-products of our own restoration name their image themselves.
    """
    images: dict[tuple[Any, ...], list[int]] = {}
    planes: dict[int, tuple[Any, ...]] = {}
    for number, hdu in enumerate(hdus):
        role, grid = role_of(hdu), (shape_of(hdu), hdu.ver) if has_pixels(hdu) else ()
        if role.kind == "image":
            for group in {role.group, name_of(hdu)}:
                images.setdefault((group, *grid), []).append(number)
        elif role.is_companion and "DIPOF" not in hdu.header:
            planes[number] = (role.group, *grid)
    owners = {}
    for number, key in planes.items():
        if candidates := images.get(key):
            owners[number] = max((one for one in candidates if one < number), default=candidates[0])
    return owners


def companions_of(path: Path, hdus: fits.HDUList, index: int, owners: dict[int, int]) -> list[Any]:
    """Return the HDUs that hold noise, weights or flags of the image with this index.

    `owners` are those of the file. By-products of our own restoration come first: they belong to this
    image alone.
    """
    image = hdus[index]
    ours = [
        hdu
        for number, hdu in enumerate(hdus)
        if number != index
        and is_byproduct_of(hdu, image, index)
        and role_of(hdu).is_companion
        and shape_of(hdu) == shape_of(image)
    ]
    theirs = [hdus[number] for number, owner in owners.items() if owner == index]
    return ours + theirs or list(_planes_beside(path, hdus, image))


def is_byproduct_of(other: Any, image: Any, index: int) -> bool:
    """Whether `other` is a by-product of the restoration of the HDU with this index."""
    cards = other.header
    if "DIPOF" not in cards:
        return False
    is_same_name = (cards["DIPOF"], cards.get("DIPOFVER", 1)) == (name_of(image), image.ver)
    return bool(is_same_name and cards.get("DIPOFHDU", index) == index)


def _planes_beside(path: Path, hdus: fits.HDUList, hdu: Any) -> Iterator[fits.ImageHDU]:
    """The quality and weight planes of `hdu` in files of their own, as those of DECam."""
    if "_ooi_" not in path.name:
        return
    for part, name in _FILES_BESIDE.items():
        other = path.with_name(path.name.replace("_ooi_", part))
        if not other.is_file():
            continue
        try:
            with open_fits(other) as others:
                if others[0].header.get("OBSID") != hdus[0].header.get("OBSID"):
                    continue
                same = [o for o in others if has_pixels(o) and name_of(o) == name_of(hdu)]
                planes = [native(data_of(o)) for o in same if shape_of(o) == shape_of(hdu)]
        except ReadError as error:
            text = f"a file beside {path.name} was left out: {error}"
            warnings.warn(text, ReadWarning, stacklevel=4)
        else:
            yield from (fits.ImageHDU(plane, name=name) for plane in planes[:1])


def sigma_of(hdu: Any) -> NDArray[np.float32]:
    """Return the standard deviation of an error, variance or inverse variance plane."""
    from astropy.nddata import InverseVariance, StdDevUncertainty, VarianceUncertainty

    kinds = {"variance": VarianceUncertainty, "inverse variance": InverseVariance}
    kind = kinds.get(role_of(hdu).kind, StdDevUncertainty)
    with np.errstate(divide="ignore", invalid="ignore"):
        plane = kind(native(data_of(hdu)).astype(float)).represent_as(StdDevUncertainty).array
    return np.asarray(plane, np.float32)


def quality_of(hdu: Any, primary: fits.Header) -> DataQuality:
    """Return the flags of a quality plane, or of a mask, of which all values are bad."""
    values = native(data_of(hdu))
    if names := _names_of_bits(hdu.header):
        return DataQuality.from_named_bits(values, names)
    instrument = str(primary.get("INSTRUME", ""))
    if name_of(hdu) == "DQ" or instrument.strip().upper() == "MANGA":
        return DataQuality.from_plane(values, str(primary.get("TELESCOP", "")), instrument)
    return DataQuality.from_plane(values, "")


def _names_of_bits(header: fits.Header) -> dict[int, str]:
    """The names of bits, by their values: cards as of Rubin and Subaru, and of Pan-STARRS."""
    names = {}
    for keyword in header:
        if keyword.startswith("MP_"):
            bit = header[keyword]
            if isinstance(bit, int) and 0 <= bit < 63:
                names[1 << bit] = keyword.removeprefix("MP_")
        elif keyword.startswith("MSKNAM"):
            value = header.get("MSKVAL" + keyword.removeprefix("MSKNAM"))
            if isinstance(value, int) and value > 0 and value & (value - 1) == 0:
                names[value] = str(header[keyword]).strip()
    return names
