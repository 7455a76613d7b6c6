"""OME-XML: metadata of a file, and their transfer to another one."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

_XML = ElementTree.Element
_SPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_ORDER = (
    "Rights", "Project", "Dataset", "Folder", "Experiment", "Plate", "Screen", "Experimenter",
    "ExperimenterGroup", "Instrument", "Image", "StructuredAnnotations", "ROI",
)  # fmt: skip


def ome(tiff: Any) -> _XML:
    """Return the OME-XML of an open file; an empty element if there is none, or a broken one."""
    try:
        return ElementTree.fromstring(tiff.ome_metadata or "<OME/>")
    except ElementTree.ParseError:
        return _XML("OME")


def strip_illegal_xml(text: str) -> str:
    """Return `text` without characters that XML forbids."""
    return "".join(c for c in text if c in "\t\n\r" or (c >= " " and not "\ud800" <= c <= "\udfff"))


def merge_source_ome(written: str, source: str, number: int) -> str | None:
    """Return the OME-XML `written` for an image, merged with that of the `source`, where it is `number`.

    Its own are the pixels, the images beside them and our notes; from the source come instruments,
    experimenters, projects, annotations, regions (where the pixels are as many as before), the image's
    date and description, its channels and what is known of each plane. None where the source said
    nothing in this version of OME.
    """
    if "<!DOCTYPE" in source or _SPACE not in source:
        return None
    try:
        theirs, ours = ElementTree.fromstring(source), ElementTree.fromstring(written)
    except ElementTree.ParseError:
        return None
    images = theirs.findall("{*}Image")
    image = images[number] if number < len(images) else None
    before = image.find("{*}Pixels") if image is not None else None
    if image is None or before is None:
        return None
    _rename(ours)
    mine = ours.find("{*}Image")
    now = mine.find("{*}Pixels") if mine is not None else None
    if mine is None or now is None:
        return None
    _merge_pixels(now, before)
    _merge_image(mine, image)
    same_grid = all(now.get(f"Size{a}") == before.get(f"Size{a}") for a in "XY")
    if not same_grid:
        for reference in mine.findall("{*}ROIRef"):
            mine.remove(reference)
    _copy_remaining(ours, theirs, {"ROI"} if not same_grid else set())
    for parent in ours.iter():  # to images that are not in this file
        for reference in parent.findall("{*}ImageRef"):
            if reference.get("ID") != image.get("ID"):
                parent.remove(reference)
    # Under a default namespace, a foreign element without one would be taken for an element of OME.
    foreign = any(isinstance(e.tag, str) and not e.tag.startswith("{") for e in ours.iter())
    ElementTree.register_namespace("ome" if foreign else "", _SPACE)
    return ElementTree.tostring(ours, encoding="unicode", xml_declaration=True)


def _rename(root: _XML) -> None:
    """Rename our elements, so that no identifier is one of the source."""
    for element in root.iter():
        if name := element.get("ID"):
            element.set("ID", re.sub(r"^(\w+):", r"\1:napari-dip:", name))


def _merge_pixels(now: _XML, before: _XML) -> None:
    now.set("ID", before.get("ID", ""))
    mine, theirs = now.findall("{*}Channel"), before.findall("{*}Channel")
    if len(mine) == len(theirs):
        for place, (new, old) in enumerate(zip(mine, theirs, strict=True)):
            now.remove(new)
            old.set("SamplesPerPixel", new.get("SamplesPerPixel", "1"))
            now.insert(place, old)
    if all(now.get(f"Size{letter}") == before.get(f"Size{letter}") for letter in "ZCT"):
        now.extend(before.findall("{*}Plane"))


def _merge_image(mine: _XML, theirs: _XML) -> None:
    """Copy everything about the image except its pixels, in the order that OME requires."""
    own = list(mine)
    for attribute in ("ID", "Name"):
        if attribute in theirs.attrib:
            mine.set(attribute, theirs.attrib[attribute])
    mine[:] = list(theirs)
    place = [_tag(child) for child in mine].index("Pixels")
    mine[place] = next(child for child in own if _tag(child) == "Pixels")
    mine.extend(child for child in own if _tag(child) == "AnnotationRef")


def _copy_remaining(ours: _XML, theirs: _XML, without: set[str]) -> None:
    """Copy everything besides the images."""
    notes = ours.find("{*}StructuredAnnotations")
    for child in theirs:
        if _tag(child) in {"Image", "BinaryOnly", *without}:
            continue
        if _tag(child) == "StructuredAnnotations" and notes is not None:
            notes[:] = [*child, *notes]
        else:
            ours.append(child)
    ours[:] = sorted(ours, key=lambda child: _ORDER.index(_tag(child)) if _tag(child) in _ORDER else 0)


def _tag(element: _XML) -> str:
    return str(element.tag).rpartition("}")[2]
