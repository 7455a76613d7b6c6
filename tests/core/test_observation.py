import pickle

import numpy as np
import pytest

from napari_dip import Observation
from napari_dip.core.errors import ObservationError
from napari_dip.core.fit_data import FitData
from napari_dip.core.interop import to_observation


@pytest.mark.parametrize("axes", ["YX", "CYX", "YXC", "ZYX", "TYX", "TCZYX", "TZCYX", "XYC"])
def test_arrays_come_back_with_the_axes_that_went_in(axes):
    sizes = {"T": 2, "C": 3, "Z": 4, "Y": 33, "X": 35}
    array = np.random.default_rng(0).normal(size=[sizes[a] for a in axes]).astype(np.float32)
    observation = Observation.from_array(array, axes=axes)
    assert observation.y.shape == tuple(sizes[a] if a in axes else 1 for a in "TCZYX")
    np.testing.assert_array_equal(observation.to_input_axes(observation.y), array)


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "<i4", "int64", "float16", ">f4", "float64", "bool"])
def test_every_real_type_becomes_float32_with_the_same_values(dtype):
    array = (np.arange(32 * 32).reshape(32, 32) % 100).astype(dtype)
    observation = Observation.from_array(array, axes="YX")
    assert observation.y.dtype == np.float32
    np.testing.assert_array_equal(observation.y[0, 0, 0], array.astype(np.float32))


def test_pixels_that_are_not_finite_are_missing(noisy):
    noisy[3, 4], noisy[5, 6] = np.nan, np.inf
    observed = Observation.from_array(noisy, axes="YX").observed[0, 0, 0]
    assert not observed[3, 4]
    assert not observed[5, 6]
    assert observed.sum() == noisy.size - 2


@pytest.mark.parametrize("shape", [(40, 48), (3, 40, 48), (2, 40, 48), (2, 3, 40, 48)])
def test_a_mask_is_shared_by_the_channels_or_frames_that_it_lacks(shape):
    array = np.random.default_rng(0).normal(size=(2, 3, 40, 48))
    axes = "TCYX"
    mask = np.zeros(shape, np.uint8)
    mask[..., 5, 6] = 7
    if shape == (3, 40, 48):
        with pytest.raises(
            ObservationError, match=r"the mask of shape \(3, 40, 48\) does not match the image of shape"
        ):
            Observation.from_array(array, axes=axes, mask=mask)
        return
    observation = Observation.from_array(array, axes=axes, mask=mask)
    assert not observation.observed[..., 5, 6].any()
    assert (~observation.observed).sum() == 6


def test_pixels_without_a_valid_sigma_are_missing(noisy):
    sigma = np.full(noisy.shape, 8.0)
    sigma[0, 0], sigma[0, 1] = 0, np.nan
    observation = Observation.from_array(noisy, axes="YX", sigma=sigma)
    assert (~observation.observed).sum() == 2


def test_the_input_is_copied_and_the_observation_frozen(noisy):
    before = noisy.copy()
    observation = Observation.from_array(noisy, axes="YX", mask=noisy > 120)
    np.testing.assert_array_equal(noisy, before)
    with pytest.raises(ValueError, match="read-only"):
        observation.y[...] = 0


def test_an_observation_survives_pickling(observation):
    again = pickle.loads(pickle.dumps(observation))
    assert again.digest() == observation.digest()


@pytest.mark.parametrize(
    ("array", "axes", "said"),
    [
        (np.zeros((40, 40)), "CYX", "3 axes"),
        (np.zeros((40, 40)), "YQ", "'Q'"),
        (np.zeros((40, 40)), "YY", "each axis once"),
        (np.zeros((8, 40)), "YX", "40 x 8"),
        (np.zeros((40, 40)), "YX", "the same value"),
        (np.full((40, 40), np.nan), "YX", "no pixel is observed"),
        (np.ones((40, 40)) * 1j, "YX", "complex"),
        (np.full((40, 40), "a"), "YX", "the image has values of type <U1: give real numbers"),
        (np.full((40, 40), 1e300), "YX", "3.4e38"),
    ],
)
def test_what_cannot_be_restored_is_refused_in_one_sentence(array, axes, said):
    with pytest.raises(ObservationError, match=said) as error:
        Observation.from_array(array, axes=axes)
    assert "\n" not in str(error.value)


class TestAMaskThatNamesItsAxes:
    shape = (2, 3, 40, 44)  # T Z Y X

    @pytest.fixture
    def stack(self):
        array = np.random.default_rng(0).normal(100, 5, self.shape)
        return Observation.from_array(array, axes="TZYX")

    @pytest.mark.parametrize(
        ("shape", "axes", "place"),
        [
            ((3, 40, 44), "ZYX", np.s_[:, 1]),
            ((2, 40, 44), "TYX", np.s_[1, :]),
            ((1, 3, 40, 44), "CZYX", np.s_[:, 1]),
            ((40, 44, 2), "YXT", np.s_[1, :]),
            ((40, 44), "YX", np.s_[:, :]),
        ],
    )
    def test_may_have_any_of_those_of_the_image(self, stack, shape, axes, place):
        mask = np.zeros(shape, bool)
        mask[tuple({"Y": slice(3, 5), "T": 1, "Z": 1, "C": 0}.get(a, slice(None)) for a in axes)] = True
        expected = np.zeros(self.shape, bool)
        expected[place][..., 3:5, :] = True
        observed = stack.with_mask(mask, axes=axes).observed[:, 0]
        np.testing.assert_array_equal(~observed, expected)

    @pytest.mark.parametrize(("shape", "axes"), [((4, 40, 44), "ZYX"), ((3, 40, 44), "CYX")])
    def test_is_refused_if_one_has_another_length(self, stack, shape, axes):
        with pytest.raises(
            ObservationError, match=r"the mask has axes . . x Y 40 x X 44, and the image"
        ):
            stack.with_mask(np.zeros(shape), axes=axes)


class TestAPart:
    rng = np.random.default_rng(0)
    array, sigma = rng.normal(100, 5, (60, 80)), rng.uniform(1, 2, (60, 80))
    guide, psf = rng.normal(size=(120, 160)), rng.uniform(size=(60, 80))

    def whole(self):
        observation = Observation.from_array(self.array, axes="YX", sigma=self.sigma)
        return observation.with_auxiliary("guide", self.guide).with_auxiliary("psf", self.psf)

    def test_takes_its_part_of_the_auxiliary_data(self):
        part = self.whole().crop(slice(10, 42), slice(5, 45))
        np.testing.assert_array_equal(part.y[0, 0, 0], self.array[10:42, 5:45].astype(np.float32))
        sigma, guide, psf = (part.auxiliary[name][0, 0, 0] for name in ("sigma", "guide", "psf"))
        np.testing.assert_array_equal(sigma, self.sigma[10:42, 5:45].astype(np.float32))
        np.testing.assert_array_equal(guide, self.guide[20:84, 10:90].astype(np.float32))
        np.testing.assert_array_equal(psf, self.psf.astype(np.float32))

    def test_and_the_part_below_it_are_the_whole(self):
        whole = self.whole()
        parts = (whole.crop(rows, slice(0, 80)) for rows in (slice(0, 32), slice(32, 60)))
        upper, lower = map(FitData.from_observation, parts)
        again, whole = upper.concatenate_rows([lower]), FitData.from_observation(whole)
        np.testing.assert_array_equal(again.y, whole.y)
        np.testing.assert_array_equal(again.observed, whole.observed)
        assert set(again.auxiliary) == set(whole.auxiliary) == {"sigma", "guide", "psf"}
        for name, array in whole.auxiliary.items():
            np.testing.assert_array_equal(again.auxiliary[name], array)


def test_pixels_with_a_thousand_times_the_noise_are_missing():
    image, sigma = np.random.default_rng(0).normal(100, 5, (2, 32, 40)), np.full((2, 32, 40), 5.0)
    sigma[1] = 500  # of a plane that is noisier as a whole
    sigma[0, 3, 4], sigma[0, 5, 6], sigma[1, 7, 8] = 1e20, 4e3, 1e6
    observation = Observation.from_array(image, axes="TYX", sigma=sigma)
    missing = np.argwhere(~observation.observed[:, 0, 0])
    np.testing.assert_array_equal(missing, [(0, 3, 4), (1, 7, 8)])


def test_the_same_holds_for_the_noise_of_an_observation():
    image, sigma = np.random.default_rng(0).normal(100, 5, (32, 40)), np.full((32, 40), 5.0)
    sigma[3, 4], sigma[5, 6] = 1e20, 0
    observation, _ = to_observation(Observation.from_array(image, axes="YX"), sigma=sigma)
    missing = np.argwhere(~observation.observed[0, 0, 0])
    np.testing.assert_array_equal(missing, [(3, 4), (5, 6)])
