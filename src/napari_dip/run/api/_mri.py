"""Reconstruction of magnetic resonance images."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.errors import ObservationError, SettingsError
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.io import read
from napari_dip.run.api._options import (
    Options,
    add_auxiliary,
    is_number,
    is_path,
    load_array,
    restore_observation,
)
from napari_dip.run.recipe import Recipe

_NOT_FOR_KSPACE = ("noise", "gain", "read_noise", "axes", "channel_axis", "dtype")


def reconstruct_mri(
    kspace: Any,
    coil_maps: Any = None,
    *,
    trajectory: Any = None,
    breathing: bool = False,
    **options: Unpack[Options],
) -> Any:
    """Reconstruct images from undersampled k-space of several coils, all frames jointly.

    Parameters
    ----------
    kspace : complex array or path
        (T, coils, Y, X), (coils, Y, X), (Y, X) or, for several slices, (T, coils, Z, Y, X); centered,
        and 0 where nothing was sampled. With a trajectory (T, coils, spokes, samples).
    coil_maps : complex array or path, optional
        Coil sensitivities, (coils, Y, X). Default: estimated from the center of k-space.
    trajectory : array or path, optional
        Position of each sample, (T, 2, spokes, samples), rows and columns. [cycle / pixel]
    breathing : bool
        Whether the body also moves in another way than the beat of the heart, so that each frame has to
        be deformed (``dynamic-mri-breathing``).
    **options
        As for `denoise`, except `noise`, `gain`, `read_noise`, `axes`, `channel_axis` and `dtype`.
        `sigma` is one number: the standard deviation of the noise in the real and the imaginary part of
        k-space.

    Returns
    -------
    images : (T, Y, X) complex64, or without T
        A `Result` with `full_output`, or for a path; its channels are the real and the imaginary parts.

    Raises
    ------
    ObservationError, SettingsError, ReadError
        If arrays are not complex, or do not match.

    References
    ----------
    .. [1] Yoo et al., "Time-dependent deep image prior for dynamic MRI", IEEE Trans. Med. Imaging 40
           (2021) 3337.
    .. [2] Vornehm et al., "Motion-guided deep image prior for cardiac MRI", Magn. Reson. Med. (2025),
           arXiv:2412.04639 (deformation).

    Examples
    --------
    >>> import napari_dip as dip
    >>> heart = dip.datasets.cardiac_cine(side=48, coils=4, beats=(6,))
    >>> images = dip.reconstruct_mri(heart.kspace, heart.maps, quality="fast")
    >>> images.shape, images.dtype
    ((6, 48, 48), dtype('complex64'))
    """
    recipe = Recipe.preset("dynamic-mri-breathing" if breathing else "dynamic-mri")
    if trajectory is not None:
        recipe = recipe.replace(operator={"kind": "radial"})
    return _reconstruct(recipe, kspace, coil_maps, trajectory, options)


def correct_motion(
    kspace: Any, coil_maps: Any = None, *, shots: Any = None, **options: Unpack[Options]
) -> Any:
    """Reconstruct one image of a body that moved between the shots of its k-space.

    The rotation and the shift in each shot are measured: `Result.motion` has them, with `full_output`.

    Parameters
    ----------
    kspace : complex array or path
        (shots, coils, Y, X): the lines of each shot, with 0 everywhere else; centered. Or, with `shots`,
        (coils, Y, X).
    coil_maps : complex array or path, optional
        Coil sensitivities, (coils, Y, X), which should reach beyond the body. Default: estimated from
        the center of k-space, which motion blurs.
    shots : (Y,) array of int, optional
        Number of the shot in which each line of k-space was measured; that of lines that were not does
        not matter.
    **options
        As for `reconstruct_mri`.

    Returns
    -------
    image : (Y, X) complex64
        As the body was in the shot that has the center of k-space. A `Result` with `full_output`, or for
        a path; its channels are the real and the imaginary part.

    Raises
    ------
    ObservationError, SettingsError, ReadError
        If arrays are not complex, or do not match; or if there is only one shot.

    References
    ----------
    .. [1] Cordero-Grande et al., "Sensitivity encoding for aligned multishot magnetic resonance
           reconstruction", IEEE Trans. Comput. Imaging 2 (2016) 266 (the model).

    Examples
    --------
    >>> import napari_dip as dip
    >>> head = dip.datasets.moving_head(side=48, coils=4, shots=6)
    >>> image = dip.correct_motion(head.kspace, head.maps, quality="fast")
    >>> image.shape, image.dtype
    ((48, 48), dtype('complex64'))
    """
    if shots is not None:
        if is_path(kspace):
            raise SettingsError("shots needs k-space as an array: load the file first")
        kspace = _split_shots(np.asarray(kspace), np.asarray(shots))
    return _reconstruct(Recipe.preset("mri-motion"), kspace, coil_maps, None, options)


def _split_shots(kspace: NDArray[Any], shots: NDArray[Any]) -> NDArray[Any]:
    """K-space (coils, Y, X) with the lines of each shot apart, (shots, coils, Y, X)."""
    if kspace.ndim != 3 or shots.shape != kspace.shape[1:2]:
        raise ObservationError(
            f"k-space is {kspace.shape} and shots {shots.shape}: (coils, Y, X), and one number for each"
            " line (Y), are needed"
        )
    measured = (kspace != 0).any(axis=(0, 2))
    is_in = shots == np.unique(shots[measured])[:, None]
    return np.where(is_in[:, None, :, None], kspace, 0)


def observe_kspace(kspace: Any, *, coil_maps: Any, mask: Any) -> Observation:
    """Return the observation of k-space, see `reconstruct_mri`."""
    from napari_dip.io.mri.arrays import kspace_image

    if is_path(kspace):
        observation = read(kspace)
    else:
        observation = kspace_image(np.asarray(kspace), "", 0).to_observation()
    if mask is not None:
        observation = observation.with_mask(load_array(mask))
    if coil_maps is not None:
        observation = add_auxiliary(observation, "coil_maps", coil_maps)
    return observation


def _reconstruct(recipe: Recipe, kspace: Any, coil_maps: Any, trajectory: Any, options: Options) -> Any:
    """The images of k-space, wrapped as it was given."""
    if unused := [name for name in _NOT_FOR_KSPACE if options.get(name) is not None]:
        raise SettingsError(
            f"{unused[0]} does not apply to k-space, whose axes and noise model are fixed"
        )
    from_path = is_path(kspace)
    observation = observe_kspace(kspace, coil_maps=coil_maps, mask=options.get("mask"))
    if trajectory is not None:
        places = load_array(trajectory)
        observation = observation.with_auxiliary("trajectory", places, axes="TCYX"[-places.ndim :])
    if (sigma := options.get("sigma")) is not None:
        if not is_number(sigma):
            raise SettingsError("sigma has to be one number for k-space: it has one noise level")
        recipe = recipe.replace(noise={"sigma": float(np.asarray(sigma))})

    def wrap(result: Result, values: NDArray[Any]) -> Any:
        if from_path:
            return result
        real, imaginary = np.moveaxis(result.image, result.axes.index("C"), 0)
        return (real + 1j * imaginary).astype(np.complex64)

    return restore_observation(observation, wrap, recipe, options, keep_noise=True)
