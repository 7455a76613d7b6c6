"""Orientation and contrast of an image on the canvas; pixel values never change."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import Colormap, ensure_colormap
from numpy.typing import NDArray

from napari_dip.core.errors import ObservationError
from napari_dip.plugin.layers.metadata import METADATA_KEY, finest

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Layer

STRETCHED_SUFFIX = " (asinh)"
DISPLAY_SOFTENING = 0.02  # fraction of the contrast limits' range up to which asinh is linear
COLORMAP_STEPS = 128
ANGLE_TOLERANCE_DEG = 0.5


def toggle_asinh_stretch(layer: Image) -> str:
    """Switch the asinh stretch of a layer on or off, and return a sentence about it.

    The layer's colors are spaced by asinh(v / a) / asinh(1 / a), with a softening a of 0.02 of the
    range of the contrast limits: bright pixels are compressed, faint ones are not.

    Raises
    ------
    ObservationError
        If the layer is RGB.

    References
    ----------
    .. [1] Lupton et al., "Preparing red-green-blue images from CCD data", PASP 116 (2004) 133.
    """
    if layer.rgb:
        raise ObservationError(f"'{layer.name}' is an RGB image: only single channels can be stretched")
    linear = layer.colormap
    if linear.name.endswith(STRETCHED_SUFFIX):
        layer.colormap = ensure_colormap(linear.name.removesuffix(STRETCHED_SUFFIX))
        return f"'{layer.name}' is displayed with a linear stretch."
    steps = np.linspace(0, 1, COLORMAP_STEPS)
    controls = DISPLAY_SOFTENING * np.sinh(steps * np.arcsinh(1 / DISPLAY_SOFTENING))
    controls[-1] = 1
    layer.colormap = Colormap(
        linear.map(steps),
        controls=controls,
        name=f"{linear.name}{STRETCHED_SUFFIX}",
        **{key: getattr(linear, key) for key in ("nan_color",) if hasattr(linear, key)},  # napari 0.6
    )
    return f"'{layer.name}' is displayed with an asinh stretch; its values have not changed."


def flip_vertical(viewer: napari.viewer.Viewer) -> str:
    """Move the first row to the bottom, as in FITS viewers, or back to the top, as in napari.

    Raises
    ------
    ObservationError
        If this version of napari cannot turn the view.
    """
    camera = _camera(viewer)
    vertical, horizontal = camera.orientation2d
    is_down = str(getattr(vertical, "value", vertical)) == "down"
    camera.orientation2d = ("up" if is_down else "down", horizontal)
    return f"The first row is at the {'bottom' if is_down else 'top'}."


def _camera(viewer: napari.viewer.Viewer) -> Any:
    """The camera, which can be turned since napari 0.6, and belongs to the scene since 0.9."""
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
    if not hasattr(camera, "orientation2d"):
        raise ObservationError("this version of napari cannot turn the view: 0.6 and newer ones can")
    return camera


def north_up(viewer: napari.viewer.Viewer, layer: Image) -> str:
    """Rotate the view so that north is up and east is left, and return a sentence about it.

    All layers in the same orientation as `layer` are rotated with it, by their affine transform.

    Raises
    ------
    ObservationError
        If the header has no celestial coordinates, or this version of napari cannot turn the view.
    """
    north, east = _sky_directions(layer)
    _camera(viewer).orientation2d = ("up", "right")
    # On the screen columns increase to the right and rows upwards; rotate until north is up.
    angle = np.arctan2(north[1], north[0])
    cosine, sine = np.cos(angle), np.sin(angle)
    rotation = np.array([[cosine, sine], [-sine, cosine]])
    if (rotation @ east)[1] > 0:  # mirrored on the detector
        rotation = np.diag([1, -1]) @ rotation
    if abs(np.degrees(angle)) < ANGLE_TOLERANCE_DEG and rotation[1, 1] > 0:
        rotation = np.eye(2)
    orientation = _affine_2d(layer)
    shape = finest(layer).shape[: layer.ndim]
    center = np.asarray(layer.data_to_world(np.array(shape) / 2))[-2:]
    for other in viewer.layers:
        if other.ndim >= 2 and np.allclose(_affine_2d(other), orientation):
            _rotate_layer(other, rotation, center)
    viewer.reset_view()
    return "North is up and east is left; saved files are not rotated."


def _affine_2d(layer: Layer) -> NDArray[Any]:
    return np.asarray(layer.affine)[-3:-1, -3:-1]


def _rotate_layer(layer: Layer, rotation: NDArray[Any], center: NDArray[Any]) -> None:
    """Rotate `layer` about a point in world coordinates, in addition to its present transform."""
    affine = np.eye(layer.ndim + 1)
    affine[-3:-1, -3:-1] = rotation
    affine[-3:-1, -1] = center - rotation @ center
    layer.affine = affine @ np.asarray(layer.affine)


def _sky_directions(layer: Image) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the directions of north and east on the canvas, (row, column), normalized to 1."""
    from astropy import units
    from astropy.io import fits

    from napari_dip.core.world_coordinates import parse_wcs

    header = layer.metadata.get(METADATA_KEY, {}).get("header")
    cards = getattr(header, "fits_header", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = parse_wcs(fits.Header.fromstring(cards, sep="\n")).celestial if cards else None
    if wcs is None or not wcs.has_celestial:
        raise ObservationError(
            f"the header of '{layer.name}' has no celestial coordinates: use 'Row 1 at the bottom'"
        )
    row, column = (n / 2 for n in finest(layer).shape[: layer.ndim][-2:])
    center = wcs.pixel_to_world(column, row)
    step = 10 * wcs.proj_plane_pixel_scales()[0]
    directions = []
    linear = _affine_2d(layer) @ np.diag(np.asarray(layer.scale)[-2:])
    for position_angle in (0, 90):
        x, y = wcs.world_to_pixel(center.directional_offset_by(position_angle * units.deg, step))
        direction = linear @ np.array([y - row, x - column])
        directions.append(direction / np.hypot(*direction))
    return directions[0], directions[1]
