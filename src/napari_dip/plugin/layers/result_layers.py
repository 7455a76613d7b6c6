"""The layers of one run: the preview while it goes on, then the result and what belongs to it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dip.core.axes import FloatArray
from napari_dip.core.header import Header
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.plugin.layers.metadata import METADATA_KEY
from napari_dip.plugin.layers.placement import LayerPlacement

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

RESIDUAL_LIMIT_SIGMAS = 5  # the residual's darkest colours are that many


class ResultLayers:
    """Adds layers to a viewer beside the one that is restored, and takes them out again.

    Parameters
    ----------
    viewer : napari viewer or ViewerModel
        Gets the layers.
    place : Place
        Where and how the restored layer is shown.
    observation : Observation
        What is restored.
    axes : str
        Of the result.
    is_complex : bool
        Whether its channels are real and imaginary parts, of which the magnitude is shown.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        place: LayerPlacement,
        observation: Observation,
        axes: str,
        *,
        is_complex: bool,
    ) -> None:
        self._viewer, self.placement, self._axes, self._is_complex = viewer, place, axes, is_complex
        self._sizes = dict(zip("TCZYX", observation.y.shape, strict=True))
        self._letters, self._header = observation.axes, observation.header
        # By which layers know themselves, to hold none that was removed.
        self._added: list[Hashable] = []
        self._image_id: Hashable = None
        self._residual: Hashable = None

    @property
    def image_layer(self) -> Image | None:
        """The preview, or the restored image; None before there is one, and once it was removed."""
        return self._find(self._image_id)

    @property
    def preview_gone(self) -> bool:
        """Whether somebody removed the preview."""
        return self._image_id is not None and self.image_layer is None

    @property
    def added(self) -> list[Layer]:
        """Those that are still there."""
        return [layer for kept in self._added if (layer := self._find(kept)) is not None]

    def remove(self) -> None:
        """Take out all that is still there, and nothing else."""
        for layer in self.added:
            self._viewer.layers.remove(layer)

    def magnitude_if_complex(self, image: FloatArray) -> FloatArray:
        """The result, or of a complex one the magnitude."""
        return np.hypot(*np.moveaxis(image, self._axes.index("C"), 0)) if self._is_complex else image

    def preview(self, image: FloatArray) -> None:
        """Show where the run stands; not again where somebody removed it."""
        place, picture = self._placement_of(image), self.image_layer
        if self._image_id is None:
            added = self._add_image(place.to_display(image), place.image_options("restoring"))
            self._image_id = added.unique_id
        elif picture is not None:
            picture.data = place.to_display(image)
            if self._is_complex:  # the first picture's scale tells nothing of the later ones'
                picture.reset_contrast_limits()

    def show(self, result: Result, snapshots: Sequence[tuple[int, FloatArray]], every: int) -> None:
        """The result on top, and below it what belongs to it, hidden."""
        if self._is_complex:
            parts = np.moveaxis(result.image, result.axes.index("C"), 0)
            result = result.magnitude()
            self._add_phase(np.arctan2(parts[1], parts[0]))
        place = self._placement_of(result.image)
        options = place.image_options("restored", result=result, header=result.header)
        restored = self.image_layer
        if restored is None:
            restored = self._add_image(place.to_display(result.image), options)
            self._image_id = restored.unique_id
        else:
            restored.data = place.to_display(result.image)
            restored.name, restored.metadata = options["name"], options["metadata"]
            if self._is_complex:
                restored.reset_contrast_limits()
        self._add_snapshots(result, snapshots, every)
        self._add_residual(result)
        self._add_uncertainty(result)
        self._viewer.layers.move(self._viewer.layers.index(restored), -1)
        if result.inpainted.any():
            self._add_inpainted(result)
        if places := result.provenance["ensemble"]["doubtful"]:
            self._add_unreproduced(result, places)

    def preview_step(self, image: FloatArray) -> None:
        """Another picture in place of the result's, for the moment."""
        if (picture := self.image_layer) is not None:
            picture.data = self._placement_of(image).to_display(image)

    def replace(self, result: Result) -> None:
        """Another result in the layers of the one that was shown."""
        if (restored := self.image_layer) is not None:
            place = self._placement_of(result.image)
            options = place.image_options("restored", result=result, header=result.header)
            restored.data, restored.metadata = place.to_display(result.image), options["metadata"]
        if (residual := self._find(self._residual)) is not None:
            residual.data = self._residual_of(result)

    def copy_for_rerun(self) -> ResultLayers:
        """For another run of the same: nothing is added yet."""
        other = copy(self)
        other._added, other._image_id, other._residual = [], None, None
        return other

    def _find(self, one: Hashable) -> Any:
        return next((layer for layer in self._viewer.layers if layer.unique_id == one), None)

    def _placement_of(self, image: FloatArray) -> LayerPlacement:
        """Where a picture of the result belongs, as it is shown."""
        axes, sides = self._axes, self._sizes
        if self._is_complex:  # the data are no picture: their rows and columns are not the image's
            axes = axes.replace("C", "")
            sides = sides | dict(zip("YX", image.shape[-2:], strict=True))
        shape = [sides[letter] for letter in self._letters]
        return self.placement.for_result(image.shape, shape, axes)

    def _add_phase(self, phase: FloatArray) -> None:
        options = self._placement_of(phase).image_options("phase")
        options |= {"contrast_limits": (-np.pi, np.pi), "colormap": "hsv", "visible": False, "gamma": 1}
        self._add_image(phase, options)

    def _add_snapshots(
        self, result: Result, snapshots: Sequence[tuple[int, FloatArray]], every: int
    ) -> None:
        if not snapshots:
            return
        place = self._placement_of(result.image)
        stack = np.stack([place.to_display(image) for _, image in snapshots])
        options = place.image_options("iterations", header=result.header)
        options["metadata"] |= {"steps": [step for step, _ in snapshots]}
        options["metadata"].pop(METADATA_KEY)  # its axes are no image's
        self._add_image(stack, options | place.stack_options("iteration", every) | {"visible": False})

    def _residual_of(self, result: Result) -> FloatArray:
        values = result.normalized_residual
        if self.placement.rgb:  # differences have no colour: show that of the mean
            values = values.sum(axis=-1) / np.sqrt(values.shape[-1])
        return values

    def _add_residual(self, result: Result) -> None:
        look = {"contrast_limits": (-RESIDUAL_LIMIT_SIGMAS, RESIDUAL_LIMIT_SIGMAS), "colormap": "PiYG"}
        added = self._add_byproduct(
            self.placement,
            self._residual_of(result),
            "residual in sigmas",
            result.residual_axes,
            replace(self._header, unit=""),
            look,
        )
        self._residual = added.unique_id

    def _add_uncertainty(self, result: Result) -> None:
        values = result.uncertainty
        if values is None:
            return
        if self.placement.rgb:
            values = values.mean(axis=-1)
        known = values[np.isfinite(values)]
        most = 4 * float(np.sqrt(np.mean(known**2))) if known.any() else 1.0
        look = {"contrast_limits": (0, most), "colormap": "magma"}
        place = self._placement_of(result.image)
        self._add_byproduct(place, values, "uncertainty", result.axes, result.header, look)

    def _add_byproduct(
        self,
        place: LayerPlacement,
        values: FloatArray,
        what: str,
        axes: str,
        header: Header,
        look: dict[str, Any],
    ) -> Image:
        options = place.image_options(what, header=_byproduct_header(header, what))
        options["metadata"][METADATA_KEY]["axes"] = axes[: values.ndim]
        return self._add_image(values, options | look | {"rgb": False, "visible": False, "gamma": 1})

    def _add_inpainted(self, result: Result) -> None:
        filled = result.inpainted.any(axis=-1) if self.placement.rgb else result.inpainted
        with self._same_selection():
            layer = self._viewer.add_labels(
                filled.astype(np.uint8),
                name=f"{self.placement.name} - filled",
                opacity=0.4,
                visible=False,
                **self._placement_of(result.image).spatial,
            )
        self._added.append(layer.unique_id)

    def _add_unreproduced(self, result: Result, places: Sequence[Sequence[int]]) -> None:
        """Rings about small sources that are not in most of the fits."""
        shown = result.axes.replace("C", "") if self.placement.rgb else result.axes
        points = [[dict(zip("TZYX", p, strict=True)).get(a, 0) for a in shown] for p in places]
        with self._same_selection():
            layer = self._viewer.add_points(
                points,
                name=f"{self.placement.name} - in few fits only",
                size=15,
                face_color="transparent",
                border_color="orange",
                **self._placement_of(result.image).spatial,
            )
        self._added.append(layer.unique_id)

    def _add_image(self, data: Any, options: dict[str, Any]) -> Image:
        with self._same_selection():
            layer: Image = self._viewer.add_image(data, **options)
        self._added.append(layer.unique_id)
        return layer

    @contextmanager
    def _same_selection(self) -> Iterator[None]:
        """Leave the selection as the person had it: it is where the next stroke goes."""
        selected, active = set(self._viewer.layers.selection), self._viewer.layers.selection.active
        yield
        self._viewer.layers.selection = selected
        self._viewer.layers.selection.active = active


def _byproduct_header(header: Header, what: str) -> Header:
    """The header for a by-product: its place on the sky, but not its source's other extensions."""
    lines = header.fits_header.splitlines()
    if not header.unit:  # the source's is not that of sigmas
        lines = [line for line in lines if not line.startswith("BUNIT ")]
    note = f"HISTORY No image of the sky: the {what} of a restoration."
    cards = "\n".join([*lines, note.ljust(80)]) if header.fits_header else ""
    return replace(header, path="", hdu=0, name=what, fits_header=cards, description="")
