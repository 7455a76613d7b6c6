"""What each forward operator has to do to pixels, shifts, fluxes and edges."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import fourier_shift
from scipy.signal import fftconvolve

from napari_dip import restore
from napari_dip.core.errors import ObservationError, SettingsError
from napari_dip.core.fit_data import FitData
from napari_dip.physics.data_consistency import project_onto_data
from napari_dip.physics.operators._psf import psf_kernels, psf_model
from napari_dip.physics.operators.blur import Blur
from napari_dip.physics.operators.downsample import Downsample
from napari_dip.physics.operators.exposures import MultiExposure
from napari_dip.run.stack import Stack


def apply(operator, scene):
    return operator(torch.from_numpy(np.asarray(scene, np.float32))).numpy()


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(10, 1, shape)


class TestDownsample:
    @pytest.mark.parametrize("factor", [2, 3, 4, 8])
    def test_lanczos3_is_pillow_s(self, make_data, factor):
        scene = draw(40 * factor, 33 * factor).astype(np.float32)
        operator = Downsample(scale_factor=factor).build(make_data(draw(40, 33)))
        expected = Image.fromarray(scene, mode="F").resize((33, 40), Image.LANCZOS)
        np.testing.assert_allclose(apply(operator, scene[None])[0, 0], expected, atol=1e-4)

    def test_area_is_the_mean_over_each_pixel(self, make_data):
        scene = draw(96, 132)
        operator = Downsample(scale_factor=3, kernel="area").build(make_data(draw(32, 44)))
        expected = scene.reshape(32, 3, 44, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(apply(operator, scene[None])[0, 0], expected, rtol=1e-5)

    def test_axes_may_differ_and_factors_be_broken(self, make_data):
        operator = Downsample(scale_factor=(2.5, 4)).build(make_data(draw(33, 40)))
        assert operator.scene_shape == (1, 82, 160)
        assert operator.scale_factor == (82 / 33, 4.0)
        even = apply(operator, np.full((1, 82, 160), 7.0))
        np.testing.assert_allclose(even, 7.0, rtol=1e-5)

    @pytest.mark.parametrize(
        ("unit", "gain"), [("adu", 16), ("electron/s", 16), ("MJy/sr", 1), ("", 1), ("furlong", 1)]
    )
    def test_flux_or_brightness_is_kept_as_the_unit_says(self, make_data, unit, gain):
        assert Downsample().build(make_data(draw(32, 32), unit=unit)).dc_gain == gain

    def test_the_settings_decide_over_the_unit(self, make_data):
        data = make_data(draw(32, 32), unit="MJy/sr")
        assert Downsample(conserve_flux="yes").build(data).dc_gain == 16

    @pytest.mark.parametrize("unit", ["adu", "MJy/sr"])
    def test_a_result_keeps_flux_and_predicts_the_input(self, make_observation, unit, fast_recipe):
        y, x = np.mgrid[:40, :44]
        given = 50 + 200 * np.exp(-((y - 20) ** 2 + (x - 20) ** 2) / 8)
        recipe = fast_recipe.with_settings(
            {"operator.kind": "downsample", "operator.scale_factor": 2, "hard_data_consistency": True}
        )
        result = restore(make_observation(given, unit=unit), recipe)
        assert result.image.shape == (80, 88)
        assert result.scale_factor == (2.0, 2.0)
        assert result.residual.shape == (40, 44)
        assert result.provenance.operator.data_psnr_db[0] > 80
        ratio = result.image.sum() / given.sum()
        assert ratio == pytest.approx(1 if unit == "adu" else 4, rel=2e-3)

    def test_missing_pixels_become_inpainted_ones_of_about_their_own_size(
        self, make_observation, fast_recipe
    ):
        given = draw(40, 44)
        given[10:12, 20] = np.nan
        recipe = fast_recipe.with_settings({"operator.kind": "downsample", "operator.scale_factor": 4})
        inpainted = restore(make_observation(given), recipe).inpainted
        assert inpainted[41:47, 81:83].all()
        assert not inpainted[:39].any()
        assert inpainted.sum() == pytest.approx(32, abs=8)  # the corners are seen by their neighbors


@pytest.fixture
def kernel_of(make_data):
    """Give the kernel of the image of a PSF."""

    def kernel_of(image):
        data = make_data(draw(80, 80), auxiliary={"psf": image})
        (psf,) = psf_kernels(data, "auto", 1, 2.5, default="none")
        return psf

    return kernel_of


class TestBlur:
    @pytest.mark.parametrize("shape", ["gaussian", "moffat", "airy"])
    def test_named_shapes_have_their_width_and_sum(self, shape):
        psf = psf_model(shape, 6.0)
        assert psf.sum() == pytest.approx(1)
        line = psf[len(psf) // 2]
        half = line.max() / 2
        above = np.flatnonzero(line > half)
        left = np.interp(half, line[above[0] - 1 : above[0] + 1], [above[0] - 1, above[0]])
        right = np.interp(half, line[above[-1] + 1 : above[-1] - 1 : -1], [above[-1] + 1, above[-1]])
        assert right - left == pytest.approx(6.0, rel=0.03)

    def test_it_is_a_convolution_that_needs_nothing_beyond_the_scene(self, make_data):
        psf = psf_model("moffat", 3.0)
        operator = Blur(psf="moffat", fwhm=3.0, target_fwhm=0).build(make_data(draw(40, 50)))
        scene = draw(*operator.scene_shape)
        expected = fftconvolve(scene[0], psf, mode="valid")
        assert expected.shape == (40, 50)
        np.testing.assert_allclose(apply(operator, scene)[0, 0], expected, rtol=1e-4)

    @pytest.mark.parametrize(("target_fwhm", "leak"), [(0.0, 1e-6), (2.0, 1e-3)])
    def test_light_from_beyond_an_edge_does_not_come_in_at_the_other(self, make_data, target_fwhm, leak):
        settings = Blur(psf="gaussian", fwhm=4.0, target_fwhm=target_fwhm)
        operator = settings.build(make_data(draw(40, 50)))
        scene = np.zeros(operator.scene_shape)
        scene[0, 0] = 1000.0
        seen = apply(operator, scene)[0, 0]
        assert abs(seen[-5:]).max() < 1000 * leak

    def test_each_frame_has_its_own_psf_unless_they_are_restored_jointly(self, make_observation):
        sharp, wide = np.zeros((9, 9)), psf_model("gaussian", 4.0)[:9, :9]
        sharp[4, 4] = 1
        frames = make_observation(np.stack(2 * [draw(40, 50)]), "TYX")
        frames = frames.with_auxiliary("psf", np.stack([sharp, wide]), axes="TYX")
        peaks = []
        for _, data in Stack().iter_blocks(frames):
            operator = Blur().build(data)
            point = torch.zeros(operator.scene_shape)
            point[0, operator.scene_shape[1] // 2, operator.scene_shape[2] // 2] = 1
            peaks.append(float(operator(point).max()))
        assert peaks[0] == pytest.approx(1, abs=1e-5)
        assert peaks[1] < 0.2
        ((_, jointly),) = Stack(joint_axes="T").iter_blocks(frames)
        with pytest.raises(ObservationError, match="2 PSFs for frames that are restored jointly"):
            Blur().build(jointly)

    def test_a_given_psf_is_centered_freed_of_its_background_and_normalized(self, make_data):
        psf = np.full((24, 31), 5.0)
        psf[9:14, 15:20] += 100 * np.outer([1, 3, 5, 3, 1], [1, 3, 5, 3, 1])
        given = make_data(draw(64, 64), auxiliary={"psf": psf})
        operator = Blur(target_fwhm=0).build(given)
        assert operator.scene_shape == (1, 68, 68)
        star = np.zeros(operator.scene_shape)
        star[0, 34, 30] = 169.0
        seen = apply(operator, star)[0, 0]
        assert np.unravel_index(seen.argmax(), seen.shape) == (32, 28)
        assert seen[32, 28] == pytest.approx(25, rel=1e-4)

    @pytest.mark.parametrize("place", [(32, 32), (20, 22)])
    def test_a_measured_star_is_freed_of_its_noise(self, kernel_of, place):
        y, x = np.mgrid[:65, :65]
        star = np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) * 4 * np.log(2) / 9)
        star += np.random.default_rng(0).normal(3, 0.01, star.shape)
        psf = kernel_of(star)
        assert psf.max() == pytest.approx(4 * np.log(2) / (9 * np.pi), rel=0.06)
        assert np.unravel_index(psf.argmax(), psf.shape) == (len(psf) // 2, len(psf) // 2)

    @pytest.mark.parametrize(
        "kernel",
        [np.ones((5, 5)), np.ones((1, 9)), np.ones((1, 1)), np.outer(*[np.hanning(13)] * 2)],
        ids=["box", "motion", "point", "smooth"],
    )
    def test_an_exact_kernel_is_taken_as_it_is(self, kernel_of, kernel):
        psf = kernel_of(kernel)
        assert psf.max() == pytest.approx(kernel.max() / kernel.sum(), rel=1e-3)

    @staticmethod
    def spots(*peaks, noise):
        """(65, 65): Gaussian spots of FWHM 3, the first in the middle, the others 13 pixels farther."""
        y, x = np.mgrid[:65, :65]
        image = np.random.default_rng(0).normal(3, noise, y.shape)
        for number, peak in enumerate(peaks):
            square = (y - 32) ** 2 + (x - 32 - 13 * number) ** 2
            image += peak * np.exp(-square * 4 * np.log(2) / 9)
        return image

    def test_a_psf_of_two_separate_spots_keeps_both(self, kernel_of):
        image = self.spots(1.0, 0.3, noise=1e-3)
        psf = kernel_of(image)
        half = len(psf) // 2
        # Its center of mass is three pixels beyond the first spot: 13 x 0.3 / 1.3.
        first, second = psf[:, : half + 4], psf[:, half + 4 :]
        assert second.sum() / first.sum() == pytest.approx(0.3, rel=0.03)
        for spot, column in ((first, half - 3), (second, 6)):
            assert np.unravel_index(spot.argmax(), spot.shape) == (half, column)

    @pytest.mark.parametrize("noise", [1e-4, 0.01])
    def test_noise_specks_and_a_ghost_of_half_a_per_cent_are_no_part_of_a_psf(self, kernel_of, noise):
        image = self.spots(1.0, 0.005, noise=noise)
        specks = np.abs(image - 3) > 3 * noise
        assert specks[:20].any()  # far from the star
        psf = kernel_of(image)
        along = np.arange(len(psf)) - len(psf) // 2
        assert psf[np.hypot(*np.meshgrid(along, along)) > 8].sum() < 1e-3
        assert len(psf) < 20

    def test_an_even_kernel_moves_nothing(self, kernel_of):
        psf = kernel_of(np.ones((4, 4)))
        half = len(psf) // 2
        at = np.arange(-half, half + 1)
        assert abs(psf.sum(0) @ at) < 0.1
        assert abs(psf.sum(1) @ at) < 0.1

    @pytest.mark.parametrize(
        ("kernel", "axes", "message"),
        [
            (np.zeros((9, 9)), "YX", "the PSF has no flux"),
            (np.ones((3, 9, 9)), "CYX", "has 3 channels"),
            (np.ones((200, 200)), "YX", "wider than the image"),
        ],
    )
    def test_what_is_no_psf_is_refused(self, make_observation, kernel, axes, message):
        with pytest.raises(ObservationError, match=message):
            given = make_observation(draw(64, 64)).with_auxiliary("psf", kernel, axes=axes)
            Blur().build(FitData.from_observation(given))

    def test_it_says_which_psf_it_took(self, make_data):
        data = make_data(draw(64, 64))
        assert "because none was given" in Blur().build(data).note
        with_psf = replace(data, auxiliary={"psf": np.ones((1, 1, 3, 3), np.float32)})
        note = "PSF as given; detail of the result: 1.1 pixels"
        assert Blur().build(with_psf).note == note

    def test_the_result_has_the_frame_s_size(self, fast_recipe):
        recipe = fast_recipe.with_settings({"operator.kind": "blur"})
        result = restore(Blur().make_example(0), recipe)
        assert result.image.shape == (48, 56)
        assert not result.inpainted.any()


def drifting(shifts, *, noise=1.0, scales=None, backgrounds=None, side=96):
    """Exposures of some stars; `shifts` (y, x) bring each onto the first."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side].astype(float)
    scene = np.zeros((side, side))
    for row, column in rng.uniform(10, side - 10, (25, 2)):
        scene += rng.uniform(50, 400) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 4)
    frames = [np.fft.ifft2(fourier_shift(np.fft.fft2(scene), (-dy, -dx))).real for dy, dx in shifts]
    scales = scales or [1.0] * len(frames)
    backgrounds = backgrounds or [100.0] * len(frames)
    pairs = zip(frames, scales, backgrounds, strict=True)
    stack = np.stack([s * frame + b for frame, s, b in pairs])
    return stack + rng.normal(0, noise, stack.shape), scene


class TestExposures:
    SHIFTS = ((0.0, 0.0), (1.3, -2.6), (-4.5, 7.25))

    def test_shifts_are_found_to_a_tenth_of_a_pixel(self):
        stack, _ = drifting(self.SHIFTS, noise=5.0)
        stack[:, 40, 41] += 3000  # a hot pixel does not drift
        found, unsure = MultiExposure()._shifts(stack[:, None].astype(np.float32))
        np.testing.assert_allclose(found, self.SHIFTS, atol=0.1)
        assert unsure == []

    def test_the_shift_of_a_frame_of_another_scene_is_uncertain(self, make_data):
        stack, _ = drifting(self.SHIFTS, noise=5.0)
        stack[1] = np.random.default_rng(0).normal(stack.mean(), 5, stack[1].shape)
        (finding,) = MultiExposure().build(make_data(stack, "TYX", keep_times=True)).findings
        assert finding.reason == "the shift of frame 2 against the first is uncertain"

    def test_each_frame_shows_the_scene_where_it_was(self, make_data):
        stack, scene = drifting(self.SHIFTS, noise=1e-6)
        operator = MultiExposure(shifts=self.SHIFTS).build(make_data(stack, "TYX", keep_times=True))
        whole = np.zeros(operator.scene_shape)
        rows, columns = operator.valid_region
        whole[0, rows, columns] = scene
        seen = apply(operator, whole)[:, 0] + np.asarray(operator.background)[:, 0] + 100
        inside = np.s_[:, 12:-12, 12:-12]
        np.testing.assert_allclose(seen[inside], stack[inside], atol=8.0)  # of 400: interpolation
        assert np.abs(seen - stack)[inside].mean() < 0.5

    def test_backgrounds_and_scales_are_measured_against_the_first(self):
        stack, _ = drifting(self.SHIFTS, scales=[1.0, 0.5, 2.0], backgrounds=[100.0, 40.0, 300.0])
        scales, backgrounds = MultiExposure(match_scale=True, shifts=self.SHIFTS)._match(
            stack[:, None].astype(np.float32), np.array(self.SHIFTS)
        )
        np.testing.assert_allclose(scales, [1.0, 0.5, 2.0], rtol=0.03)
        np.testing.assert_allclose(backgrounds.ravel(), [0.0, -10.0, 100.0], atol=4)

    def test_one_image_comes_out_with_the_residual_of_each_frame(self, make_observation, fast_recipe):
        stack, _ = drifting(self.SHIFTS)
        stack[1, 30:33, 30:33] = np.nan
        stack[:, 60, 60] = np.nan
        recipe = fast_recipe.with_settings({"operator.kind": "multi-exposure"})
        result = restore(make_observation(stack, "TYX"), recipe)
        assert (result.axes, result.residual_axes) == ("YX", "TYX")
        assert result.image.shape == stack.shape[1:]
        assert result.residual.shape == stack.shape
        assert not result.inpainted[30:33, 30:33].any()  # the other frames saw it
        assert "shifts (x, y)" in result.provenance.operator.note

    def test_a_finer_grid_keeps_the_unit_s_rule(self, make_data):
        stack, _ = drifting(self.SHIFTS)
        data = make_data(stack, "TYX", unit="adu", keep_times=True)
        operator = MultiExposure(scale_factor=2, shifts=self.SHIFTS).build(data)
        assert (operator.dc_gain, operator.scale_factor) == (4.0, (2.0, 2.0))

    def test_as_many_shifts_as_frames_are_needed(self, make_data):
        stack, _ = drifting(self.SHIFTS)
        with pytest.raises(SettingsError, match="has 1 shifts for 3 frames"):
            MultiExposure(shifts=((0, 0),)).build(make_data(stack, "TYX", keep_times=True))

    def test_frames_of_another_place_are_refused(self, make_data):
        stack, _ = drifting(self.SHIFTS)
        with pytest.raises(ObservationError, match="they overlap by less than half"):
            far = MultiExposure(shifts=((0, 0), (0, 0), (80, 0)))
            far.build(make_data(stack, "TYX", keep_times=True))

    def test_a_psf_for_each_frame(self, make_data):
        stack, _ = drifting(self.SHIFTS)
        psfs = np.zeros((3, 15, 15))
        for psf, fwhm in zip(psfs, (2.0, 3.0, 4.0), strict=True):
            half = len(psf_model("gaussian", fwhm)) // 2
            psf[7 - half : 8 + half, 7 - half : 8 + half] = psf_model("gaussian", fwhm)
        given = make_data(stack, "TYX", keep_times=True, auxiliary={"psf": psfs})
        operator = MultiExposure(shifts=((0, 0),) * 3).build(given)
        star = np.zeros(operator.scene_shape)
        star[0, operator.valid_region[0].start + 48, operator.valid_region[1].start + 48] = 1000.0
        peaks = apply(operator, star)[:, 0].max(axis=(1, 2))
        np.testing.assert_allclose(
            peaks, [1000 * psf_model("gaussian", f).max() for f in (2.0, 3.0, 4.0)], rtol=0.01
        )


def test_projection_onto_the_data_changes_nothing_that_they_do_not_show(make_observation, make_problem):
    settings = {"operator.kind": "downsample", "operator.scale_factor": 2}
    problem = make_problem(make_observation(draw(32, 32)), settings)
    x = torch.from_numpy(draw(1, 64, 64, seed=1).astype(np.float32))
    consistent = project_onto_data(problem, x)
    torch.testing.assert_close(problem.predicted(consistent), problem.y, rtol=0, atol=1e-4)
    torch.testing.assert_close(project_onto_data(problem, consistent), consistent, rtol=0, atol=1e-4)
    # The correction lies in the range of the adjoint: it is orthogonal to all that A cannot see.
    correction = consistent - x
    other = torch.from_numpy(draw(1, 64, 64, seed=2).astype(np.float32))
    zero = replace(problem, y=torch.zeros_like(problem.y))
    invisible = project_onto_data(zero, other)
    cosine = (correction * invisible).sum() / (correction.norm() * invisible.norm())
    assert abs(float(cosine)) < 1e-3


@pytest.mark.parametrize("factor", [1, 2])
def test_projection_onto_the_data_keeps_the_scene_where_they_are_saturated(
    make_observation, make_problem, factor
):
    y = np.minimum(draw(32, 32), 11)
    saturated = torch.from_numpy(y == 11)
    operator = {"operator.kind": "downsample", "operator.scale_factor": 2} if factor == 2 else {}
    noise = {"noise.sigma": 1.0, "noise.censored": True}
    problem = make_problem(make_observation(y), {**operator, **noise})
    x = torch.full(problem.operator.scene_shape, 30.0)
    predicted = problem.predicted(project_onto_data(problem, x))[0, 0]
    torch.testing.assert_close(predicted[~saturated], problem.y[0, 0, ~saturated], rtol=0, atol=2e-2)
    assert predicted[saturated].min() > 11 + (18 if factor == 1 else 0)
