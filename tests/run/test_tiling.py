"""Large frames in crops: the plan, the seams, the memory, and warm starts."""

import gc
from itertools import pairwise

import numpy as np
import pytest
import torch

import napari_dip.run.restoration
from napari_dip import Observation, Recipe, restore
from napari_dip.core.axes import ChannelLayout
from napari_dip.core.errors import DeviceError
from napari_dip.core.header import Header
from napari_dip.prior.generator import Prior
from napari_dip.run.memory import bytes_per_pixel
from napari_dip.run.restoration import iter_restoration
from napari_dip.run.tiles.planner import TilePlanner, plan_tiles
from napari_dip.run.tiles.tile import TILE_BLEND_PX, TILE_MARGIN_PX, TileBlender, noise_sample, tile_grid

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
QUICK = {"solver.max_steps": 12, "refinement.patch_method": "none", "network.channels": 8}


def noisy(height, width):
    y, x = np.mgrid[:height, :width]
    return 100 + 30 * np.sin(y / 15) * np.cos(x / 20) + RNG.normal(0, 5, (height, width))


def observation_of(array, **more):
    return Observation.from_array(array, axes="YX", **more)


@pytest.mark.parametrize("shape", [(512, 512), (700, 400), (513, 1025), (256, 3000), (130, 130)])
@pytest.mark.parametrize("margin", [16, 40])
class TestALayout:
    def test_shares_every_pixel_out(self, shape, margin):
        mosaic = TileBlender(np.full(shape, np.nan, np.float32))
        total = np.zeros(shape)
        for crop in tile_grid(*shape, 256, margin):
            total[crop.rows, crop.columns] += np.outer(*crop.weights)
            mosaic.add(crop, np.ones([len(w) for w in crop.weights], np.float32))
        assert total.min() > 0.2
        assert np.array_equal(mosaic.planes, np.ones(shape))

    def test_has_crops_of_one_size_each_beside_the_last(self, shape, margin):
        crops = tile_grid(*shape, 256, margin)
        assert len({tuple(len(w) for w in crop.weights) for crop in crops}) == 1
        assert max(len(w) for w in crops[0].weights) <= 256
        for last, crop in pairwise(crops):
            for one, next_one in ((last.rows, crop.rows), (last.columns, crop.columns)):
                assert max(one.start, next_one.start) < min(one.stop, next_one.stop)

    def test_leaves_the_borders_within_the_frame_out(self, shape, margin):
        for crop in tile_grid(*shape, 256, margin):
            for along, weights, side in zip((crop.rows, crop.columns), crop.weights, shape, strict=True):
                assert (weights[:margin].max() == 0) == (along.start > 0)
                assert (weights[-margin:].max() == 0) == (along.stop < side)


def test_what_all_crops_agree_on_is_kept_bit_for_bit():
    frame = RNG.normal(0, 1, (300, 500)).astype(np.float32)
    mosaic = TileBlender(np.full(frame.shape, np.nan, np.float32))
    for crop in tile_grid(*frame.shape, 128, TILE_MARGIN_PX):
        mosaic.add(crop, frame[crop.rows, crop.columns])
    assert np.array_equal(mosaic.planes, frame)


@pytest.mark.parametrize(
    ("changes", "side", "number"),
    [
        ({}, 1024, 1),
        ({}, 1056, 4),
        ({"compute.tile_size": 256}, 600, 9),
        ({"compute.memory_limit_gb": 0.1}, 600, 36),
        ({"compute.memory_limit_gb": 0.001}, 256, 9),
        ({"operator.kind": "downsample", "operator.scale_factor": 4}, 200, 1),
        ({"operator.kind": "downsample", "operator.scale_factor": 4}, 270, 9),
        (
            {"operator.kind": "downsample", "operator.scale_factor": 1.5, "compute.tile_size": 128},
            300,
            1,
        ),
        ({"operator.kind": "multi-exposure", "compute.tile_size": 128}, 300, 1),
        ({"network_input.kind": "guide", "compute.tile_size": 128}, 300, 1),
        (
            {
                "network_input.kind": "guide",
                "network_input.misregistration": "ignore",
                "compute.tile_size": 128,
            },
            300,
            16,
        ),
    ],
)
def test_a_frame_is_planned_by_its_size_and_the_memory(changes, side, number):
    recipe = Recipe().with_settings(
        {"compute.memory_limit_gb": 8.0, "compute.precision": "float32", **changes}
    )
    crops, why = plan_tiles(recipe, observation_of(noisy(side, side)), CPU)
    assert len(crops) == number, [c.rows for c in crops]
    assert (f"in {number} crops of" in why) == (number > 1)
    assert ("may be used" in why) == (recipe.compute.memory_limit_gb < 0.2)


def test_wide_point_spread_functions_have_wide_margins():
    recipe = Recipe().with_settings(
        {"operator.kind": "blur", "operator.fwhm": 12, "compute.tile_size": 384}
    )
    crops, _ = plan_tiles(recipe, observation_of(noisy(1000, 400)), CPU)
    without = np.flatnonzero(crops[0].weights[0])[-1] + 1
    assert len(crops[0].weights[0]) - without > TILE_MARGIN_PX + 12


def test_a_wider_network_needs_more_memory():
    narrow, wide = (Recipe().with_settings({"network.channels": number}) for number in (16, 64))
    assert bytes_per_pixel(wide, ChannelLayout(1, 1, 1), CPU) > 2 * bytes_per_pixel(
        narrow, ChannelLayout(1, 1, 1), CPU
    )


def test_counting_memory_leaves_none_behind():
    recipe = Recipe.preset("denoise").with_settings({"network.channels": 8})
    bytes_per_pixel(recipe, ChannelLayout(1, 1, 1), CPU)
    gc.collect()
    before = sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())
    bytes_per_pixel(recipe, ChannelLayout(1, 1, 1), CPU)
    gc.collect()
    assert sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects()) == before


@pytest.mark.parametrize("changes", [{}, {"operator.kind": "downsample", "operator.scale_factor": 2.0}])
def test_crops_join_to_one_result(changes):
    y = noisy(200, 300)
    y[50:60, 140:170] = np.nan
    recipe = Recipe().with_settings({**QUICK, "compute.tile_size": 128, **changes})
    iterates = []
    run = iter_restoration(observation_of(y), recipe, snapshot_every=6)
    with pytest.raises(StopIteration) as end:
        while True:
            iterates.append(next(run))
    result = end.value.value
    zoom = round(result.zoom[0])
    assert result.image.shape == (200 * zoom, 300 * zoom)
    assert np.isfinite(result.image).all()
    assert np.array_equal(np.isnan(result.residual), np.isnan(y))
    assert result.filled[55 * zoom, 150 * zoom]
    assert not result.filled[20, 20]
    assert {iterate.crop for iterate in iterates} == set(range(12))
    assert all(iterate.crops == 12 and "12 crops of 128 x 128" in iterate.remark for iterate in iterates)
    done = [iterate.done for iterate in iterates]
    assert done == sorted(done)
    assert done[-1] <= 1
    assert len(result.history) == 12
    assert result.provenance["remark"] == iterates[0].remark


def test_observed_pixels_come_back_bit_for_bit_from_crops():
    y = noisy(200, 300).astype(np.float32)
    y[RNG.random(y.shape) < 0.3] = np.nan
    recipe = Recipe().with_settings({**QUICK, "compute.tile_size": 128, "hard_data_consistency": True})
    image = restore(observation_of(y), recipe).image
    assert np.array_equal(image[np.isfinite(y)], y[np.isfinite(y)])


def test_where_a_crop_shows_nothing_nothing_is_made_up():
    y = noisy(160, 600)
    y[:, 200:] = np.nan
    y[:, 450:] = 7.0  # the padding of a mosaic, say
    recipe = Recipe().with_settings({**QUICK, "compute.tile_size": 128})
    result = restore(observation_of(y), recipe)
    assert np.isfinite(result.image[:, :200]).all()
    assert np.isnan(result.image[:, 310:350]).all()
    assert np.all(result.image[:, -64:] == 7.0)


def test_where_no_crop_shows_anything_the_frame_is_restored_as_a_whole():
    y = np.full((400, 160), np.nan)
    y[:100], y[300:] = 5.0, 7.0
    recipe = Recipe().with_settings({"compute.tile_size": 128})
    assert len(plan_tiles(recipe, observation_of(y), CPU)[0]) == 1
    y[0, 0] = 6.0
    assert len(plan_tiles(recipe, observation_of(y), CPU)[0]) > 1


def test_finishing_leaves_the_crops_not_reached_empty():
    recipe = Recipe().with_settings({**QUICK, "compute.tile_size": 128})
    run = iter_restoration(observation_of(noisy(160, 600)), recipe, snapshot_every=6)
    next(run)
    with pytest.raises(StopIteration) as end:
        run.send(napari_dip.core.result.Wish(finish=True))
    result = end.value.value
    assert np.isfinite(result.image[:96, :96]).all()
    assert np.isnan(result.image[:, 200:]).all()
    assert "not restored" in result.history[-1].reason


class TestAFullMemory:
    def fail_above(self, monkeypatch, pixels):
        real = Prior.__call__

        def call(prior, x=None):
            if prior._problem.y.numel() > pixels:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(prior, x)

        monkeypatch.setattr(Prior, "__call__", call)

    def test_makes_the_crops_smaller_and_says_so(self, monkeypatch):
        self.fail_above(monkeypatch, 200**2)
        result = restore(observation_of(noisy(300, 300)), Recipe().with_settings(QUICK))
        assert np.isfinite(result.image).all()
        remark = result.provenance["remark"]
        assert "memory of device 'cpu' was full" in remark
        assert "crops of 128 x 128" in remark

    def test_ends_in_a_sentence_where_nothing_is_left_to_try(self, monkeypatch):
        self.fail_above(monkeypatch, 100)
        with pytest.raises(DeviceError, match="memory is full"):
            restore(observation_of(noisy(300, 300)), Recipe().with_settings(QUICK))

    def test_of_another_device_is_answered_by_the_cpu(self):
        means, recipe = TilePlanner(torch.device("cuda")), Recipe()
        crops = tile_grid(300, 300, 128, TILE_MARGIN_PX)
        assert means.shrink_tiles(crops, recipe)
        assert means.device == CPU
        assert "the CPU went on" in means.note
        assert not means.shrink_tiles(crops, recipe)


class TestAWarmStart:
    def stack(self):
        y, x = np.mgrid[:64, :64]
        scene = 100 + 30 * np.sin(y / 3) * np.cos(x / 4 + y / 9)
        return scene, np.stack([scene + RNG.normal(0, 10, scene.shape) for _ in range(2)])

    def restored(self, stack, **changes):
        recipe = Recipe().with_settings(
            {"noise.sigma": 10.0, "refinement.patch_method": "none", **changes}
        )
        return restore(Observation.from_array(stack, axes="TYX"), recipe)

    def test_begins_with_what_was_learnt_before(self):
        scene, stack = self.stack()
        errors = []
        for warm in (True, False):
            image = self.restored(stack, **{"solver.warm_start": warm, "solver.max_steps": 60}).image
            errors.append(np.sqrt(np.mean((image[1] - scene) ** 2)))
        assert errors[0] < 0.9 * errors[1]

    def test_brings_no_noise_along(self):
        scene, stack = self.stack()
        error = self.restored(stack).image[1] - scene
        noise = stack[0] - scene
        correlation = np.corrcoef(error.ravel(), noise.ravel())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(scene.size)

    def test_can_be_left_out(self):
        _, stack = self.stack()
        both = self.restored(np.stack([stack[0], stack[0]]), **{"solver.warm_start": False}, **QUICK)
        assert np.array_equal(both.image[0], both.image[1])


def test_overlaps_hold_two_margins_and_a_blend():
    first, second, *_ = tile_grid(128, 200, 128, TILE_MARGIN_PX)
    assert first.columns.stop - second.columns.start >= 2 * TILE_MARGIN_PX + TILE_BLEND_PX


class TestTheNoiseOfACrop:
    def frame(self, **more):
        """Noise of 5, and in one corner a texture that could be taken for noise."""
        y = noisy(400, 400)
        y[:128, :128] += np.kron(RNG.normal(0, 40, (64, 64)), np.ones((2, 2)))
        return observation_of(y, **more)

    def test_is_that_of_the_frame(self):
        frame = self.frame()
        crops = tile_grid(400, 400, 128, TILE_MARGIN_PX)
        noise = Recipe().noise
        like = noise.likelihood(noise_sample(frame, crops))
        assert float(np.median(like.sigma)) == pytest.approx(5, rel=0.05)
        assert like.kind == "white"
        textured = crops[0].cut(frame)
        assert noise.likelihood(textured).kind != "white"
        told = noise.likelihood(textured, like)
        assert (told.kind, told.source) == ("white", like.source)
        assert np.allclose(told.sigma, like.sigma)

    @pytest.mark.parametrize(("told", "corrected"), [(5.0, False), (2.5, True)])
    def test_is_corrected_as_that_of_the_frame(self, told, corrected):
        frame = self.frame()
        crops = tile_grid(400, 400, 128, TILE_MARGIN_PX)
        noise = Recipe().with_settings({"noise.sigma": told}).noise
        like = noise.likelihood(noise_sample(frame, crops))
        assert ("but measured" in like.source) == corrected
        assert float(np.median(noise.likelihood(crops[0].cut(frame), like).sigma)) == pytest.approx(
            float(np.median(like.sigma))
        )

    def test_is_what_the_header_says_or_what_the_frame_says_against_it(self):
        photons = RNG.poisson(50, (400, 400))
        crops = tile_grid(400, 400, 128, TILE_MARGIN_PX)
        for gain, refuted in ((1.0, False), (9.0, True)):
            header = Header(fits_header=f"GAIN    = {gain:20.1f}".ljust(80))
            frame = observation_of(photons, header=header)
            noise = Recipe().with_settings({"noise.kind": "poisson"}).noise
            like = noise.likelihood(noise_sample(frame, crops))
            assert like.header_rejected == refuted
            assert noise.likelihood(crops[-1].cut(frame), like).header_rejected == refuted

    def test_is_told_by_the_parts_that_show_something(self):
        y = noisy(400, 400)
        y[:, :300] = np.nan
        frame = observation_of(y)
        found = noise_sample(frame, tile_grid(400, 400, 128, TILE_MARGIN_PX))
        assert not found.is_constant
        assert float(Recipe().noise.likelihood(found).sigma.item()) == pytest.approx(5, rel=0.1)
