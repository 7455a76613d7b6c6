import re

import numpy as np
import pytest
from astropy.io import fits

import napari_dip as dip
from napari_dip import Recipe
from napari_dip.core.errors import ObservationError, SettingsError
from napari_dip.core.header import Header
from napari_dip.datasets import quantitative_head
from napari_dip.datasets._kspace import random_lines, sensitivities, to_kspace
from napari_dip.io import write
from napari_dip.physics.signals.t2 import EchoDecay
from napari_dip.run.api._mri import observe_kspace
from napari_dip.run.reselect import reselect_step
from napari_dip.run.restoration import iter_restoration

TIMES = (0.01, 0.02, 0.04, 0.08, 0.16)
Y, X = np.mgrid[:40, :44]
T2 = 0.03 + 0.002 * X
AMPLITUDE = 100.0 + Y


@pytest.fixture
def echoes():
    """(5, 40, 44): a T2 that grows along X, an amplitude that grows along Y, noise of 1."""
    times = np.array(TIMES)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 1, (5, 40, 44))
    return (AMPLITUDE * np.exp(-times / T2) + noise).astype(np.float32)


def test_maps_have_names_units_bounds_and_the_axes_of_the_image(echoes):
    found = dip.fit_maps(echoes, "t2", echo_times=TIMES, method="pixelwise")
    assert found.axes == "YX"
    assert found.units == {"T2": "s", "amplitude": ""}
    assert found.sigma == pytest.approx(1, rel=0.1)
    error = (found.maps["T2"] - T2) / found.std["T2"]
    assert np.sqrt(np.mean(error**2)) == pytest.approx(1, abs=0.1)
    assert np.sqrt(np.mean((found.maps["amplitude"] - AMPLITUDE) ** 2)) < 2
    assert found.chi_square.mean() == pytest.approx(1, abs=0.1)
    assert repr(found) == "ParameterMaps(T2 [s], amplitude; YX (40, 44))"


def test_a_wrong_equation_shows_in_chi_square(echoes):
    echoes += 30  # a background, which the equation does not have
    found = dip.fit_maps(echoes, "t2", echo_times=TIMES, sigma=1, method="pixelwise")
    assert np.median(found.chi_square) > 5


def test_a_stack_of_volumes_and_other_axes(echoes):
    volumes = np.stack([echoes, echoes[:, ::-1]], axis=1)
    found = dip.fit_maps(volumes, "t2", echo_times=TIMES, method="pixelwise")
    assert (found.axes, found.maps["T2"].shape) == ("ZYX", (2, 40, 44))
    last = dip.fit_maps(
        np.moveaxis(echoes, 0, -1), "t2", axes="YXT", echo_times=TIMES, method="pixelwise"
    )
    np.testing.assert_array_equal(last.maps["T2"], found.maps["T2"][0])


def test_a_pixel_that_lacks_an_image_has_no_value(echoes):
    echoes[2, 3, 4] = np.nan
    found = dip.fit_maps(echoes, "t2", echo_times=TIMES, method="pixelwise")
    assert np.isnan(found.maps["T2"][3, 4])
    assert np.isfinite(found.maps["T2"]).sum() == 40 * 44 - 1


def test_a_result_of_a_series_is_taken_as_it_is(echoes):
    result = dip.restore(echoes, dip.Recipe.preset("denoise").with_quality("instant"), axes="TYX")
    found = dip.fit_maps(result, "t2", echo_times=TIMES, method="pixelwise")
    assert found.axes == "YX"
    error, before = (
        np.sqrt(
            np.mean(
                (dip.fit_maps(images, "t2", echo_times=TIMES, method="pixelwise").maps["T2"] - T2) ** 2
            )
        )
        for images in (result, echoes)
    )
    assert error < before


@pytest.mark.parametrize(
    ("kind", "protocol", "said"),
    [
        ("t3", {}, "there is no signal 't3': choose adc, decay, t1-flip-angle, t1-inversion, t2"),
        ("t2", {}, "echo_times"),
        ("t2", {"echo_times": (1, 2)}, "echo_times"),
        ("t2", {"echo_time": (1, 2, 3)}, "echo_time"),
    ],
)
def test_a_protocol_that_does_not_suit_is_refused(echoes, kind, protocol, said):
    with pytest.raises(SettingsError, match=said):
        dip.fit_maps(echoes, kind, **protocol)


def test_other_numbers_of_images_are_refused(echoes):
    with pytest.raises(ObservationError, match="5 images along T, and the protocol is of 4"):
        dip.fit_maps(echoes, "t2", echo_times=TIMES[:4])


@pytest.mark.slow
def test_the_prior_halves_the_error_of_pixels_alone():
    equation = EchoDecay(echo_times=tuple(0.012 * n for n in range(1, 9)))
    head = dip.datasets.quantitative_head(equation, side=64)
    brain = np.isin(head.tissue, (1, 2))
    error = {}
    for method in ("pixelwise", "prior"):
        found = dip.fit_maps(head.images, equation, method=method, device="cpu")
        error[method] = np.sqrt(np.mean((found.maps["T2"][brain] / head.value[brain] - 1) ** 2))
    assert error["prior"] < 0.5 * error["pixelwise"]
    assert 0.6 < np.mean(found.chi_square[brain]) < 1.2
    assert found.sigma == pytest.approx(0.02, rel=0.1)


def test_images_that_an_equation_joins_are_restored_jointly(echoes):
    recipe = dip.Recipe.preset("denoise").with_settings({"signal": {"kind": "t2", "echo_times": TIMES}})
    with pytest.raises(ObservationError, match="1 are restored jointly along T"):
        dip.restore(echoes, recipe, axes="TYX")
    with pytest.raises(SettingsError, match="a signal equation joins images"):
        dip.restore(echoes, recipe.with_quality("instant"), axes="TYX")
    with pytest.raises(SettingsError, match=r"signal\.echo_times needs one number for each image"):
        dip.restore(
            echoes, dip.Recipe.preset("time-series").with_settings({"signal.kind": "t2"}), axes="TYX"
        )


@pytest.fixture
def in_air(echoes):
    """The echoes as magnitudes, with a border of air, and their protocol."""
    echoes = np.pad(echoes, ((0, 0), (12, 12), (12, 12)))
    parts = np.random.default_rng(1).normal(0, 1, (2, *echoes.shape))
    inside = np.pad(np.ones((40, 44), bool), 12)
    images = np.where(inside, np.abs(echoes), np.hypot(*parts)).astype(np.float32)
    header = Header(protocol={"EchoTime": TIMES})
    return dip.Observation.from_array(images, axes="TYX", header=header), inside


def test_a_recipe_with_an_equation_takes_the_protocol_of_the_file_and_yields_maps(in_air):
    observation, inside = in_air
    recipe = dip.Recipe.preset("t2-map").with_settings({"solver.max_steps": 60})
    result = dip.restore(observation, recipe)
    assert result.provenance.recipe["signal"]["echo_times"] == list(TIMES)
    assert result.maps.maps["T2"].shape == inside.shape
    assert np.isfinite(result.maps.maps["T2"][inside]).mean() > 0.99
    assert np.isnan(result.maps.maps["T2"][~inside]).mean() > 0.8  # air says nothing of T2
    assert np.isfinite(result.maps.maps["amplitude"]).all()
    assert result.at_strength(0.5).maps is None
    later = reselect_step(result, result.image + 1, 30)
    assert not np.array_equal(later.maps.maps["T2"][inside], result.maps.maps["T2"][inside])
    with pytest.raises(ObservationError, match="5 images along T, and the protocol is of 4"):
        dip.restore(observation, recipe.replace(signal={"echo_times": TIMES[:4]}))


def test_several_fits_say_how_far_off_the_maps_are(in_air, tmp_path):
    observation, inside = in_air
    steps = {"solver.max_steps": 300, "compute.device": "cpu"}
    recipe = dip.Recipe.preset("t2-map").with_settings(steps)
    assert (
        dip.restore(observation, recipe.with_settings({"solver.max_steps": 30})).maps.uncertainty is None
    )
    result = dip.restore(observation, recipe.with_settings({"ensemble.size": 3}))
    found = result.maps
    true = np.pad(T2, 12)
    ratio = np.abs(found.maps["T2"] - true)[inside] / found.uncertainty["T2"][inside]
    assert 0.5 < np.nanmean(ratio < 1) < 0.95
    assert np.median(found.uncertainty["T2"][inside]) < np.median(found.std["T2"][inside])
    assert np.isnan(found.uncertainty["T2"][np.isnan(found.maps["T2"])]).all()
    assert set(found.uncertainty) == {"T2", "amplitude"}
    write(tmp_path / "maps.fits", result)
    with fits.open(tmp_path / "maps.fits") as file:
        np.testing.assert_array_equal(file["T2_UNCERTAINTY"].data, found.uncertainty["T2"])
        assert file["T2_UNCERTAINTY"].header["BUNIT"] == "s"


def test_a_run_with_an_uncertainty_reports_one_more_fit_without_an_image(in_air):
    observation, _ = in_air
    recipe = dip.Recipe.preset("t2-map").with_settings({"solver.max_steps": 10, "ensemble.size": 2})
    run = iter_restoration(observation, recipe, snapshot_every=5)
    reports = list(run)
    assert {report.member for report in reports} == {0, 1, 2}
    assert all(report.image is None for report in reports if report.is_simulation)
    fractions = [report.fraction_done for report in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] <= 1
    assert run.result.maps.uncertainty is not None
    softened = iter_restoration(observation, recipe.replace(strength=0.5))
    assert not any(report.simulations for report in softened)


def test_a_run_that_is_stopped_while_simulated_data_are_fitted_keeps_its_maps(in_air):
    observation, inside = in_air
    recipe = dip.Recipe.preset("t2-map").with_settings({"solver.max_steps": 10, "ensemble.size": 2})
    run = iter_restoration(observation, recipe)
    for report in run:
        if report.is_simulation:
            run.stop()
    assert run.result.maps.uncertainty is None
    assert np.isfinite(run.result.maps.maps["T2"][inside]).mean() > 0.9


def test_simulated_data_that_cannot_be_fitted_leave_the_maps_without_an_uncertainty(in_air, monkeypatch):
    observation, inside = in_air

    def fail(*args):
        raise ObservationError("they are constant")

    monkeypatch.setattr("napari_dip.run.simulation.Simulation.simulate", fail)
    recipe = dip.Recipe.preset("t2-map").with_settings({"solver.max_steps": 10, "ensemble.size": 2})
    result = dip.restore(observation, recipe)
    assert result.maps.uncertainty is None
    assert np.isfinite(result.maps.maps["T2"][inside]).mean() > 0.9
    assert "no uncertainty of the maps" in result.provenance.notes


def test_maps_of_images_that_drift_are_to_be_checked(in_air):
    observation, _ = in_air
    drifting = np.stack(
        [np.roll(image, 3 * n, axis=1) for n, image in enumerate(observation.y[:, 0, 0])]
    )
    moved = dip.Observation.from_array(drifting, axes="TYX", header=observation.header)
    recipe = dip.Recipe.preset("t2-map").with_settings({"solver.max_steps": 5, "stack.align": "always"})
    result = dip.restore(moved, recipe)
    drifts = r"drift by up to \d+ pixels, and maps take the same pixel of each"
    assert re.search(drifts, str(result.assessment.reasons))
    still = dip.restore(observation, recipe.with_settings({"stack.align": "never"}))
    assert "drift" not in str(still.assessment.reasons)


def test_a_protocol_that_is_nowhere_is_asked_for(echoes):
    with pytest.raises(SettingsError, match="neither the settings nor the file specify them"):
        dip.restore(echoes, "t2-map", axes="TYX")
    with pytest.raises(SettingsError, match=r"signal\.repetition_time is specified neither"):
        dip.fit_maps(echoes, "t1-flip-angle", flip_angles=(2, 5, 10, 15, 20))


class TestKSpace:
    """Maps of the head from samples of its Fourier transforms."""

    ECHO_TIMES = tuple(0.02 * n for n in range(1, 6))

    @pytest.fixture(scope="class")
    @staticmethod
    def head():
        return quantitative_head(EchoDecay(echo_times=TestKSpace.ECHO_TIMES), 1, side=48, noise=0)

    @pytest.fixture(scope="class")
    @staticmethod
    def maps():
        y, x = (np.mgrid[:48, :48] + 0.5) / 48 - 0.5
        return sensitivities(y, x, 4).astype(np.complex64)

    @pytest.fixture(scope="class")
    @staticmethod
    def kspace(head, maps):
        """Every echo with half of the lines, others each time, and a noise of 0.01."""
        rng = np.random.default_rng(0)
        x = (np.arange(48) + 0.5) / 48 - 0.5
        resonance = 2j * np.pi * 15 * np.array(TestKSpace.ECHO_TIMES)[:, None, None]  # 15 Hz off
        whole = to_kspace((head.truth * np.exp(1j * (0.5 + 2 * x) + resonance))[:, None] * maps)
        noisy = whole + 0.01 * (rng.normal(size=whole.shape) + 1j * rng.normal(size=whole.shape))
        lines = random_lines(5, 48, 2, 8, rng)
        return np.where(lines[:, None, :, None], noisy, 0).astype(np.complex64)

    def test_one_map_of_complex_images(self, head, maps, kspace):
        recipe = Recipe.preset("t2-map-kspace").with_settings(
            {"network.channels": 16, "solver.max_steps": 800, "compute.device": "cpu"}
        )
        recipe = recipe.replace(signal={"echo_times": self.ECHO_TIMES})
        result = dip.restore(observe_kspace(kspace, coil_maps=maps, mask=None), recipe)
        assert (result.axes, result.maps.axes) == ("TCYX", "YX")
        assert result.maps.units == {"T2": "s", "amplitude": ""}
        inside = head.tissue > 0
        found, truth = result.maps.maps["T2"][inside], head.value[inside]
        assert np.sqrt(np.mean((found / truth - 1) ** 2)) < 0.12
        assert abs(np.median(found / truth - 1)) < 0.02
        amplitude = result.maps.maps["amplitude"][inside]
        first = np.hypot(*result.image[0])[inside]
        np.testing.assert_allclose(first, amplitude * np.exp(-self.ECHO_TIMES[0] / found), atol=0.05)
        bound = 0.01 * np.sqrt(2) * truth / (amplitude * 0.3)  # a rough size
        assert 0.3 < np.median(result.maps.std["T2"][inside] / bound) < 3
        residual = result.provenance.noise.residual[0]
        np.testing.assert_allclose(result.maps.chi_square, residual**2, rtol=0.1)

    @pytest.mark.parametrize("of_file", [False, True])
    def test_complex_arrays_and_their_files_are_kspace(
        self, maps, kspace, monkeypatch, tmp_path, of_file
    ):
        seen, given = [], kspace
        if of_file:
            given = tmp_path / "kspace.npy"
            np.save(given, kspace)

        def restore(observation, recipe):
            seen.append((observation, recipe))
            raise KeyboardInterrupt

        monkeypatch.setattr("napari_dip.run.api._maps.iter_restoration", restore)
        with pytest.raises(KeyboardInterrupt):
            dip.fit_maps(given, "t2", coil_maps=maps, echo_times=self.ECHO_TIMES, sigma=0.01)
        ((observation, recipe),) = seen
        assert recipe.operator.kind == "sense"
        assert recipe.noise.sigma == 0.01
        assert observation.axes == "TCYX"
        assert observation.auxiliary["coil_maps"].shape[1] == 8

    def test_what_cannot_be_mapped_is_refused(self, maps, kspace):
        with pytest.raises(SettingsError, match="no pixels to fit alone"):
            dip.fit_maps(kspace, "t2", echo_times=self.ECHO_TIMES, method="pixelwise")
        with pytest.raises(SettingsError, match="these are images"):
            dip.fit_maps(np.abs(kspace), "t2", coil_maps=maps, echo_times=self.ECHO_TIMES)
        with pytest.raises(ObservationError, match="5 images along T, and the protocol is of 4"):
            dip.fit_maps(kspace, "t2", coil_maps=maps, echo_times=self.ECHO_TIMES[:4])
