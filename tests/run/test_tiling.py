"""Large images in tiles: the plan, the seams, the memory, and warm starts."""

import gc
from itertools import pairwise

import numpy as np
import pytest
import torch

from napari_dip import Header, Recipe, restore
from napari_dip.core.axes import ChannelLayout
from napari_dip.core.errors import DeviceError
from napari_dip.prior.generator import Prior
from napari_dip.run.memory import bytes_per_pixel
from napari_dip.run.restoration import iter_restoration
from napari_dip.run.tiles.planner import TilePlanner, plan_tiles
from napari_dip.run.tiles.tile import TILE_BLEND_PX, TILE_MARGIN_PX, TileBlender, noise_sample, tile_grid
from napari_dip.run.warm_start import WarmStart

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)


def noisy(height, width):
    y, x = np.mgrid[:height, :width]
    return 100 + 30 * np.sin(y / 15) * np.cos(x / 20) + RNG.normal(0, 5, (height, width))


@pytest.fixture
def fast_fit(fast_settings):
    """Settings of a fit of a second that is not refined."""
    return {**fast_settings, "solver.max_steps": 12, "refinement.patch_method": "none"}


@pytest.mark.parametrize("shape", [(512, 512), (700, 400), (513, 1025), (256, 3000), (130, 130)])
@pytest.mark.parametrize("margin", [16, 40])
class TestATileGrid:
    def test_covers_every_pixel(self, shape, margin):
        blender = TileBlender(np.full(shape, np.nan, np.float32))
        total = np.zeros(shape)
        for tile in tile_grid(*shape, 256, margin):
            total[tile.rows, tile.columns] += np.outer(*tile.weights)
            blender.add(tile, np.ones([len(w) for w in tile.weights], np.float32))
        assert total.min() > 0.2
        assert np.array_equal(blender.planes, np.ones(shape))

    def test_has_tiles_of_one_size_each_beside_the_last(self, shape, margin):
        tiles = tile_grid(*shape, 256, margin)
        assert len({tuple(len(w) for w in tile.weights) for tile in tiles}) == 1
        assert max(len(w) for w in tiles[0].weights) <= 256
        for last, tile in pairwise(tiles):
            for one, next_one in ((last.rows, tile.rows), (last.columns, tile.columns)):
                assert max(one.start, next_one.start) < min(one.stop, next_one.stop)

    def test_gives_no_weight_to_borders_inside_the_image(self, shape, margin):
        for tile in tile_grid(*shape, 256, margin):
            for along, weights, side in zip((tile.rows, tile.columns), tile.weights, shape, strict=True):
                assert (weights[:margin].max() == 0) == (along.start > 0)
                assert (weights[-margin:].max() == 0) == (along.stop < side)


def test_what_all_tiles_agree_on_is_kept_bit_for_bit():
    image = RNG.normal(0, 1, (300, 500)).astype(np.float32)
    blender = TileBlender(np.full(image.shape, np.nan, np.float32))
    for tile in tile_grid(*image.shape, 128, TILE_MARGIN_PX):
        blender.add(tile, image[tile.rows, tile.columns])
    assert np.array_equal(blender.planes, image)


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
def test_an_image_is_tiled_by_its_size_and_the_memory(make_data, changes, side, number):
    recipe = Recipe().with_settings(
        {
            "compute.memory_limit_gb": 8.0,
            "compute.precision": "float32",
            "self_supervision.method": "none",  # no amortized fit
            **changes,
        }
    )
    tiles, note, _ = plan_tiles(recipe, make_data(noisy(side, side)), CPU)
    assert len(tiles) == number, [t.rows for t in tiles]
    assert (f"in {number} tiles of" in note) == (number > 1)
    assert ("because the whole needs about" in note) == (recipe.compute.memory_limit_gb < 0.2)


def test_wide_point_spread_functions_have_wide_margins(make_data):
    recipe = Recipe().with_settings(
        {"operator.kind": "blur", "operator.fwhm": 12, "compute.tile_size": 384}
    )
    tiles = plan_tiles(recipe, make_data(noisy(1000, 400)), CPU).tiles
    without = np.flatnonzero(tiles[0].weights[0])[-1] + 1
    assert len(tiles[0].weights[0]) - without > TILE_MARGIN_PX + 12


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
def test_tiles_are_blended_to_one_result(fast_fit, make_observation, changes):
    y = noisy(200, 300)
    y[50:60, 140:170] = np.nan
    recipe = Recipe().with_settings({**fast_fit, "compute.tile_size": 128, **changes})
    run = iter_restoration(make_observation(y), recipe, snapshot_every=6)
    reports = list(run)
    result = run.result
    factor = round(result.scale_factor[0])
    assert result.image.shape == (200 * factor, 300 * factor)
    assert np.isfinite(result.image).all()
    assert np.array_equal(np.isnan(result.residual), np.isnan(y))
    assert result.inpainted[55 * factor, 150 * factor]
    assert not result.inpainted[20, 20]
    assert {progress.tile for progress in reports} == set(range(12))
    assert {progress.tiles for progress in reports} == {12}
    assert all("in 12 tiles of 128 x 128 pixels" in progress.note for progress in reports)
    done = [progress.fraction_done for progress in reports]
    assert done == sorted(done)
    assert done[-1] <= 1
    assert len(result.history) == 12
    assert result.provenance.notes == reports[0].note


def test_observed_pixels_come_back_bit_for_bit_from_tiles(fast_fit):
    y = noisy(200, 300).astype(np.float32)
    y[RNG.random(y.shape) < 0.3] = np.nan
    settings = {**fast_fit, "compute.tile_size": 128, "hard_data_consistency": True}
    image = restore(y, Recipe().with_settings(settings)).image
    assert np.array_equal(image[np.isfinite(y)], y[np.isfinite(y)])


def test_where_a_tile_shows_nothing_nothing_is_inpainted(fast_fit):
    y = noisy(160, 600)
    y[:, 200:] = np.nan
    y[:, 450:] = 7.0  # the padding of a mosaic, say
    result = restore(y, Recipe().with_settings({**fast_fit, "compute.tile_size": 128}))
    assert np.isfinite(result.image[:, :200]).all()
    assert np.isnan(result.image[:, 310:350]).all()
    assert np.all(result.image[:, -64:] == 7.0)


def test_where_no_tile_shows_anything_the_image_is_restored_as_a_whole(make_data):
    y = np.full((400, 160), np.nan)
    y[:100], y[300:] = 5.0, 7.0
    recipe = Recipe().with_settings({"compute.tile_size": 128})
    assert len(plan_tiles(recipe, make_data(y), CPU)[0]) == 1
    y[0, 0] = 6.0
    assert len(plan_tiles(recipe, make_data(y), CPU)[0]) > 1


def test_stopping_leaves_the_tiles_that_were_not_reached_empty(fast_fit, make_observation):
    recipe = Recipe().with_settings({**fast_fit, "compute.tile_size": 128})
    run = iter_restoration(make_observation(noisy(160, 600)), recipe, snapshot_every=6)
    next(run)
    run.stop()
    result = run.result
    assert np.isfinite(result.image[:96, :96]).all()
    assert np.isnan(result.image[:, 200:]).all()
    assert "not restored" in result.history[-1].stop_reason


class TestAFullMemory:
    def fail_above(self, monkeypatch, pixels):
        real = Prior.__call__

        def call(prior, x=None):
            if prior._problem.y.numel() > pixels:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(prior, x)

        monkeypatch.setattr(Prior, "__call__", call)

    def test_makes_the_tiles_smaller_and_says_so(self, monkeypatch, fast_fit):
        self.fail_above(monkeypatch, 200**2)
        result = restore(noisy(300, 300), Recipe().with_settings(fast_fit))
        assert np.isfinite(result.image).all()
        notes = result.provenance.notes
        assert "memory of device 'cpu' was full" in notes
        assert "tiles of 128 x 128" in notes

    def test_ends_in_a_sentence_where_nothing_is_left_to_try(self, monkeypatch, fast_fit):
        self.fail_above(monkeypatch, 100)
        with pytest.raises(DeviceError, match="memory is full"):
            restore(noisy(300, 300), Recipe().with_settings(fast_fit))

    def test_of_another_device_is_answered_by_the_cpu(self):
        planner, recipe = TilePlanner(torch.device("cuda")), Recipe()
        tiles = tile_grid(300, 300, 128, TILE_MARGIN_PX)
        assert planner.shrink_tiles(tiles, recipe)
        assert planner.device == CPU
        assert "the CPU continued" in planner.note
        assert not planner.shrink_tiles(tiles, recipe)


class TestAWarmStart:
    @pytest.fixture
    def stack(self):
        """A scene, and two frames of it under noise."""
        y, x = np.mgrid[:64, :64]
        scene = 100 + 30 * np.sin(y / 3) * np.cos(x / 4 + y / 9)
        return scene, scene + np.random.default_rng(1).normal(0, 10, (2, 64, 64))

    @pytest.fixture
    def recipe(self):
        return Recipe().with_settings({"noise.sigma": 10.0, "refinement.patch_method": "none"})

    def test_begins_with_what_was_learned_before(self, stack, recipe, make_observation):
        scene, frames = stack
        small = {"network.channels": 16, "network.depth": 3, "stopping.kind": "fixed"}
        long, short = (recipe.with_settings({**small, "solver.max_steps": n}) for n in (400, 20))
        first, second = map(make_observation, frames)
        starts = WarmStart(long)
        _ = iter_restoration(first, long, warm_start=starts).result
        warm = iter_restoration(second, short, warm_start=starts.restart()).result
        cold = restore(second, short)
        warm_error, cold_error = (
            np.sqrt(np.mean((result.image - scene) ** 2)) for result in (warm, cold)
        )
        # 0.62 to 0.72 of it over two precisions, AVX2 and AVX-512, and two draws of the noise.
        assert warm_error < 0.85 * cold_error

    def test_brings_no_noise_along(self, stack, recipe):
        scene, frames = stack
        error = restore(frames, recipe, axes="TYX").image[1] - scene
        noise = frames[0] - scene
        correlation = np.corrcoef(error.ravel(), noise.ravel())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(scene.size)

    def test_can_be_left_out(self, stack, recipe, fast_fit):
        _, frames = stack
        same = np.stack([frames[0], frames[0]])
        cold, warm = (
            restore(
                same, recipe.with_settings({**fast_fit, "solver.warm_start": warm}), axes="TYX"
            ).image
            for warm in (False, True)
        )
        assert np.array_equal(cold[0], cold[1])
        assert not np.array_equal(warm[0], warm[1])


def test_overlaps_hold_two_margins_and_a_blend():
    first, second, *_ = tile_grid(128, 200, 128, TILE_MARGIN_PX)
    assert first.columns.stop - second.columns.start >= 2 * TILE_MARGIN_PX + TILE_BLEND_PX


class TestTheNoiseOfATile:
    TILES = tile_grid(400, 400, 128, TILE_MARGIN_PX)

    @pytest.fixture
    def data(self, make_data):
        """Noise of 5, and in one corner a texture that could be taken for noise."""
        y = noisy(400, 400)
        y[:128, :128] += np.kron(RNG.normal(0, 40, (64, 64)), np.ones((2, 2)))
        return make_data(y)

    def test_is_that_of_the_image(self, data):
        noise = Recipe().noise
        reference = noise.likelihood(noise_sample(data, self.TILES))
        of_image = reference.properties
        assert float(np.median(of_image.sigma)) == pytest.approx(5, rel=0.05)
        assert of_image.kind == "white"
        textured = self.TILES[0].cut(data)
        assert noise.likelihood(textured).properties.kind != "white"
        of_tile = noise.likelihood(textured, reference).properties
        assert (of_tile.kind, of_tile.source) == ("white", of_image.source)
        assert np.allclose(of_tile.sigma, of_image.sigma)

    @pytest.mark.parametrize(("given", "questioned"), [(5.0, False), (2.5, True), (10.0, True)])
    def test_is_questioned_as_that_of_the_image(self, data, given, questioned):
        noise = Recipe().with_settings({"noise.sigma": given}).noise
        reference = noise.likelihood(noise_sample(data, self.TILES)).properties
        assert bool(reference.contradiction) == questioned
        of_tile = noise.likelihood(
            self.TILES[0].cut(data), noise.likelihood(noise_sample(data, self.TILES))
        ).properties
        assert np.median(of_tile.sigma) == np.median(reference.sigma) == given
        assert of_tile.contradiction == reference.contradiction
        assert of_tile.split_scale == reference.split_scale

    def test_is_what_the_header_says_or_what_the_image_says_against_it(self, make_data):
        photons = RNG.poisson(50, (400, 400))
        for gain, rejected in ((1.0, False), (9.0, True)):
            header = Header(fits_header=f"GAIN    = {gain:20.1f}".ljust(80))
            data = make_data(photons, header=header)
            noise = Recipe().with_settings({"noise.kind": "poisson"}).noise
            reference = noise.likelihood(noise_sample(data, self.TILES))
            assert reference.properties.header_rejected == rejected
            of_tile = noise.likelihood(self.TILES[-1].cut(data), reference).properties
            assert of_tile.header_rejected == rejected

    def test_is_measured_in_the_parts_that_show_something(self, make_data):
        y = noisy(400, 400)
        y[:, :300] = np.nan
        sample = noise_sample(make_data(y), self.TILES)
        assert not sample.is_constant
        sigma = Recipe().noise.likelihood(sample).properties.sigma
        assert float(sigma.item()) == pytest.approx(5, rel=0.1)
