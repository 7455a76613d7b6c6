"""The layers of one run: the preview while it goes on, then the result and what belongs to it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dip.core.axes import Floats
from napari_dip.core.header import Header
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.plugin.layers.metadata import KEY
from napari_dip.plugin.layers.placement import Place

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

SIGMAS = 5  # the residual's darkest colours are that many


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
        self, viewer: ViewerModel, place: Place, observation: Observation, axes: str, *, is_complex: bool
    ) -> None:
        self._viewer, self.place, self._axes, self._is_complex = viewer, place, axes, is_complex
        self._sizes = dict(zip("TCZYX", observation.y.shape, strict=True))
        self._letters, self._header = observation.axes, observation.header
        # By which layers know themselves, to hold none that was removed.
        self._added: list[Hashable] = []
        self._shown: Hashable = None
        self._residual: Hashable = None

    @property
    def picture(self) -> Image | None:
        """The preview, or the restored image; None before there is one, and once it was removed."""
        return self._there(self._shown)

    @property
    def preview_gone(self) -> bool:
        """Whether somebody removed the preview."""
        return self._shown is not None and self.picture is None

    @property
    def added(self) -> list[Layer]:
        """Those that are still there."""
        return [layer for kept in self._added if (layer := self._there(kept)) is not None]

    def remove(self) -> None:
        """Take out all that is still there, and nothing else."""
        for layer in self.added:
            self._viewer.layers.remove(layer)

    def seen(self, image: Floats) -> Floats:
        """The result, or of a complex one the magnitude."""
        return np.hypot(*np.moveaxis(image, self._axes.index("C"), 0)) if self._is_complex else image

    def preview(self, image: Floats) -> None:
        """Show where the run stands; not again where somebody removed it."""
        place, picture = self._place_of(image), self.picture
        if self._shown is None:
            added = self._add_image(place.shown(image), place.image_options("restoring"))
            self._shown = added.unique_id
        elif picture is not None:
            picture.data = place.shown(image)
            if self._is_complex:  # the first picture's scale tells nothing of the later ones'
                picture.reset_contrast_limits()

    def show(self, result: Result, snapshots: Sequence[tuple[int, Floats]], every: int) -> None:
        """The result on top, and below it what belongs to it, hidden."""
        if self._is_complex:
            parts = np.moveaxis(result.image, result.axes.index("C"), 0)
            result = result.magnitude()
            self._add_phase(np.arctan2(parts[1], parts[0]))
        place = self._place_of(result.image)
        options = place.image_options("restored", result=result, header=result.header)
        restored = self.picture
        if restored is None:
            restored = self._add_image(place.shown(result.image), options)
            self._shown = restored.unique_id
        else:
            restored.data = place.shown(result.image)
            restored.name, restored.metadata = options["name"], options["metadata"]
            if self._is_complex:
                restored.reset_contrast_limits()
        self._add_snapshots(result, snapshots, every)
        self._add_residual(result)
        self._add_uncertainty(result)
        self._viewer.layers.move(self._viewer.layers.index(restored), -1)
        if result.filled.any():
            self._add_filled(result)
        if places := result.provenance["ensemble"]["doubtful"]:
            self._add_doubtful(result, places)

    def glance(self, image: Floats) -> None:
        """Another picture in place of the result's, for the moment."""
        if (picture := self.picture) is not None:
            picture.data = self._place_of(image).shown(image)

    def replace(self, result: Result) -> None:
        """Another result in the layers of the one that was shown."""
        if (restored := self.picture) is not None:
            place = self._place_of(result.image)
            options = place.image_options("restored", result=result, header=result.header)
            restored.data, restored.metadata = place.shown(result.image), options["metadata"]
        if (residual := self._there(self._residual)) is not None:
            residual.data = self._residual_of(result)

    def again(self) -> ResultLayers:
        """For another run of the same: nothing is added yet."""
        other = copy(self)
        other._added, other._shown, other._residual = [], None, None
        return other

    def _there(self, one: Hashable) -> Any:
        return next((layer for layer in self._viewer.layers if layer.unique_id == one), None)

    def _place_of(self, image: Floats) -> Place:
        """Where a picture of the result belongs, as it is shown."""
        axes, sides = self._axes, self._sizes
        if self._is_complex:  # the data are no picture: their rows and columns are not the image's
            axes = axes.replace("C", "")
            sides = sides | dict(zip("YX", image.shape[-2:], strict=True))
        shape = [sides[letter] for letter in self._letters]
        return self.place.of_result(image.shape, shape, axes)

    def _add_phase(self, phase: Floats) -> None:
        options = self._place_of(phase).image_options("phase")
        options |= {"contrast_limits": (-np.pi, np.pi), "colormap": "hsv", "visible": False, "gamma": 1}
        self._add_image(phase, options)

    def _add_snapshots(
        self, result: Result, snapshots: Sequence[tuple[int, Floats]], every: int
    ) -> None:
        if not snapshots:
            return
        place = self._place_of(result.image)
        stack = np.stack([place.shown(image) for _, image in snapshots])
        options = place.image_options("iterations", header=result.header)
        options["metadata"] |= {"steps": [step for step, _ in snapshots]}
        options["metadata"].pop(KEY)  # its axes are no image's
        self._add_image(stack, options | place.stacked("iteration", every) | {"visible": False})

    def _residual_of(self, result: Result) -> Floats:
        values = result.residual_in_noise
        if self.place.rgb:  # differences have no colour: show that of the mean
            values = values.sum(axis=-1) / np.sqrt(values.shape[-1])
        return values

    def _add_residual(self, result: Result) -> None:
        look = {"contrast_limits": (-SIGMAS, SIGMAS), "colormap": "PiYG"}
        added = self._add_aside(
            self.place,
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
        if self.place.rgb:
            values = values.mean(axis=-1)
        known = values[np.isfinite(values)]
        most = 4 * float(np.sqrt(np.mean(known**2))) if known.any() else 1.0
        look = {"contrast_limits": (0, most), "colormap": "magma"}
        place = self._place_of(result.image)
        self._add_aside(place, values, "uncertainty", result.axes, result.header, look)

    def _add_aside(
        self, place: Place, values: Floats, what: str, axes: str, header: Header, look: dict[str, Any]
    ) -> Image:
        options = place.image_options(what, header=_aside(header, what))
        options["metadata"][KEY]["axes"] = axes[: values.ndim]
        return self._add_image(values, options | look | {"rgb": False, "visible": False, "gamma": 1})

    def _add_filled(self, result: Result) -> None:
        filled = result.filled.any(axis=-1) if self.place.rgb else result.filled
        with self._same_selection():
            layer = self._viewer.add_labels(
                filled.astype(np.uint8),
                name=f"{self.place.name} - filled",
                opacity=0.4,
                visible=False,
                **self._place_of(result.image).spatial,
            )
        self._added.append(layer.unique_id)

    def _add_doubtful(self, result: Result, places: Sequence[Sequence[int]]) -> None:
        """Rings about small sources that are not in most of the fits."""
        shown = result.axes.replace("C", "") if self.place.rgb else result.axes
        points = [[dict(zip("TZYX", p, strict=True)).get(a, 0) for a in shown] for p in places]
        with self._same_selection():
            layer = self._viewer.add_points(
                points,
                name=f"{self.place.name} - in few fits only",
                size=15,
                face_color="transparent",
                border_color="orange",
                **self._place_of(result.image).spatial,
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


def _aside(header: Header, what: str) -> Header:
    """The header for a by-product: its place on the sky, but not its source's other extensions."""
    lines = header.cards.splitlines()
    if not header.unit:  # the source's is not that of sigmas
        lines = [line for line in lines if not line.startswith("BUNIT ")]
    note = f"HISTORY No image of the sky: the {what} of a restoration."
    cards = "\n".join([*lines, note.ljust(80)]) if header.cards else ""
    return replace(header, path="", hdu=0, name=what, cards=cards, description="")
