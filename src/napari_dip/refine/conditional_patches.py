"""Missing pixels, estimated from the known pixels of their patches and from similar patches."""

from __future__ import annotations

from collections.abc import Generator

from napari_dip.core.torch_import import torch
from napari_dip.physics.data_consistency import project_onto_data, rms_beyond_wiener
from napari_dip.physics.filters import gaussian_blur
from napari_dip.physics.problem import Problem
from napari_dip.refine._patch_search import PatchMean, find_similar, square_shifts
from napari_dip.refine.plane_patches import by_plane

PATCH_SIZE, COLOR_PATCH_SIZE = 6, 4
GROUP_SIZE = 60
SEARCH_RADIUS_PX = 10
STRIDE_PX = 4  # between two patches that have a group
# Noise of known and of missing pixels, over the r.m.s. distance of these from a linear estimate.
KNOWN_NOISE_FACTOR, MISSING_NOISE_FACTOR = 0.2, 20.0
MAX_ITERATIONS = 4
NEIGHBORHOOD_SIGMA_PX, MIN_KNOWN_SHARE = 2.0, 0.2  # of missing pixels, where nine tenths have more


def can_fill(problem: Problem, fitted: Problem) -> bool:
    """Return whether single pixels are missing, with known ones near them, and no large regions; and
    whether some were held out, when a part of the data was `fitted`.
    """
    missing = ~problem.observed[0]
    is_complete = not bool(missing.any())
    if not problem.operator.is_identity or is_complete or not bool(_held_out(problem, fitted).any()):
        return False
    known = gaussian_blur(problem.observed[0].float(), NEIGHBORHOOD_SIGMA_PX)
    return float((known[missing] > MIN_KNOWN_SHARE).float().mean()) > 0.9


def fill_missing(
    x: torch.Tensor, problem: Problem, fitted: Problem, *, is_single_fit: bool
) -> Generator[None, None, torch.Tensor]:
    """Estimate the missing pixels of the scene `x` (C, H, W), which was fitted to a part of the data.

    This is done as often as pixels that were held out get closer to the data. A single fit is then
    refined as often once more, with these pixels; those of an ensemble validate with them.
    """
    best = x = project_onto_data(fitted, x)
    lowest, number = _misfit(x, problem, fitted), 0
    for iteration in range(1, MAX_ITERATIONS + 1):
        x = yield from _fill_once(x, fitted)
        misfit = _misfit(x, problem, fitted)
        if misfit >= lowest:
            break
        best, lowest, number = x, misfit, iteration
    if is_single_fit:
        best = project_onto_data(problem, best)
        for _ in range(number):
            best = yield from _fill_once(best, problem)
    return best


def _held_out(problem: Problem, fitted: Problem) -> torch.Tensor:
    """The data that were observed and not fitted, (T, C, Y, X) bool."""
    return problem.observed & ~fitted.observed


def _misfit(x: torch.Tensor, problem: Problem, fitted: Problem) -> float:
    """The mean square error of the scene `x` in the data that were not fitted."""
    residual = (problem.y - problem.predicted(x))[_held_out(problem, fitted)]
    return float(residual.cpu().double().square().mean())


def _fill_once(x: torch.Tensor, problem: Problem) -> Generator[None, None, torch.Tensor]:
    """One estimate of all patches, in each plane; a scene that agrees with the data."""
    noise = rms_beyond_wiener(problem, x)
    if not noise:
        return x
    factors = torch.where(problem.observed[0], KNOWN_NOISE_FACTOR, MISSING_NOISE_FACTOR)
    fill = by_plane(lambda pilot, _, std: fill_from_patches(pilot, std), x, x, factors * noise, problem)
    filled = yield from fill
    return project_onto_data(problem, filled)


def fill_from_patches(pilot: torch.Tensor, std: torch.Tensor) -> Generator[None, None, torch.Tensor]:
    """Estimate each pixel from the known pixels of its patches.

    A generator that yields between two batches of groups.

    Parameters
    ----------
    pilot : (C, H, W) tensor
        The scene, as far as it is known, and an estimate elsewhere.
    std : (C, H, W) tensor
        How uncertain each pixel is, above 0: much more where it is only estimated.

    Returns
    -------
    (C, H, W) tensor

    Notes
    -----
    The similar patches of a group are taken to be samples of one normal distribution. Given the known
    pixels of a patch, it has the conditional mean, with a covariance of the noise that is diagonal and
    differs from patch to patch.

    References
    ----------
    .. [1] Yu, Sapiro, Mallat, "Solving inverse problems with piecewise linear estimators: from Gaussian
           mixture models to structured sparsity", IEEE Trans. Image Process. 21 (2012) 2481, eq. (8).
    .. [2] Aguerrebere et al., "A Bayesian hyperprior approach for joint image denoising and
           interpolation, with an application to HDR imaging", IEEE Trans. Comput. Imaging 3 (2017) 633.
    """
    size = PATCH_SIZE if len(pilot) == 1 else COLOR_PATCH_SIZE
    unit = std.max()  # data of 1e-20 squared would vanish
    image, variance = (pilot / unit).flatten(), (std / unit).square().flatten()
    filled = PatchMean(pilot.shape, size, pilot.device)
    shifts = square_shifts(SEARCH_RADIUS_PX)
    for corners in find_similar(image.reshape(pilot.shape), size, GROUP_SIZE, STRIDE_PX, shifts):
        pixels = filled.pixels(corners)
        patches = image[pixels].double()
        mean = patches.mean(dim=1, keepdim=True)
        centered = patches - mean
        covariance = centered.mT @ centered / (patches.shape[1] - 1)
        noisy = covariance[:, None] + torch.diag_embed(variance[pixels].double())
        factor = torch.linalg.cholesky(noisy)
        solution = torch.cholesky_solve(centered[..., None], factor)[..., 0]
        filled.add(pixels, (mean + solution @ covariance).float())
        yield
    return unit * filled.image()
