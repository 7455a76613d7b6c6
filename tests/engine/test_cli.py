import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from napari_dip import Recipe
from napari_dip.cli import main
from napari_dip.io import images
from napari_dip.samples import star_field

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


@pytest.fixture
def call(monkeypatch, capsys):
    """The command line in this process: (exit status, what it printed, its errors)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["napari-dip", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, *capsys.readouterr()

    return call


def command(*words, **options):
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "napari_dip", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
        **options,
    )


def test_run_restores_and_says_so(call, frame, tmp_path):
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


def test_holes_of_a_photograph_come_from_one_plane(call, tmp_path):
    photo = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    holes = np.zeros((40, 50), np.uint8)
    holes[10:12] = 255
    tifffile.imwrite(tmp_path / "photo.tif", photo, photometric="rgb")
    tifffile.imwrite(tmp_path / "holes.tif", holes)
    words = ["run", "inpaint", tmp_path / "photo.tif", tmp_path / "out.tif", *FAST]
    assert call(*words, "--holes", tmp_path / "holes.tif")[0] == 0
    (image,) = images(tmp_path / "out.tif")
    assert image.flagged[:, 10:12].all()
    assert image.flagged.sum() == 3 * 2 * 50


def test_holes_come_from_a_file(call, frame, tmp_path):
    holes = np.zeros((64, 64), np.uint8)
    holes[30:33] = 5
    fits.PrimaryHDU(holes).writeto(tmp_path / "holes.fits")
    out = tmp_path / "out.fits"
    assert call("run", "inpaint", frame, out, *FAST, "--holes", tmp_path / "holes.fits")[0] == 0
    assert fits.getdata(out, "FILLED")[30:33].all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "denoize", "FRAME", "OUT"], "did you mean 'denoise'"),
        (["run", "denoise", "absent.fits", "OUT"], "no file absent.fits"),
        (["run", "denoise", "FRAME", "OUT.png"], "suffix"),
        (["run", "denoise", "FRAME", "FRAME"], "exists already"),
        (["run", "denoise", "FRAME", "FRAME", "--overwrite"], "input itself"),
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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send there")
def test_control_c_finishes_and_keeps(frame, tmp_path):
    out = tmp_path / "out.fits"
    running = subprocess.Popen(
        [sys.executable, "-m", "napari_dip", "run", "denoise", str(frame), str(out),
         *FAST[:4], "--set", "solver.max_steps=1000000", "--set", "stopping.kind=fixed"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "Ctrl-C" in running.stdout.readline()
    running.send_signal(signal.SIGINT)
    said, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors
    assert "finished by hand" in said
    assert np.isfinite(fits.getdata(out)).all()
