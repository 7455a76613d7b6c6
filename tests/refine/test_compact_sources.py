import numpy as np
import pytest
import torch

from napari_dip import Observation, Recipe, restore
from napari_dip.physics.problem import Problem
from napari_dip.refine.compact_sources import unreproduced_sources, white_top_hat
from napari_dip.refine.ensemble import EnsembleStatistics


def spot(row, column, height, side=96):
    y, x = np.mgrid[:side, :side]
    return height * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 1.3**2))


def planes(image):
    return torch.from_numpy(np.asarray(image)[None]).float()


EVERYWHERE = torch.ones((1, 96, 96), dtype=torch.bool)
NOISE = torch.full((1, 96, 96), 5.0)


@pytest.mark.parametrize(("shown_by", "flagged"), [(1, True), (2, True), (3, True), (4, False)])
def test_a_source_is_doubtful_that_few_fits_show(shown_by, flagged):
    star, other = spot(30, 30, 80), spot(60, 50, 40)
    fits = [100 + star + (other if number < shown_by else 0) for number in range(4)]
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
def test_members_remember_what_each_shows(unit):
    class Watch:
        judged = probe = None

    observation = Observation.from_array(unit * (100 + spot(30, 30, 80)), axes="YX")
    recipe = Recipe().with_settings({"noise.sigma": 5.0 * unit, "noise.relative_error": 0})
    problem = Problem.from_data(observation, recipe.operator, recipe.noise, device=torch.device("cpu"))
    members = EnsembleStatistics(problem)
    for number in range(4):
        assert number > 2 or members.unreproduced_sources() == []
        fit = 100 + spot(30, 30, 80) + (spot(60, 50, 40) if number < 2 else 0)
        members.add(planes(unit * fit), Watch())
    assert members.unreproduced_sources() == [(60, 50)]


def test_the_verdict_tells_of_them_and_files_remember_them(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(EnsembleStatistics, "doubtful", lambda self: [(3, 4), (10, 20)])
    observation = Observation.from_array(np.random.default_rng(0).normal(100, 9, (40, 48)), axes="YX")
    result = restore(observation, quick)
    assert result.provenance["ensemble"]["doubtful"] == [(0, 0, 3, 4), (0, 0, 10, 20)]
    assert "2 small sources are not in most of the fits" in result.summary
