"""Magnetic resonance: the simulated cine, k-space files, and what comes out of both."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_dip import Recipe, read, reconstruct_mri, restore
from napari_dip.core.axes import ChannelLayout
from napari_dip.core.errors import ObservationError, ReadError
from napari_dip.core.fit_data import FitData
from napari_dip.datasets._cardiac_cine import cardiac_cine
from napari_dip.datasets._kspace import to_image, to_kspace
from napari_dip.physics.noise.kspace import KSpace
from napari_dip.physics.operators.radial import Radial
from napari_dip.physics.operators.sense import Sense
from napari_dip.prior.networks._graph import nearest_frames
from napari_dip.prior.networks.graph import GraphPrior
from napari_dip.run.batch.job import Job

SMALL = {"side": 48, "beats": (4, 4), "coils": 4, "acceleration": 4}


def parts(array):
    return np.concatenate((array.real, array.imag), axis=-3)


@pytest.fixture(scope="module")
def kspace_of(make_observation):
    """Give the k-space of a cine, with the coil maps if asked for."""

    def kspace_of(cine, *, maps=False):
        y = np.where(cine.sampled[:, None, :, None], parts(cine.kspace), np.nan)
        observation = make_observation(y, "TCYX")
        return (
            observation.with_auxiliary("coil_maps", parts(cine.maps), axes="CYX")
            if maps
            else observation
        )

    return kspace_of


@pytest.fixture(scope="module")
def small_fit():
    """Settings of a fit that takes some seconds and restores the heart fairly well."""
    return {
        "network.channels": 16,
        "network.depth": 3,
        "solver.max_steps": 400,
        "compute.device": "cpu",
        "compute.precision": "float32",
    }


def with_times(observation):
    return FitData.from_observation(observation, keep_times=True)


def magnitude(result):
    return np.hypot(result.image[:, 0], result.image[:, 1])


def error(x, truth):
    """The r.m.s. error of magnitudes, after one scale, in parts of the truth's."""
    x, truth = np.abs(x), np.abs(truth)
    scale = (x * truth).sum() / (x * x).sum()
    return np.sqrt(np.mean((scale * x - truth) ** 2) / np.mean(truth**2))


@pytest.fixture(scope="module")
def heart():
    return cardiac_cine(0, **SMALL)


class TestCine:
    def test_the_transform_is_unitary_and_comes_back(self):
        image = np.random.default_rng(0).normal(size=(2, 9, 12)) + 0j
        assert np.isclose(np.linalg.norm(to_kspace(image)), np.linalg.norm(image))
        np.testing.assert_allclose(to_image(to_kspace(image)), image, atol=1e-12)

    def test_its_k_space_is_that_of_its_truth_but_for_noise_and_a_finer_grid(self):
        one = cardiac_cine(1, **SMALL | {"acceleration": 1})
        assert one.sampled.all()
        seen = to_kspace(one.truth[:, None] * one.maps)
        apart = np.sqrt(np.mean(np.abs(one.kspace - seen) ** 2) / np.mean(np.abs(seen) ** 2))
        noise = 0.01 * np.sqrt(2) / np.sqrt(np.mean(np.abs(seen) ** 2))
        assert noise < apart < noise + 0.05

    def test_lines_are_as_many_as_asked_for_and_those_in_the_middle_always(self, heart):
        assert (heart.sampled.sum(axis=1) == 12).all()
        assert heart.sampled[:, 22:26].all()
        assert not heart.kspace[
            ~np.broadcast_to(heart.sampled[:, None, :, None], heart.kspace.shape)
        ].any()

    def test_the_ventricle_beats_and_a_shorter_beat_moves_less(self):
        strokes = [
            np.ptp(cardiac_cine(0, **SMALL | {"beats": b}).area[: b[0]]) for b in ((4, 4), (2, 6))
        ]
        assert strokes[1] < 0.8 * strokes[0]

    def test_the_heart_moves_with_each_breath_and_the_outside_does_not(self):
        still, breathing = (cardiac_cine(0, **SMALL | {"beats": (18,), "breathing": b}) for b in (0, 4))
        assert np.ptp(still.center[:, 0]) == 0
        assert breathing.center[0] == pytest.approx(still.center[0])
        assert breathing.center[-1] - still.center[-1] == pytest.approx((4, 0), abs=0.02)
        np.testing.assert_allclose(breathing.area, still.area, rtol=0.03)
        rows, columns = (slice(round(at) - 2, round(at) + 3) for at in still.center[-1])
        moved = np.abs(breathing.truth[-1, rows.start + 4 : rows.stop + 4, columns])
        np.testing.assert_allclose(moved, np.abs(still.truth[-1, rows, columns]), atol=0.05)
        border = (-1, slice(4), slice(None))
        np.testing.assert_allclose(breathing.truth[border], still.truth[border], atol=0.02)


class TestSense:
    def test_it_is_what_the_coils_measure(self, kspace_of, heart):
        operator = Sense().build(with_times(kspace_of(heart, maps=True)))
        scene = np.stack((heart.truth.real, heart.truth.imag), axis=1).reshape(16, 48, 48)
        seen = operator(torch.from_numpy(scene)).numpy()
        np.testing.assert_allclose(seen, parts(to_kspace(heart.truth[:, None] * heart.maps)), atol=1e-5)

    def test_estimated_maps_are_those_of_the_coils_up_to_a_common_phase(self, kspace_of, heart):
        given, found = (
            Sense().build(with_times(kspace_of(heart, maps=maps))).maps.numpy() for maps in (True, False)
        )
        body = np.fft.ifftshift(np.abs(heart.truth[0]) > 0.2)
        similarity = np.abs((given.conj() * found).sum(axis=0))[body]  # 1 where both point the same way
        assert similarity.mean() > 0.97

    def test_an_odd_number_of_channels_is_refused(self, heart, make_data):
        odd = make_data(parts(heart.kspace)[:, :-1], "TCYX", keep_times=True)
        with pytest.raises(ObservationError, match="each coil needs two"):
            Sense().build(odd)

    def test_maps_of_another_size_are_refused(self, heart, kspace_of):
        maps = parts(heart.maps)[:, ::2]
        observation = kspace_of(heart).with_auxiliary("coil_maps", maps, axes="CYX")
        with pytest.raises(ObservationError, match="one map for each coil"):
            Sense().build(with_times(observation))


class TestRadial:
    @pytest.fixture(autouse=True)
    def _package(self):
        pytest.importorskip("torchkbnufft")

    def spokes_of(self, one, spokes=16):
        """The samples of `one`'s truth along golden spokes: the Fourier sums themselves, in float64."""
        frames, side, _ = one.truth.shape
        along = np.arange(2 * side) / (2 * side) - 0.5
        angles = np.pi * (np.sqrt(5) - 1) / 2 * np.arange(frames * spokes).reshape(frames, spokes, 1)
        rows, columns = np.sin(angles) * along, np.cos(angles) * along
        place = np.arange(side) - side // 2
        down, across = (np.exp(-2j * np.pi * k[..., None] * place) for k in (rows, columns))
        seen = one.truth[:, None] * one.maps
        return np.einsum("tsry,tsrx,tkyx->tksr", down, across, seen, optimize=True) / side

    def test_it_is_the_fourier_sum_at_the_places_of_the_spokes(self, make_data, heart):
        samples = self.spokes_of(heart)
        maps = {"coil_maps": parts(heart.maps)}
        operator = Radial().build(make_data(parts(samples), "TCYX", keep_times=True, auxiliary=maps))
        scene = np.stack((heart.truth.real, heart.truth.imag), axis=1).reshape(16, 48, 48)
        seen = operator(torch.from_numpy(scene)).numpy()
        assert np.linalg.norm(seen - parts(samples)) < 2e-3 * np.linalg.norm(samples)

    def test_a_trajectory_that_is_given_is_followed(self, make_data, heart):
        samples = parts(self.spokes_of(heart))

        def build(**auxiliary):
            return Radial().build(make_data(samples, "TCYX", keep_times=True, auxiliary=auxiliary))

        golden = build()
        places = golden.places.reshape(8, 2, 16, 96).numpy() / (2 * np.pi)
        torch.testing.assert_close(build(trajectory=places).places, golden.places)
        with pytest.raises(ObservationError, match="in cycles per pixel"):
            build(trajectory=9 * places)
        with pytest.raises(ObservationError, match="for each sample of each frame"):
            build(trajectory=places[..., 1:])

    def test_few_spokes_are_restored_better_than_by_gridding_each_frame(self, make_data, small_fit):
        small = cardiac_cine(0, side=32, beats=(4,), coils=4)
        samples = parts(self.spokes_of(small))
        noisy = samples + np.random.default_rng(0).normal(0, 0.01, samples.shape)
        recipe = Recipe.preset("dynamic-mri").with_settings(
            {**small_fit, "operator.kind": "radial", "network.depth": 2}
        )
        result = restore(noisy, recipe, axes="TCYX")
        gridded = []
        for frame in noisy:
            operator = Radial().build(make_data(frame, "CYX", keep_times=True))
            y = torch.from_numpy(frame[None]).float()
            gridded.append(np.hypot(*operator.initial_estimate(y, torch.ones_like(y).bool()).numpy()))
        assert error(magnitude(result), small.truth) < 0.8 * error(np.array(gridded), small.truth)


@pytest.mark.parametrize("noise", [0.01, 0.04])
@pytest.mark.parametrize("beats", [(4, 4), (1,)])
def test_the_noise_of_k_space_is_measured(kspace_of, noise, beats):
    one = cardiac_cine(2, **SMALL | {"noise": noise, "beats": beats, "side": 96})
    sigma = KSpace().likelihood(with_times(kspace_of(one))).properties.sigma
    ratio = np.median(sigma) / noise
    assert 0.8 < ratio < (1.3 if len(beats) > 1 or noise > 0.03 else 2.5)


@pytest.fixture(scope="module")
def result(heart, kspace_of, small_fit):
    recipe = Recipe.preset("dynamic-mri").with_settings(small_fit)
    return restore(kspace_of(heart), recipe)


class TestRestoration:
    def test_it_is_complex_and_keeps_its_frames(self, result, heart):
        assert (result.image.shape, result.axes) == ((8, 2, 48, 48), "TCYX")
        assert result.header.channels == ("real", "imaginary")
        assert result.residual.shape == parts(heart.kspace).shape
        assert not result.inpainted.any()

    def test_it_is_nearer_to_the_truth_than_zero_filling(self, result, heart):
        zeros = (to_image(heart.kspace) * heart.maps.conj()).sum(axis=1)
        # 0.370 to 0.375 of it with AVX2 and AVX-512.
        assert error(magnitude(result), heart.truth) < 0.5 * error(zeros, heart.truth)

    def test_its_magnitude_is_a_result_of_its_own(self, result):
        seen = result.magnitude()
        assert (seen.axes, seen.image.shape, seen.inpainted.shape) == ("TYX", (8, 48, 48), (8, 48, 48))
        np.testing.assert_array_equal(seen.image, magnitude(result))

    @pytest.mark.parametrize("kind", ["low-rank", "deforming", "time-dependent", "graph"])
    def test_networks_that_know_the_time_restore_it(self, kspace_of, small_fit, heart, kind):
        steps = {"solver.max_steps": 800 if kind == "time-dependent" else 400}
        early = {"network.pretrain_steps": 150, "network.frozen_steps": 50} if kind == "graph" else {}
        recipe = Recipe.preset("dynamic-mri").with_settings(
            {**small_fit, "network.kind": kind, **early, **steps}
        )
        result = restore(kspace_of(heart), recipe)
        zeros = (to_image(heart.kspace) * heart.maps.conj()).sum(axis=1)
        # 0.30 to 0.38 of it with AVX2 and AVX-512.
        assert error(magnitude(result), heart.truth) < 0.6 * error(zeros, heart.truth)

    def test_deformation_suits_a_heart_in_a_chest_that_breathes(self, kspace_of, small_fit):
        one = cardiac_cine(0, **SMALL | {"side": 32, "beats": (6, 8, 6), "breathing": 4})
        errors = [
            error(
                magnitude(
                    restore(kspace_of(one, maps=True), Recipe.preset(preset).with_settings(small_fit))
                ),
                one.truth,
            )
            for preset in ("dynamic-mri", "dynamic-mri-breathing")
        ]
        assert errors[1] < 0.85 * errors[0]  # 0.70 and 0.75 after 600 steps


def save_ismrmrd(path, one, trajectory="cartesian"):
    """What a scanner writes of `one`: readouts twice as long as wide, one of noise, one line twice."""
    ismrmrd = pytest.importorskip("ismrmrd")
    frames, coils, height, width = one.kspace.shape
    rows = (tag("matrixSize", 2 * width, height), tag("fieldOfView_mm", 2 * 2.5 * width, 2.5 * height))
    seen = (tag("matrixSize", width, height), tag("fieldOfView_mm", 2.5 * width, 2.5 * height))
    xml = f"""<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
      <experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz>
      </experimentalConditions><encoding><encodedSpace>{"".join(rows)}</encodedSpace>
      <reconSpace>{"".join(seen)}</reconSpace><encodingLimits><kspace_encoding_step_1>
      <minimum>0</minimum><maximum>{height - 1}</maximum><center>{height // 2}</center>
      </kspace_encoding_step_1></encodingLimits><trajectory>{trajectory}</trajectory></encoding>
      </ismrmrdHeader>"""
    wide = np.pad(to_image(one.kspace), ((0, 0), (0, 0), (0, 0), (width // 2, width // 2)))
    kspace = to_kspace(wide).astype(np.complex64)
    dataset = ismrmrd.Dataset(str(path), "dataset")
    dataset.write_xml_header(xml.encode())
    lines = [(t, line) for t in range(frames) for line in np.flatnonzero(one.sampled[t])]
    for t, line in [*lines, lines[0]]:
        acquisition = ismrmrd.Acquisition.from_array(np.ascontiguousarray(kspace[t, :, line]))
        acquisition.center_sample = width
        acquisition.idx.kspace_encode_step_1, acquisition.idx.phase = line, t
        dataset.append_acquisition(acquisition)
    noise = ismrmrd.Acquisition.from_array(np.ones((coils, 2 * width), np.complex64))
    noise.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    dataset.append_acquisition(noise)
    dataset.close()


def tag(name, x, y):
    return f"<{name}><x>{x}</x><y>{y}</y><z>1</z></{name}>"


class TestGraph:
    def test_the_nearest_frames_are_those_of_the_same_phase(self):
        one = cardiac_cine(3, **SMALL | {"beats": (6, 6)})
        features = torch.from_numpy(parts(one.truth[:, None]))
        graph = nearest_frames(features, 2)
        assert graph[:, 0].tolist() == list(range(12))
        # One beat later or earlier, or where the heart is as much contracted on its way back.
        areas = one.area[graph.numpy()]
        assert np.abs(np.diff(areas, axis=1)).max() < 0.2 * np.ptp(one.area)

    @pytest.mark.parametrize("generator", ["shared", "own"])
    def test_stages_train_what_they_say(self, generator):
        settings = GraphPrior(
            generator=generator,
            channels=8,
            depth=2,
            channels_per_frame=4,
            pretrain_steps=1,
            frozen_steps=1,
            graph_interval=1,
        )
        network = settings.build(3, ChannelLayout(5, 2, 1))
        z = torch.rand(1, 3, 32 // settings.input_downsampling, 32 // settings.input_downsampling)

        def trained():
            network.zero_grad(set_to_none=True)
            network(z).square().mean().backward()
            return {
                name.split(".")[0]
                for name, weight in network.named_parameters()
                if weight.grad is not None
            }

        first, refining = {"generators", "head"}, {"aggregate", "update", "last"}
        assert (trained(), trained(), trained()) == (first, refining, first | refining)


class TestFiles:
    def test_npy_and_npz_are_read(self, heart, tmp_path):
        np.save(tmp_path / "k.npy", heart.kspace)
        np.savez(tmp_path / "k.npz", kspace=heart.kspace, coils=heart.maps)
        for name in ("k.npy", "k.npz"):
            found = read(tmp_path / name)
            assert (found.axes, found.y.shape) == ("TCYX", (8, 8, 1, 48, 48))
            np.testing.assert_array_equal(np.nan_to_num(found.y[:, :, 0]), parts(heart.kspace))
            np.testing.assert_array_equal(found.observed[:, 0, 0, :, 5], heart.sampled)
        maps = read(f"{tmp_path / 'k.npz'}[coils]")
        np.testing.assert_array_equal(maps.y[0, :, 0], parts(heart.maps))

    def test_k_space_is_not_taken_for_coil_maps(self, heart, tmp_path):
        path = tmp_path / "k.npz"
        np.savez(path, kspace=heart.kspace[0], coils=heart.maps)
        with pytest.raises(
            ReadError, match=r"the first array is the k-space .* such as 'k.npz\[coils\]'"
        ):
            reconstruct_mri(path, path)
        job = Job((str(path),), "out.fits", "{}", auxiliary=(("coil_maps", str(path)),))
        with pytest.raises(ReadError, match="k-space itself"):
            job.observation()
        with pytest.raises(ObservationError, match="the image is coil maps: choose the k-space"):
            reconstruct_mri(f"{path}[coils]")
        named = replace(job, auxiliary=(("coil_maps", f"{path}[coils]"),)).observation()
        np.testing.assert_array_equal(named.auxiliary["coil_maps"][0, :, 0], parts(heart.maps))

    def test_hdf5_is_read(self, heart, tmp_path):
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "k.h5", "w") as file:
            file["kspace"] = heart.kspace[0]
        assert read(tmp_path / "k.h5").y.shape == (1, 8, 1, 48, 48)

    def test_ismrmrd_is_read_on_its_grid_without_oversampling(self, heart, tmp_path):
        save_ismrmrd(tmp_path / "scan.h5", heart)
        found = read(tmp_path / "scan.h5")
        assert (found.axes, found.y.shape) == ("TCZYX", (8, 8, 1, 48, 48))
        expected = np.where(heart.sampled[:, None, :, None], parts(heart.kspace), np.nan)
        np.testing.assert_allclose(found.y[:, :, 0], expected, atol=1e-5)
        assert found.header.pixel_size["X"] == (2.5, "mm")

    def test_other_trajectories_are_refused(self, heart, tmp_path):
        save_ismrmrd(tmp_path / "scan.h5", heart, trajectory="spiral")
        with pytest.raises(ReadError, match="its samples are spiral"):
            read(tmp_path / "scan.h5")

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"data": np.ones(3)}, "has no array 'kspace'"),
            ({"kspace": np.ones((4, 9, 9))}, "has to be complex"),
        ],
    )
    def test_what_is_no_k_space_is_refused(self, tmp_path, arrays, message):
        np.savez(tmp_path / "k.npz", **arrays)
        with pytest.raises(ReadError, match=message):
            read(tmp_path / "k.npz")

    def test_pickles_are_refused(self, tmp_path):
        np.save(tmp_path / "k.npy", np.array([{"a": 1}], object), allow_pickle=True)
        with pytest.raises(ReadError, match="cannot be read"):
            read(tmp_path / "k.npy")


def test_real_k_space_is_read(data_folder):
    path = data_folder / "mri" / "cartesian_ksp_8coil_230x180_c64.npy"
    if not path.is_file():
        pytest.skip(f"no k-space at {path}")
    found, kspace = read(path), np.load(path)
    assert found.y.shape == (1, 16, 1, 230, 180)
    np.testing.assert_array_equal(np.nan_to_num(found.y[0, :, 0]), parts(kspace))
