import json
import logging
import os
import signal
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image

from napari_dip import Recipe, list_presets
from napari_dip.cli import commands
from napari_dip.cli.progress import _count_interrupts
from napari_dip.core.errors import RestorationError
from napari_dip.datasets import star_field
from napari_dip.io import read_images
from napari_dip.run.recipe import all_auxiliary

FAST = [
    "--set",
    "network.channels=8",
    "--set",
    "network.depth=3",
    "--set",
    "solver.max_steps=20",
]


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    path = tmp_path_factory.mktemp("frames") / "frame.fits"
    star_field(seed=1, side=64, stars=10).writeto(path)
    return path


def command(*words, **options):
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "napari_dip", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=500,
        env=environment,
        check=False,
        **options,
    )


def test_run_restores_and_reports(call, frame, tmp_path):
    out = tmp_path / "out.fits"
    status, said, _ = call("run", "denoise", frame, out, *FAST, "--seed", 3)
    assert status == 0
    assert f"written: {out}" in said
    assert "all 20 steps were taken" in said
    assert fits.getheader(out)["DIPSEED"] == 3
    assert np.isfinite(fits.getdata(out)).all()


def test_an_output_and_a_json_file_are_recipes(call, frame, tmp_path):
    first, second, third = (tmp_path / name for name in ("1.fits", "2.fits", "3.fits"))
    assert command("run", "inpaint", frame, first, *FAST).returncode == 0
    assert call("run", first, frame, second)[0] == 0
    np.testing.assert_array_equal(fits.getdata(first), fits.getdata(second))
    recipe = tmp_path / "mine.json"
    recipe.write_text(
        json.dumps({"solver": {"max_steps": 10}, "network": {"kind": "hourglass", "channels": 8}})
    )
    assert "all 10 steps" in call("run", recipe, frame, third)[1]


def test_one_plane_masks_all_channels_of_a_photograph(call, tmp_path):
    photo = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    mask = np.zeros((40, 50), np.uint8)
    mask[10:12] = 255
    tifffile.imwrite(tmp_path / "photo.tif", photo, photometric="rgb")
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    words = ["run", "inpaint", tmp_path / "photo.tif", tmp_path / "out.tif", *FAST]
    assert call(*words, "--mask", tmp_path / "mask.tif")[0] == 0
    (image,) = read_images(tmp_path / "out.tif")
    assert image.bad_mask[:, 10:12].all()
    assert image.bad_mask.sum() == 3 * 2 * 50


def test_a_mask_comes_from_a_file(call, frame, tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[30:33] = 5
    fits.PrimaryHDU(mask).writeto(tmp_path / "mask.fits")
    out = tmp_path / "out.fits"
    assert call("run", "inpaint", frame, out, *FAST, "--mask", tmp_path / "mask.fits")[0] == 0
    assert fits.getdata(out, "FILLED")[30:33].all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "denoize", "FRAME", "OUT"], "did you mean 'denoise'"),
        (["run", "denoise", "absent.fits", "OUT"], "no file absent.fits"),
        (["run", "denoise", "FRAME", "OUT.png"], "suffix"),
        (["run", "denoise", "FRAME", "FRAME"], "exists: allow overwriting, or choose another name"),
        (
            ["run", "denoise", "FRAME", "FRAME", "--overwrite"],
            "is an input: choose another name for the output",
        ),
        (["run", "denoise", "FRAME", "OUT", "--set", "noise.sgma=1"], "did you mean"),
        (["run", "denoise", "FRAME", "OUT", "--set", "noise.sigma"], "name=value"),
        (["run", "FRAME", "FRAME", "OUT"], "no recipe"),
        (["run", "denoise", "FRAME", "nowhere/out.fits"], "no folder"),
        (["info", "absent.tif"], "no file absent.tif"),
        (["presets", "nothing"], "no preset"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(call, frame, tmp_path, words, said):
    places = {
        "FRAME": str(frame),
        "OUT": str(tmp_path / "o.fits"),
        "OUT.png": str(tmp_path / "o.png"),
    }
    before = frame.read_bytes()
    status, _, errors = call(*(places.get(word, word) for word in words))
    assert status == 2
    assert said in errors
    assert errors.startswith("napari-dip: ")
    assert len(errors.strip().splitlines()) == 1
    assert frame.read_bytes() == before


def test_presets_are_listed_explained_and_printed(call):
    assert "denoise" in call("presets")[1]
    assert "noise.sigma" in call("presets", "denoise")[1]
    assert Recipe.from_json(call("presets", "inpaint", "--json")[1]) == Recipe.preset("inpaint")


def test_info_says_what_is_in_a_file(call, frame):
    _, said, _ = call("info", frame)
    assert "Y 64 x X 64" in said
    assert "adu" in said
    assert "arcsec" in said


@pytest.fixture
def endless(frame, tmp_path):
    """A run without end, that has started, and its output."""
    out = tmp_path / "out.fits"
    running = subprocess.Popen(
        [sys.executable, "-m", "napari_dip", "run", "denoise", str(frame), str(out),
         *FAST[:4], "--set", "solver.max_steps=1000000", "--set", "stopping.kind=fixed"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "Ctrl-C" in running.stdout.readline()
    yield running, out
    running.kill()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no signals to send there")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_stops_and_keeps_the_image(endless, name):
    running, out = endless
    running.send_signal(getattr(signal, name))
    said, errors = running.communicate(timeout=500)  # until it ends, however busy the machine is
    assert running.returncode in (0, 3), errors  # 3 where it was stopped before it restored anything
    assert "stopped by hand" in said
    assert np.isfinite(fits.getdata(out)).all()


def test_the_second_signal_keeps_nothing():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RestorationError, match="nothing was written"), _count_interrupts() as noted:
        signal.raise_signal(signal.SIGINT)
        assert noted == [signal.SIGINT]
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_several_inputs_are_exposures_of_one_scene(call, frame, tmp_path):
    second, out = tmp_path / "second.fits", tmp_path / "out.fits"
    star_field(seed=1, side=64, stars=10).writeto(second)
    status, said, _ = call("run", "coadd", frame, second, out, *FAST)
    assert status in (0, 3)
    assert "shifts (x, y) in pixels: (+0.00, +0.00), (+0.00, +0.00)" in said
    assert fits.getdata(out).shape == (64, 64)
    assert fits.getheader(out)["OBJECT"] == "simulated star field"


def test_inputs_of_two_shapes_are_refused(call, frame, tmp_path):
    other = tmp_path / "other.fits"
    star_field(seed=1, side=48, stars=10).writeto(other)
    status, _, errors = call("run", "coadd", frame, other, tmp_path / "out.fits")
    assert status == 2
    assert "other.fits (YX (48, 48)) cannot be stacked with" in errors


def test_auxiliary_data_come_from_an_extension(call, frame, tmp_path):
    y, x = np.mgrid[-6:7, -6:7]
    psf = np.exp(-(y**2 + x**2) / 5)
    book = tmp_path / "book.fits"
    images = [fits.ImageHDU(psf.astype(np.float32), name="PSF")]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(book)
    out = tmp_path / "out.fits"
    status, *_ = call("run", "deconvolve", frame, out, *FAST, "--psf", f"{book}[PSF]")
    assert status in (0, 3)
    assert np.isfinite(fits.getdata(out)).all()
    status, _, errors = call("run", "deconvolve", frame, tmp_path / "b.fits", "--psf", f"{book}[STAR]")
    assert status == 2
    assert "has no image 'STAR'; it has PSF" in errors


@pytest.mark.parametrize(
    ("preset", "words", "sentence"),
    [
        ("denoise", ["--psf", "a.fits"], "the recipe takes no psf, which is a.fits: it takes none"),
        ("deconvolve", ["--guide", "a.fits"], "takes no guide, which is a.fits: it takes psf"),
        ("deconvolve", ["--psf", "nowhere.fits"], "there is no file nowhere.fits"),
    ],
)
def test_auxiliary_data_that_are_not_taken_or_absent_are_refused(
    call, frame, tmp_path, preset, words, sentence
):
    status, _, errors = call("run", preset, frame, tmp_path / "out.fits", *words)
    assert status == 2
    assert sentence in errors


def test_an_option_of_a_file_without_the_file_is_an_error(call, frame, tmp_path):
    status, _, errors = call("run", "deconvolve", frame, tmp_path / "out.fits", "--psf")
    assert status == 2
    assert "--psf" in errors


def test_every_kind_of_auxiliary_data_has_an_option_in_the_help():
    said = command("run", "--help").stdout
    assert {"psf", "guide", "coil_maps", "trajectory"} <= set(all_auxiliary())
    for name in all_auxiliary():
        assert f"--{name.replace('_', '-')} " in said


def test_super_resolution_writes_coordinates_that_fit(call, frame, tmp_path):
    from astropy.wcs import WCS

    out = tmp_path / "finer.fits"
    change = ("--set", "operator.scale_factor=2")
    status, said, _ = call("run", "super-resolution", frame, out, *FAST, *change)
    assert status == 0
    assert "it predicts the data with a PSNR of" in said
    assert "values are per pixel (unit adu): flux is conserved" in said
    before, after = WCS(fits.getheader(frame)), WCS(fits.getheader(out))
    assert fits.getdata(out).shape == (128, 128)
    sky = before.pixel_to_world_values(10.0, 20.0)
    np.testing.assert_allclose(after.pixel_to_world_values(20.5, 40.5), sky, atol=1e-9)


@pytest.mark.parametrize("preset", list_presets())
def test_every_preset_runs(call, tmp_path, preset):
    recipe = Recipe.preset(preset)
    rng = np.random.default_rng(0)
    source, out = tmp_path / "in.fits", tmp_path / "out.fits"
    image = rng.normal(100, 5, (40, 48)).astype(np.float32)
    if recipe.noise.kind == "jpeg":
        compressed = BytesIO()
        texture = 40 * np.add.outer(np.sin(np.arange(40)), np.cos(np.arange(48)))
        Image.fromarray((image + texture).astype(np.uint8)).save(compressed, "JPEG", quality=20)
        image = np.asarray(Image.open(compressed))
    if recipe.signal.kind != "none":
        example = recipe.signal.make_example(0)
        image = example.to_input_axes(example.y)
        source.with_suffix(".json").write_text(json.dumps(dict(example.header.protocol)))
    header = fits.Header({"CTYPE3": "TIME"} if image.ndim == 3 else {})
    fits.PrimaryHDU(image, header).writeto(source)
    auxiliary = ["--guide", source] if "guide" in recipe.auxiliary else []
    slim = ["--set", "network.channels=8", "--set", "solver.max_steps=3"]
    sources = [source]
    if recipe.operator.combines_time:
        sources.append(tmp_path / "another.fits")
        fits.writeto(sources[1], image + rng.normal(0, 5, image.shape).astype(np.float32))
    if recipe.operator.has_complex_scene:
        real, imaginary = np.split(recipe.operator.make_example(0).y[:, :, 0], 2, axis=1)
        np.save(tmp_path / "k.npy", np.nan_to_num(real + 1j * imaginary))
        sources = [tmp_path / "k.npy"]
        if recipe.signal.kind != "none":
            slim += ["--set", f"signal.echo_times={[0.01 * (n + 1) for n in range(len(real))]}"]
    status, _, errors = call("run", preset, *sources, out, *slim, *auxiliary)
    assert status in (0, 3), errors  # 3: after three steps nothing is restored yet


@pytest.fixture
def flagged(tmp_path):
    """A frame of the Hubble telescope's convention: 4 hot pixels, 7 of a cosmic ray."""
    quality = np.zeros((40, 50), np.int16)
    quality[5, 5:9], quality[9, 5:12] = 16, 4096
    science = np.random.default_rng(0).normal(100, 5, (40, 50)).astype(np.float32)
    primary = fits.PrimaryHDU(header=fits.Header({"TELESCOP": "HST", "INSTRUME": "ACS"}))
    planes = [fits.ImageHDU(science, name="SCI"), fits.ImageHDU(quality, name="DQ")]
    fits.HDUList([primary, *planes]).writeto(tmp_path / "hst.fits")
    return tmp_path / "hst.fits"


@pytest.mark.parametrize(
    ("flags", "missing"), [([], 11), (["--bad-flags", "16"], 4), (["--bad-flags", ""], 0)]
)
def test_bad_flags_are_chosen(call, flagged, tmp_path, flags, missing):
    _, said, _ = call("info", flagged)
    assert "16 hot: 4 pixels, missing" in said
    assert call("run", "denoise", flagged, tmp_path / "out.fits", *flags, *FAST)[0] == 0
    header = fits.getheader(tmp_path / "out.fits", "SCI")
    assert header["DIPFILL"] == missing
    folder = tmp_path / "many"
    assert call("batch", "denoise", flagged, "--output-dir", folder, *flags, *FAST)[0] == 0
    assert fits.getheader(folder / "hst.fits", "SCI")["DIPFILL"] == missing


def test_integers_and_imagej_are_written_on_request(call, flagged, tmp_path):
    words = ["run", "denoise", flagged, tmp_path / "out.tif", *FAST]
    status, said, _ = call(*words, "--dtype", "uint8", "--format", "imagej")
    assert status == 0
    assert "as uint8: 0 % of the pixels clipped" in said
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert tiff.is_imagej
        assert tiff.asarray().dtype == np.uint8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--bad-flags", "3"], "3 is not a quality flag: flags are 1, 2, 4, 8 ..."),
        (["--bad-flags", "x"], "write integers and commas, such as 1,4,4096"),
        (["--format", "imagej"], "ImageJ files are TIFF; write .tif"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_the_work(call, flagged, tmp_path, options, said):
    status, _, errors = call("run", "denoise", flagged, tmp_path / "out.fits", *options)
    assert status == 2
    assert said in errors
    assert not (tmp_path / "out.fits").exists()


def test_an_unexpected_error_is_one_sentence(call, frame, tmp_path, monkeypatch):
    def fail(*args):
        raise TypeError("no\nidea")

    monkeypatch.setattr(commands, "run_with_progress", fail)
    status, _, errors = call("run", "denoise", frame, tmp_path / "out.fits")
    assert status == 2
    assert errors.strip() == (
        "napari-dip: unexpected error (TypeError: no); please report it: napari-dip --debug, before the"
        " same command, shows the traceback"
    )
    with pytest.raises(TypeError):
        call("--debug", "run", "denoise", frame, tmp_path / "out.fits")


def test_a_failed_result_is_written_and_has_status_3(call, tmp_path):
    """Of a fit that is far from its end nothing but the file can be used."""
    noisy, out = tmp_path / "noisy.fits", tmp_path / "out.fits"
    y, x = np.mgrid[:64, :64]
    image = 100 * ((x // 8 + y // 8) % 2) + np.random.default_rng(0).normal(0, 1, y.shape)
    fits.writeto(noisy, image.astype(np.float32))
    early = "solver.max_steps=2", "stopping.kind=fixed", "refinement.patch_method=none"
    changes = [word for change in early for word in ("--set", change)]
    status, said, _ = call("run", "denoise", noisy, out, *FAST, *changes)
    assert status == 3
    assert any(line.startswith("failed: ") for line in said.splitlines())
    header = fits.getheader(out)
    assert header["DIPCHECK"] == "failed"
    assert "the residual is " in header["DIPWHY"]


def test_outcomes_are_printed_as_json_and_nothing_else_is(frame, tmp_path, call):
    status, printed, errors = call("run", "denoise", frame, tmp_path / "a.fits", *FAST, "--json")
    found = json.loads(printed)
    assert status in (0, 3)
    assert found["output"] == str(tmp_path / "a.fits")
    assert found["assessment"]["level"] in ("good", "check", "failed")
    assert found["recipe"]["solver"]["max_steps"] == 20
    assert "written" in errors
    _, printed, _ = call("info", tmp_path / "a.fits", "--json")
    found = json.loads(printed)
    assert found["images"][0]["shape"] == [64, 64]
    assert found["recipe"]["solver"]["max_steps"] == 20
    _, printed, _ = call("batch", "denoise", frame, "--output-dir", tmp_path / "out", *FAST, "--json")
    (row,) = json.loads(printed)["results"]
    assert row["state"] == "restored"
    assert row["steps"] == 20


def test_quiet_prints_nothing_and_the_log_has_everything(frame, tmp_path, call):
    log = tmp_path / "log.txt"
    status, printed, errors = call(
        "--quiet", "--log-file", log, "run", "denoise", frame, tmp_path / "a.fits", *FAST
    )
    assert status in (0, 3)
    assert (printed, errors) == ("", "")
    text = log.read_text("utf-8")
    assert "block 1 of 1" in text
    assert "INFO Denoise" in text
    logging.getLogger("napari_dip").handlers.pop().close()
    status, _, errors = call("--log-file", tmp_path / "nowhere" / "log.txt", "info", frame)
    assert status == 2
    assert "cannot be written" in errors


def test_without_a_terminal_a_line_is_printed_now_and_then(frame, tmp_path, call, monkeypatch):
    monkeypatch.setattr("napari_dip.cli.progress.LINE_EVERY_S", 0.0)
    _, printed, _ = call("run", "denoise", frame, tmp_path / "a.fits", *FAST)
    assert "it/s" in printed
