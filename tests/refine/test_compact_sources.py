import numpy as np
import pytest
import torch

from napari_dip import restore
from napari_dip.refine.compact_sources import unreproduced_sources, white_top_hat
from napari_dip.refine.ensemble import EnsembleStatistics


def spot(row, column, height, side=96):
    y, x = np.mgrid[:side, :side]
    return height * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 1.3**2))


def planes(image):
    return torch.from_numpy(np.asarray(image)[None]).float()


EVERYWHERE = torch.ones((1, 96, 96), dtype=torch.bool)
NOISE = torch.full((1, 96, 96), 5.0)


@pytest.mark.parametrize(("num_fits", "flagged"), [(1, True), (2, True), (3, True), (4, False)])
def test_a_source_that_few_fits_show_is_not_reproduced(num_fits, flagged):
    star, other = spot(30, 30, 80), spot(60, 50, 40)
    fits = [100 + star + (other if number < num_fits else 0) for number in range(4)]
    mean = planes(np.mean(fits, axis=0))
    found = unreproduced_sources(
        mean, NOISE, EVERYWHERE, [white_top_hat(planes(fit)) for fit in fits], 0.8
    )
    assert found.tolist() == ([[60, 50]] if flagged else [])


def test_what_is_lower_than_half_the_noise_is_no_source():
    fits = [100 + spot(30, 30, 80) + (spot(60, 50, 6) if number < 1 else 0) for number in range(4)]
    mean = planes(np.mean(fits, axis=0))
    assert not len(
        unreproduced_sources(mean, NOISE, EVERYWHERE, [white_top_hat(planes(fit)) for fit in fits], 0.8)
    )


def test_a_photograph_has_no_sources():
    rng = np.random.default_rng(0)
    fits = [100 + 50 * rng.normal(size=(96, 96)) for _ in range(4)]
    mean = planes(np.mean(fits, axis=0))
    assert not len(
        unreproduced_sources(mean, NOISE, EVERYWHERE, [white_top_hat(planes(fit)) for fit in fits], 0.8)
    )


@pytest.mark.parametrize("unit", [1.0, 1e-20])
def test_the_ensemble_remembers_what_each_fit_shows(unit, make_observation, make_problem):
    class Monitor:
        validation_mask = noise_probe = None

    observation = make_observation(unit * (100 + spot(30, 30, 80)))
    problem = make_problem(observation, {"noise.sigma": 5.0 * unit, "noise.relative_error": 0})
    ensemble = EnsembleStatistics(problem)
    for number in range(4):
        assert number > 2 or ensemble.unreproduced_sources() == []
        fit = 100 + spot(30, 30, 80) + (spot(60, 50, 40) if number < 2 else 0)
        ensemble.add(planes(unit * fit), Monitor())
    assert ensemble.unreproduced_sources() == [(60, 50)]


def test_summary_and_provenance_list_them(fast_recipe, monkeypatch):
    places = [(3, 4), (10, 20)]
    monkeypatch.setattr(EnsembleStatistics, "unreproduced_sources", lambda self: places)
    result = restore(np.random.default_rng(0).normal(100, 9, (40, 48)), fast_recipe)
    assert result.provenance.ensemble.unreproduced_sources == ((0, 0, 3, 4), (0, 0, 10, 20))
    assert "2 small sources are missing from most of the fits" in result.summary
