import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from napari_dip import Recipe
from napari_dip.core.torch_import import torch
from napari_dip.run.checkpoint import Checkpoint
from napari_dip.run.restoration import iter_restoration
from napari_dip.run.warm_start import WarmStart

SMALL = {"network.channels": 8, "network.depth": 2, "compute.device": "cpu", "compute.num_threads": 1}


@pytest.fixture
def stars(scene, noisy):
    """A noisy scene with a few bright stars, which have a step of their own."""
    bright = np.zeros_like(noisy)
    bright[10, 12] = bright[30, 33] = 9000
    return noisy + bright


@pytest.fixture
def runs(tmp_path, make_observation):
    """Run a recipe with a checkpoint at each report, up to a number of reports or to its end."""

    def run(recipe, array, reports=None, axes="YX", **options):
        observation = make_observation(array, axes, **options)
        checkpoint = Checkpoint.of_run(tmp_path, recipe, observation, save_every_s=0)
        start = WarmStart(recipe, checkpoint=checkpoint)
        with iter_restoration(observation, recipe, warm_start=start) as restoration:
            for number, progress in enumerate(restoration, 1):
                if number == reports:
                    return checkpoint, progress
            return checkpoint, restoration.result

    return run


CASES = {
    "denoise": ("denoise", {}),
    "ensemble": ("denoise", {"ensemble.size": 2}),
    "masked": ("denoise", {"self_supervision.method": "masked"}),
    "recorrupted": ("denoise", {"self_supervision.method": "recorrupted"}),
    "plain": ("denoise", {"self_supervision.method": "none"}),
    "hold-out": ("denoise", {"stopping.kind": "hold-out"}),
    "moving variance": ("denoise", {"stopping.kind": "variance", "stopping.window_length": 20}),
    "exponential variance": ("denoise", {"stopping.kind": "variance", "stopping.method": "emv"}),
    "discrepancy": ("denoise", {"stopping.discrepancy_factor": 0.01}),
    "inpaint": ("inpaint", {}),
    "amortized": ("denoise", {"solver.method": "amortized", "solver.max_steps": 60}),
    "movie": ("denoise", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_run_goes_on_bit_for_bit(case, runs, stars, tmp_path):
    preset, settings = CASES[case]
    recipe = Recipe.preset(preset).with_settings({**SMALL, "solver.max_steps": 150, **settings})
    mask = np.zeros(stars.shape, bool)
    mask[20:26, 5:11] = preset == "inpaint"
    options = {"mask": mask}
    if case == "amortized":
        stars, options = np.tile(stars, (3, 3)), {}
    if case == "movie":
        stars, options = np.stack((stars, stars[::-1], stars[:, ::-1])), {"axes": "TYX"}
    checkpoint, whole = runs(recipe, stars, **options)
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []
    first, progress = runs(recipe, stars, 3, **options)
    assert 0 < progress.step < 150  # in the middle of its first fit
    assert first.note == ""
    runs(recipe, stars, 25, **options)
    _, resumed = runs(recipe, stars, **options)
    assert "an interrupted run was continued at step" in resumed.provenance.notes
    np.testing.assert_array_equal(resumed.image, whole.image)
    np.testing.assert_array_equal(resumed.residual, whole.residual)
    if whole.uncertainty is not None:
        np.testing.assert_array_equal(resumed.uncertainty, whole.uncertainty)
    for mine, others in zip(resumed.history, whole.history, strict=True):
        np.testing.assert_array_equal(mine.loss, others.loss)
        np.testing.assert_array_equal(mine.validation_loss, others.validation_loss)
        assert (mine.selected_step, mine.stop_reason) == (others.selected_step, others.stop_reason)
    assert resumed.provenance.refinement == whole.provenance.refinement
    assert resumed.provenance.source_flux_corrected == whole.provenance.source_flux_corrected


def test_what_belongs_to_other_data_or_settings_is_left_alone(runs, noisy, tmp_path):
    recipe = Recipe.preset("denoise").with_settings({**SMALL, "solver.max_steps": 120})
    runs(recipe, noisy, 3)
    for other, array in ((recipe.replace(seed=1), noisy), (recipe, noisy + 1)):
        checkpoint, _ = runs(other, array, 3)
        assert checkpoint.note == ""
    assert len(list(tmp_path.iterdir())) == 3


def test_a_damaged_file_is_not_used(runs, noisy, tmp_path, caplog):
    recipe = Recipe.preset("denoise").with_settings({**SMALL, "solver.max_steps": 120})
    checkpoint, _ = runs(recipe, noisy, 3)
    (file,) = checkpoint.folder.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING):
        _, result = runs(recipe, noisy)
    assert f"{file} is not used" in caplog.text
    assert result.provenance.notes == ""


def test_networks_of_earlier_frames_are_dropped(runs, noisy):
    recipe = Recipe.preset("denoise").with_settings({**SMALL, "solver.max_steps": 20})
    checkpoint, _ = runs(recipe, np.stack([noisy] * 3), axes="TYX")
    kept = [torch.load(file, weights_only=True) for file in sorted(checkpoint.folder.iterdir())]
    assert ["fit" in state for state in kept] == [False, False, True]
    assert all(state["finished"]["x"].shape == (1, *noisy.shape) for state in kept)


def test_a_run_goes_on_where_no_checkpoint_can_be_written(noisy, make_observation, tmp_path, caplog):
    recipe = Recipe.preset("denoise").with_settings({**SMALL, "solver.max_steps": 40})
    (file := tmp_path / "file").write_text("no folder")
    observation = make_observation(noisy)
    checkpoint = Checkpoint.of_run(file, recipe, observation, save_every_s=0)
    start = WarmStart(recipe, checkpoint=checkpoint)
    result = iter_restoration(observation, recipe, warm_start=start).result
    assert np.isfinite(result.image).all()
    assert caplog.text.count("no checkpoint is kept in") == 1


def test_a_full_disk_ends_no_run(runs, noisy, monkeypatch, caplog):
    def full(*_):
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0\nmore")

    monkeypatch.setattr(torch, "save", full)
    recipe = Recipe.preset("denoise").with_settings({**SMALL, "solver.max_steps": 40})
    checkpoint, result = runs(recipe, noisy)
    assert np.isfinite(result.image).all()
    assert caplog.text.count("no checkpoint is kept in") == 1
    checkpoint.remove()
    assert not checkpoint.folder.exists()


def test_an_image_of_another_size_is_not_taken_over(runs, noisy):
    recipe = Recipe.preset("denoise").with_settings({**SMALL, "solver.max_steps": 20})
    checkpoint, _ = runs(recipe, np.stack([noisy] * 2), axes="TYX")
    first = min(checkpoint.folder.iterdir())
    kept = torch.load(first, weights_only=True)
    kept["finished"]["x"] = kept["finished"]["x"][:, 1:]
    torch.save(kept, first)
    _, result = runs(recipe, np.stack([noisy] * 2), axes="TYX")
    assert result.image.shape == (2, *noisy.shape)


def test_a_description_is_there_as_a_whole_or_not_at_all(runs, noisy, monkeypatch):
    recipe = Recipe.preset("denoise").with_settings({**SMALL, "solver.max_steps": 30})
    checkpoint, _ = runs(recipe, noisy, reports=1)
    fit = SimpleNamespace(step=1, state_dict=dict)
    checkpoint.description = "run.json", '{"pid": 1}'
    checkpoint.save(fit)
    assert (checkpoint.folder / "run.json").read_text("utf-8") == '{"pid": 1}'

    def write_half(path, text, *_):
        path.write_bytes(text[: len(text) // 2].encode())
        raise OSError("killed")

    monkeypatch.setattr(Path, "write_text", write_half)
    checkpoint.description = "run.json", '{"pid": 2}'
    checkpoint.save(fit)
    assert (checkpoint.folder / "run.json").read_bytes() == b'{"pid": 1}'


def test_a_folder_that_has_gone_is_not_made_again(noisy, tmp_path, make_observation):
    recipe = Recipe.preset("denoise").with_settings({**SMALL, "solver.max_steps": 40})
    observation, gone = make_observation(noisy), tmp_path / "gone"
    checkpoint = Checkpoint.of_run(gone / "kept", recipe, observation, save_every_s=0)
    _ = iter_restoration(observation, recipe, warm_start=WarmStart(recipe, checkpoint=checkpoint)).result
    assert not gone.exists()
