"""The layers of one run: a preview while it runs, then the result and what belongs to it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dip.core.axes import FloatArray
from napari_dip.core.observation import Observation
from napari_dip.core.parameter_maps import ParameterMaps
from napari_dip.core.result import Result
from napari_dip.plugin.layers import result_specs as specs
from napari_dip.plugin.layers.metadata import RESULT, find_layer, same_selection
from napari_dip.plugin.layers.placement import LayerPlacement
from napari_dip.plugin.layers.result_specs import LayerSpec

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer


class ResultLayers:
    """Adds layers to a viewer next to the one that is restored, and removes them again.

    Parameters
    ----------
    viewer : napari viewer or ViewerModel
        Where the layers are added.
    placement : LayerPlacement
        Placement and appearance of the restored layer.
    observation : Observation
        What is restored.
    axes : str
        Axes of the result.
    is_complex : bool
        Whether its channels are real and imaginary parts, of which the magnitude is displayed.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        placement: LayerPlacement,
        observation: Observation,
        axes: str,
        *,
        is_complex: bool,
    ) -> None:
        self._viewer, self.placement, self._axes, self._is_complex = viewer, placement, axes, is_complex
        self._sizes = dict(zip("TCZYX", observation.y.shape, strict=True))
        self._input_axes, self._header = observation.axes, observation.header
        # Unique ids and not the layers, which would stay in memory after they are removed.
        self._added: list[Hashable] = []
        self._image_id: Hashable = None
        self._extra_ids: dict[str, Hashable] = {}
        self._map_ids: list[Hashable] = []
        self._result: Result | None = None
        self._snapshots: Sequence[tuple[int, FloatArray]] = ()
        self._snapshot_step = 0

    @property
    def image_layer(self) -> Image | None:
        """The preview, or the restored image; None before it is added and after it is removed."""
        return self._find(self._image_id)

    @property
    def preview_removed(self) -> bool:
        """Whether the user removed the preview."""
        return self._image_id is not None and self.image_layer is None

    @property
    def added(self) -> list[Layer]:
        """The added layers that are still in the viewer."""
        return [layer for added_id in self._added if (layer := self._find(added_id)) is not None]

    def remove(self) -> None:
        """Remove the added layers, and no others."""
        for layer in self.added:
            self._viewer.layers.remove(layer)

    def magnitude_if_complex(self, image: FloatArray) -> FloatArray:
        """Return `image`, or the magnitude of a complex one."""
        return np.hypot(*np.moveaxis(image, self._axes.index("C"), 0)) if self._is_complex else image

    def preview(self, image: FloatArray) -> None:
        """Show an image during the run; does nothing after the user removed the preview."""
        if self._image_id is None:
            placement = self._placement_of(image)
            options = placement.image_options("restoring", role=RESULT)
            added = self._add(LayerSpec("image", placement.to_display(image), options))
            self._image_id = added.unique_id
        elif self.image_layer is not None:
            self.preview_image(image)
            if self._is_complex:  # the range of the first preview says nothing about later ones
                self.image_layer.reset_contrast_limits()

    def show(self, result: Result, snapshots: Sequence[tuple[int, FloatArray]], step: int) -> None:
        """Show the result on top, and rings around sources that most fits do not show.

        The other layers that belong to it can then be added by `show_extra`.
        """
        self._result, self._snapshots, self._snapshot_step = result, snapshots, step
        shown = result.magnitude() if self._is_complex else result
        placement = self._placement_of(shown.image)
        restored = self._show_image(shown, placement)
        self._viewer.layers.move(self._viewer.layers.index(restored), -1)
        if (spec := specs.unreproduced_spec(shown, placement)) is not None:
            self._add(spec)
        self._map_ids = [self._add(spec).unique_id for spec in self._map_specs(result.maps)[:1]]

    @property
    def extras(self) -> dict[str, bool]:
        """Names of the layers that can be added to the restored image, and whether they are."""
        result = self._result
        if result is None:
            return {}
        offered = {
            "residual": True,
            "uncertainty": result.uncertainty is not None,
            "steps": bool(self._snapshots),
            "filled": bool(result.inpainted.any()),
            "phase": self._is_complex,
            "maps": result.maps is not None,
        }
        shown = {name: self._extra(name) is not None for name in offered} | {"maps": self._has_all_maps}
        return {name: shown[name] for name, is_there in offered.items() if is_there}

    def show_extra(self, name: str, *, on: bool) -> None:
        """Add one of `extras` on top, or remove it."""
        if name == "maps":
            self._show_all_maps(on=on)
            return
        layer = self._extra(name)
        if not on and layer is not None:
            self._viewer.layers.remove(layer)
        elif on and layer is None and (spec := self._extra_spec(name)) is not None:
            self._extra_ids[name] = self._add(spec).unique_id

    def forget(self) -> None:
        """Release what is only needed to add more layers."""
        self._result, self._snapshots = None, ()

    def _extra(self, name: str) -> Any:
        return self._find(self._extra_ids.get(name))

    def _extra_spec(self, name: str) -> LayerSpec | None:
        result = self._result
        if result is None:
            return None
        shown = result.magnitude() if self._is_complex else result
        placement = self._placement_of(shown.image)
        match name:
            case "residual":
                has_input_axes = result.residual_axes == self._input_axes
                where = self.placement if has_input_axes else placement
                return specs.residual_spec(shown, self._header, where)
            case "uncertainty":
                return specs.uncertainty_spec(shown, placement)
            case "steps":
                return specs.steps_spec(shown, self._snapshots, self._snapshot_step, placement)
            case "filled":
                return specs.filled_spec(shown, placement)
            case _:
                parts = np.moveaxis(result.image, result.axes.index("C"), 0)
                return specs.phase_spec(np.arctan2(parts[1], parts[0]), placement)

    def preview_image(self, image: FloatArray) -> None:
        """Show another image in the layer of the result for the moment."""
        if (layer := self.image_layer) is not None:
            layer.data = self._placement_of(image).to_display(image)

    def replace(self, result: Result) -> None:
        """Show another result in the layers of the present one."""
        if (layer := self.image_layer) is not None:
            placement = self._placement_of(result.image)
            options = placement.image_options("restored", result=result, header=result.header)
            layer.data, layer.metadata = placement.to_display(result.image), options["metadata"]
        self._result = result
        for map_id, map_spec in zip(self._map_ids, self._map_specs(result.maps), strict=False):
            if (map_layer := self._find(map_id)) is not None:
                map_layer.data = map_spec.data
        for name in ("residual", "uncertainty"):
            spec, extra = self._extra_spec(name), self._extra(name)
            if spec is not None and extra is not None:
                extra.data = spec.data

    def copy_for_rerun(self) -> ResultLayers:
        """Return the same for another run, which has not added any layers yet."""
        other = copy(self)
        other._added = []
        other._image_id, other._extra_ids, other._map_ids = None, {}, []
        return other

    def _find(self, unique_id: Hashable) -> Any:
        return find_layer(self._viewer.layers, unique_id)

    @property
    def _has_all_maps(self) -> bool:
        return any(self._find(map_id) is not None for map_id in self._map_ids[1:])

    def _show_all_maps(self, *, on: bool) -> None:
        """Add the maps besides the first one, or remove them."""
        for map_id in self._map_ids[1:]:
            if (layer := self._find(map_id)) is not None:
                self._viewer.layers.remove(layer)
        maps = self._result.maps if on and self._result is not None else None
        others = self._map_specs(maps)[1:]
        self._map_ids[1:] = [self._add(spec).unique_id for spec in others]

    def _map_specs(self, maps: ParameterMaps | None) -> list[LayerSpec]:
        if maps is None:
            return []
        placement = self._placement_of(maps.chi_square, maps.axes)
        return specs.map_specs(maps, self._header, placement)

    def _placement_of(self, image: FloatArray, axes: str | None = None) -> LayerPlacement:
        """Return the placement of an image with the result's axes, or others, as it is displayed."""
        axes, sizes = axes or self._axes, self._sizes
        if self._is_complex:  # rows and columns of k-space are not those of the image
            axes = axes.replace("C", "")
            sizes = sizes | dict(zip("YX", image.shape[-2:], strict=True))
        input_shape = [sizes[letter] for letter in self._input_axes]
        return self.placement.for_result(image.shape, input_shape, axes)

    def _show_image(self, result: Result, placement: LayerPlacement) -> Image:
        """Put the result into the layer of the preview, or into a new one."""
        options = placement.image_options("restored", result=result, header=result.header)
        data, layer = placement.to_display(result.image), self.image_layer
        if layer is None:
            added: Image = self._add(LayerSpec("image", data, options))
            self._image_id = added.unique_id
            return added
        layer.data, layer.name, layer.metadata = data, options["name"], options["metadata"]
        if self._is_complex:
            layer.reset_contrast_limits()
        return layer

    def _add(self, spec: LayerSpec) -> Any:
        with same_selection(self._viewer.layers):
            layer = getattr(self._viewer, f"add_{spec.kind}")(spec.data, **spec.options)
        self._added.append(layer.unique_id)
        return layer
