"""Motion: heads that move between shots, and movies that drift and turn, against classical methods.

Run as ``python benchmarks/motion.py [head] [real] [movie] [--seeds 1 2] [--accelerations 2 4] [--motion
jumps drift none] [--side 128] [--threads 1]``. The heads are simulated, drawn at each place on a finer
grid. "real" is a scan of a head that did not move, whose image is moved by splines. "poses": r.m.s.
error of rotation and shift, after a common pose is taken out. "PSNR": of the magnitude, after the result
is registered to the truth by one pose. Rivals: SENSE by conjugate gradients without correction, with the
poses that were found, and with the true poses, and the Tikhonov weight that the truth chooses; the prior
with the true poses. Movies are drawn from a micrograph by splines on a finer grid; the rival registers
frame by frame (StackReg, rigid, against the frame before or the first), averages, and restores the mean.
It needs the package pystackreg. Nothing was tuned on the seeds that are reported.
"""

import argparse
import time
from unittest.mock import patch

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter
from scipy.optimize import minimize
from skimage.io import imread

import napari_dip as dip
from common import DATA, conditions, header, psnr, row
from napari_dip import Observation, Recipe, restore
from napari_dip.core.fit_data import FitData
from napari_dip.core.torch_import import torch
from napari_dip.datasets import MovingHead, moving_head
from napari_dip.datasets._kspace import random_lines, to_kspace
from napari_dip.io.mri.arrays import kspace_image
from napari_dip.physics.linalg import conjugate_gradient
from napari_dip.physics.operators import rigid_motion, sense_motion
from napari_dip.physics.operators._rigid_motion import MovingOperator
from napari_dip.physics.operators.sense import Sense
from napari_dip.physics.operators.sense_motion import SenseMotionOperator

WEIGHTS = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)


def main() -> None:
    """Print some rows for each scene."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=["head", "real", "movie"], default=["head"])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--accelerations", type=float, nargs="*", default=[2, 4])
    parser.add_argument("--motion", nargs="*", default=["jumps"])
    parser.add_argument("--order", nargs="*", default=["interleaved"])
    parser.add_argument("--noises", type=float, nargs="*", default=[25, 75])
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(conditions(options.threads), flush=True)
    header("scene", "found")
    for seed in options.seeds:
        if "head" in options.parts:
            for acceleration in options.accelerations:
                for motion in options.motion:
                    for order in options.order:
                        head = moving_head(
                            seed,
                            side=options.side,
                            acceleration=acceleration,
                            motion=motion,
                            order=order,
                        )
                        name = f"head {motion} {order} R={acceleration:g} seed {seed}"
                        compare_heads(name, head, moves=motion != "none")
        if "real" in options.parts:
            for acceleration in options.accelerations:
                scan = moving_scan(seed, acceleration)
                compare_heads(f"scan R={acceleration:g} seed {seed}", scan, moves=True)
        if "movie" in options.parts:
            for noise in options.noises:
                compare_movies(seed, noise, options.side)


def moving_scan(seed, acceleration, shots=16, sides=(128, 100), size=5):
    """Return the middle of the k-space of a real scan, whose image moves between shots."""
    rng = np.random.default_rng(seed)
    kspace = np.load(DATA / "mri" / "cartesian_ksp_8coil_230x180_c64.npy")
    inside = [
        slice((full - side) // 2, (full + side) // 2)
        for full, side in zip(kspace.shape[1:], sides, strict=True)
    ]
    kspace = kspace[:, inside[0], inside[1]]
    data = FitData.from_observation(kspace_image(kspace, "", 0).to_observation(), keep_times=True)
    still = Sense().build(data)
    maps, observed = Sense().find_maps(data)[0].numpy(), torch.from_numpy(data.observed.copy())
    right = still.adjoint(torch.from_numpy(np.nan_to_num(data.y)))
    x = conjugate_gradient(lambda u: still.adjoint(observed * still(u)) + 0.01 * u, right, 12).numpy()
    truth = (x[0] + 1j * x[1]) / np.hypot(*x).max()
    motion = rng.uniform(-size, size, (shots, 3))
    rows = np.flatnonzero(random_lines(1, sides[0], acceleration, 16, rng)[0])
    center = [np.count_nonzero(np.abs(rows[s::shots] - sides[0] // 2 + 0.5) < 4) for s in range(shots)]
    motion[int(np.argmax(center))] = 0
    y, x = np.mgrid[: sides[0], : sides[1]] - (np.array(sides)[:, None, None] - 1) / 2
    measured = np.zeros((shots, *kspace.shape), np.complex64)
    for shot, (angle, down, across) in enumerate(motion):
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        places = [
            cos * (y - down) - sin * (x - across) + (sides[0] - 1) / 2,
            sin * (y - down) + cos * (x - across) + (sides[1] - 1) / 2,
        ]
        moved = [map_coordinates(part, places, order=5) for part in (truth.real, truth.imag)]
        lines = rows[shot::shots]
        real, imaginary = rng.normal(0, 0.01, (2, *kspace.shape))
        whole = to_kspace(maps * (moved[0] + 1j * moved[1])) + real + 1j * imaginary
        measured[shot, :, lines] = whole[:, lines].swapaxes(0, 1)
    return MovingHead(truth, maps, measured, motion)


def compare_heads(name, head, *, moves):
    """Print what is found for one head."""
    observation = kspace_image(head.kspace, "", 0).to_observation()
    maps = np.concatenate((head.maps.real, head.maps.imag))
    observation = observation.with_auxiliary("coil_maps", maps, axes="CYX")
    recipe = Recipe.preset("mri-motion")
    start = time.monotonic()
    result = restore(observation, recipe)
    seconds = time.monotonic() - start
    turn, shift = pose_errors(result.motion, head.motion)
    row(name, f"poses {turn:.3f} degrees, {shift:.3f} pixels; {result.provenance.operator.note}")
    row(name, f"prior, poses found: {score(complex_of(result), head):.2f} dB in {seconds:.0f} s")
    row(name, result.assessment)
    for label, poses in (("none", 0 * head.motion), ("found", result.motion), ("true", head.motion)):
        row(name, f"SENSE, poses {label}: {sense(head, observation, poses):.2f} dB")
    result = restore_with(head.motion, sense_motion, observation, recipe)
    row(name, f"prior, true poses: {score(complex_of(result), head):.2f} dB")
    if moves:
        result = restore_with(0 * head.motion, sense_motion, observation, recipe)
        row(name, f"prior, no correction: {score(complex_of(result), head):.2f} dB")


def restore_with(motion, module, observation, recipe):
    """Restore with poses that are given."""
    poses = to_poses(motion)
    with (
        patch.object(module, "search_poses", lambda levels, times: (poses, torch.ones(times))),
        patch.object(module, "relative_poses", lambda poses, *_: poses),
        patch.object(MovingOperator, "adapt", lambda *_: None),
    ):
        return restore(observation, recipe)


def to_poses(motion):
    """Return motion in degrees and pixels as an operator has it."""
    return torch.tensor(np.column_stack((np.deg2rad(motion[:, 0]), motion[:, 1:])), dtype=torch.float32)


def complex_of(result):
    """Return a result as complex numbers."""
    return result.image[0] + 1j * result.image[1]


def sense(head, observation, motion):
    """The best of several weights, as the truth chooses."""
    operator = SenseMotionOperator(to_poses(motion), torch.from_numpy(head.maps), 1.0)
    observed = torch.from_numpy(observation.observed[:, :, 0].copy())
    y = torch.from_numpy(np.nan_to_num(observation.y[:, :, 0]))
    found = []
    for weight in WEIGHTS:
        x = conjugate_gradient(
            lambda u: operator.adjoint(observed * operator(u)) + weight * u,  # noqa: B023
            operator.adjoint(observed * y),
            40,
        ).numpy()
        found.append(score(x[0] + 1j * x[1], head))
    return max(found)


def score(x, head):
    """The PSNR of the magnitude, after one pose."""
    operator = SenseMotionOperator(torch.zeros((1, 3)), torch.from_numpy(head.maps), 1.0)
    truth = np.abs(head.truth)
    parts = torch.from_numpy(np.stack((x.real, x.imag)).astype(np.float32))

    def negative(pose):
        operator.set_poses(torch.tensor([[pose[0] / 50, pose[1], pose[2]]], dtype=torch.float32))
        moved = operator.from_field(operator.move(operator.to_field(parts))[0]).numpy()
        return -psnr(truth, np.hypot(*moved), truth.max())

    return max(psnr(truth, np.abs(x), truth.max()), -registered(negative))


def registered(negative):
    """Return the smallest value over poses."""
    simplex = np.array([[0, 0, 0], [0.3, 0, 0], [0, 0.3, 0], [0, 0, 0.3]])
    options = {"initial_simplex": simplex, "maxfev": 120}
    return minimize(negative, np.zeros(3), method="Nelder-Mead", options=options).fun


def pose_errors(found, truth):
    """R.m.s. errors in degrees and in pixels (of both axes together), after a common pose."""
    difference = found - truth
    angle, common = np.deg2rad(truth[:, 0]), []
    matrix = np.concatenate([[[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]] for a in angle])
    shift = difference[:, 1:].ravel()
    common = np.linalg.lstsq(matrix, shift, rcond=None)[0]
    return np.std(difference[:, 0]), np.sqrt(np.mean((shift - matrix @ common) ** 2))


def compare_movies(seed, noise, side):
    """Print what is found for one movie."""
    movie, truth, motion = simulate_movie(seed, noise, side)
    name = f"movie noise {noise:g} seed {seed}"
    recipe = Recipe.preset("coadd-rotation")
    observation = Observation.from_array(movie, axes="TYX")
    start = time.monotonic()
    result = restore(observation, recipe)
    seconds = time.monotonic() - start
    turn, shift = pose_errors(result.motion, motion)
    mean = result.observation.y.squeeze()
    row(name, f"poses {turn:.3f} degrees, {shift:.3f} pixels")
    row(
        name,
        f"poses found: mean {inner(mean, truth):.2f} dB, restored {inner(result.image, truth):.2f} dB"
        f" in {seconds:.0f} s; {result.assessment}",
    )
    known = restore_with(motion, rigid_motion, observation, recipe)
    row(name, f"true poses: restored {inner(known.image, truth):.2f} dB")
    from pystackreg import StackReg

    for reference in ("first", "previous"):
        aligned = StackReg(StackReg.RIGID_BODY).register_transform_stack(movie, reference=reference)
        mean = aligned.mean(axis=0)
        restored = dip.denoise(mean.astype(np.float32))
        row(
            name,
            f"StackReg ({reference}): mean {inner(mean, truth):.2f} dB,"
            f" restored {inner(restored, truth):.2f} dB",
        )


def inner(image, truth):
    """The PSNR of the middle, which all frames show."""
    edge = slice(truth.shape[0] // 8, -truth.shape[0] // 8)
    return psnr(truth[edge, edge], np.asarray(image)[edge, edge])


def simulate_movie(seed, noise, side, frames=20, finer=2):
    """A micrograph that drifts by 6 pixels and turns by 6 degrees, with jitter."""
    rng = np.random.default_rng(seed)
    time_ = np.linspace(0, 1, frames)[:, None]
    motion = time_ * [6, 6, -5] + rng.normal(0, 0.3, (frames, 3))
    motion[0] = 0
    image = imread(DATA / "microscopy" / "maize_clsm.tif").astype(float)
    image = 255 * (image - image.min()) / (np.percentile(image, 99.9) - image.min())
    coefficients, middle = spline_filter(image, 3), (np.array(image.shape) - 1) / 2
    place = (np.arange(side * finer) + 0.5) / finer - side / 2
    y, x = np.meshgrid(place, place, indexing="ij")
    clean = []
    for angle, down, across in np.column_stack((np.deg2rad(motion[:, 0]), motion[:, 1:])):
        cos, sin = np.cos(angle), np.sin(angle)
        rows = finer * (cos * (y - down) - sin * (x - across)) + middle[0]
        columns = finer * (sin * (y - down) + cos * (x - across)) + middle[1]
        fine = map_coordinates(coefficients, [rows, columns], order=3, prefilter=False, mode="reflect")
        clean.append(fine.reshape(side, finer, side, finer).mean(axis=(1, 3)))
    clean = np.array(clean)
    return (clean + rng.normal(0, noise, clean.shape)).astype(np.float32), clean[0], motion


if __name__ == "__main__":
    main()
