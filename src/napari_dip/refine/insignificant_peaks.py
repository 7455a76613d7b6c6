"""Small peaks of a nearly empty image that the data do not confirm."""

from __future__ import annotations

from napari_dip.core.torch_import import torch
from napari_dip.physics.filters import gaussian_blur
from napari_dip.physics.problem import Problem
from napari_dip.refine.compact_sources import max_filter, source_weights, white_top_hat
from napari_dip.refine.residual_return import add_source_flux, matched_sums, noise_of_pixels, noisy_scene

PEAK_PX = 7  # largest width of a peak
TEMPLATE_SIGMA_PX = 1.5  # of the Gaussian within which a peak is compared with the data
MIN_SIGNIFICANCE = 4.5  # of a peak that stays [sigma]
SURROUNDINGS_PX = 9  # around an insignificant peak, where all that is not higher goes with it
PROTECTED_PX = 5  # around a significant one, which keeps its wings
RETURN_SIGMA_PX = 4.0  # of the Gaussian over which the flux of what goes is spread
MIN_SKY_SHARE = 0.05  # of a surrounding that is full of stars


def correct_sources(x: torch.Tensor, problem: Problem) -> tuple[torch.Tensor, bool]:
    """Return the scene `x` (C, H, W) with the missed flux of its sources, and without peaks that the
    data do not confirm; and whether it has sources, without which it stays as it is.
    """
    if source_weights(x, noisy_scene(problem, x)[1], problem.observed[0]) is None:
        return x, False
    flat = flatten_insignificant_peaks(x, problem)  # so that no flux is added to them
    corrected = add_source_flux(flat, problem)
    return (flat if corrected is None else flatten_insignificant_peaks(corrected, problem)), True


def flatten_insignificant_peaks(x: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Return `x` without the small peaks and dips that the data do not confirm.

    Where noise adds up by chance, an estimate shows a faint peak. It is far lower than the noise, but
    the restored sky is so smooth that it looks like a star. So each peak is the template of a matched
    filter, which says how significant the flux is that the data have in its shape. Peaks of less than
    4.5 sigmas are replaced by their surroundings, over whose sky their flux is spread. Noise exceeds
    that in about three of a million places.

    Each pixel depends on others within 42 pixels, so that parts of an image can be processed alone.

    Parameters
    ----------
    x : (C, H, W) tensor
        The scene, which is mostly empty; the operator is the identity.
    problem : Problem
        The data; where nothing is observed all peaks stay.
    """
    noise, known = noise_of_pixels(x, problem), problem.uncensored[0].to(x)
    flat, sky, near_source = x, torch.ones_like(x), torch.zeros_like(x, dtype=torch.bool)
    for sign in (1, -1):
        peaks = white_top_hat(sign * flat, PEAK_PX)
        template = peaks / noise
        missed = torch.where(known > 0, sign * (problem.y[0] - flat), 0.0) / noise
        product, power = matched_sums(missed + template, template, known, TEMPLATE_SIGMA_PX)
        is_significant = product >= MIN_SIGNIFICANCE * power.sqrt()
        is_peak = (peaks == max_filter(peaks, 3)) & (peaks > 0)
        low = max_filter(torch.where(is_peak & ~is_significant, peaks, 0.0), SURROUNDINGS_PX)
        high = max_filter(torch.where(is_peak & is_significant, peaks, 0.0), PROTECTED_PX)
        goes = (peaks <= low) & (high <= low) & ~near_source
        flat = flat - sign * torch.where(goes, peaks, 0.0)
        if sign == 1:
            sources = (is_peak & is_significant).to(x)
            near_source = max_filter(sources, PROTECTED_PX) > 0
            sky = 1 - max_filter(sources, PEAK_PX)
    share = gaussian_blur(sky, RETURN_SIGMA_PX).clamp(min=MIN_SKY_SHARE)
    return flat + sky * gaussian_blur((x - flat) / share, RETURN_SIGMA_PX)
