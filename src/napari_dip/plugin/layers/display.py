"""How an image is shown: which way is up, and how bright what is faint. Pixels never change."""

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
DISPLAY_SOFTENING = 0.02  # part of the range up to which asinh is straight
COLORMAP_STEPS = 128
ANGLE_TOLERANCE_DEG = 0.5  # degrees


def toggle_asinh_stretch(layer: Image) -> str:
    """Show the logarithm of what is bright and all of what is faint, or as before.

    The layer's colours are spaced by asinh(v / a) / asinh(1 / a), with a softening a of 0.02 of the
    contrast limits' range.

    References
    ----------
    .. [1] Lupton et al., "Preparing red-green-blue images from CCD data", PASP 116 (2004) 133.
    """
    if layer.rgb:
        raise ObservationError(f"'{layer.name}' has colours of its own; only one channel is stretched")
    base = layer.colormap
    if base.name.endswith(STRETCHED_SUFFIX):
        layer.colormap = ensure_colormap(base.name.removesuffix(STRETCHED_SUFFIX))
        return f"'{layer.name}' is shown in proportion again."
    steps = np.linspace(0, 1, COLORMAP_STEPS)
    controls = DISPLAY_SOFTENING * np.sinh(steps * np.arcsinh(1 / DISPLAY_SOFTENING))
    controls[-1] = 1
    layer.colormap = Colormap(
        base.map(steps),
        controls=controls,
        name=f"{base.name}{STRETCHED_SUFFIX}",
        nan_color=base.nan_color,
    )
    return f"'{layer.name}' is shown with an asinh stretch; its values are as they were."


def flip_vertical(viewer: napari.viewer.Viewer) -> str:
    """Show the first row at the bottom, as FITS viewers do, or at the top, as napari does."""
    vertical, horizontal = viewer.scene.camera.orientation2d
    down = str(getattr(vertical, "value", vertical)) == "down"
    viewer.scene.camera.orientation2d = ("up" if down else "down", horizontal)
    return f"The first row is at the {'bottom' if down else 'top'}."


def north_up(viewer: napari.viewer.Viewer, layer: Image) -> str:
    """Show north up and east to the left, by the header's coordinates.

    Raises
    ------
    ObservationError
        If there are none.
    """
    north, east = _directions(layer)
    viewer.scene.camera.orientation2d = ("up", "right")
    # On the screen columns grow to the right and rows upwards; turn until north is up.
    angle = np.arctan2(north[1], north[0])
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    if (turn @ east)[1] > 0:  # mirrored on the detector
        turn = np.diag([1, -1]) @ turn
    if abs(np.degrees(angle)) < ANGLE_TOLERANCE_DEG and turn[1, 1] > 0:
        turn = np.eye(2)
    place = _affine_2d(layer)
    shape = finest(layer).shape[: layer.ndim]
    middle = np.asarray(layer.data_to_world(np.array(shape) / 2))[-2:]
    for other in viewer.layers:
        if other.ndim >= 2 and np.allclose(_affine_2d(other), place):
            _rotate_layer(other, turn, middle)
    viewer.reset_view()
    return "North is up, and east to the left; saved pixels stay as they are."


def _affine_2d(layer: Layer) -> NDArray[Any]:
    return np.asarray(layer.affine)[-3:-1, -3:-1]


def _rotate_layer(layer: Layer, turn: NDArray[Any], middle: NDArray[Any]) -> None:
    """Turn `layer` about a point of the world, on top of what it is turned already."""
    whole = np.eye(layer.ndim + 1)
    whole[-3:-1, -3:-1] = turn
    whole[-3:-1, -1] = middle - turn @ middle
    layer.affine = whole @ np.asarray(layer.affine)


def _directions(layer: Image) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where north and east are as the layer lies now: (row, column), of length 1."""
    from astropy.io import fits
    from astropy.wcs import WCS

    header = layer.metadata.get(METADATA_KEY, {}).get("header")
    cards = getattr(header, "cards", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(fits.Header.fromstring(cards, sep="\n")).celestial if cards else None
    if wcs is None or not wcs.has_celestial:
        raise ObservationError(
            f"the header of '{layer.name}' has no coordinates on the sky: use 'Row 1 at the bottom'"
        )
    row, column = (n / 2 for n in finest(layer).shape[: layer.ndim][-2:])
    there = wcs.pixel_to_world(column, row)
    step = 10 * wcs.proj_plane_pixel_scales()[0]
    found = []
    linear = _affine_2d(layer) @ np.diag(np.asarray(layer.scale)[-2:])
    for angle in (0, 90):
        x, y = wcs.world_to_pixel(there.directional_offset_by(_degrees(angle), step))
        way = linear @ np.array([y - row, x - column])
        found.append(way / np.hypot(*way))
    return found[0], found[1]


def _degrees(angle: float) -> Any:
    from astropy import units

    return angle * units.deg
