"""Every command and every Python block on every page runs; links and images exist."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image
from typer.testing import CliRunner

from napari_dip.cli import commands as cli
from napari_dip.datasets import cardiac_cine, moving_head
from napari_dip.run.recipe import Recipe

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    if page.name != "command-line.md" and "_build" not in page.parts
]
QUICK = {
    "network.channels": 8,
    "solver.max_steps": 2,
    "refinement.patch_method": "none",
    "compute.precision": "float32",  # torch's 3D convolutions in bfloat16 (x86) can give NaN
}
# Sketches for clusters, and an operator and a LocalCluster, which have tests of their own.
NOT_RUN = ("dask_jobqueue", "dask_kubernetes", "operators.base", "LocalCluster")


def page_name(page):
    return str(page.relative_to(ROOT))


def lines(page):
    """The lines of indented code and of fenced blocks other than Python."""
    text = re.sub(r"```(python|\{[^}]*\})\n.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    fenced = "".join(re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL))
    indented = "\n".join(re.findall(r"^ {4,}(\S.*)$", text, flags=re.MULTILINE))
    return [line.strip() for line in (fenced + indented).splitlines()]


def python(page):
    """The Python blocks that can run here."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)
    return [block for block in blocks if not any(word in block for word in NOT_RUN)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files that the pages name."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)

    def noisy(*shape):
        return rng.normal(100, 5, shape).astype(np.float32)

    for name in ("frame", "another", "star_field", "night1", "night2", "night3"):
        fits.writeto(folder / f"{name}.fits", noisy(48, 56))
    flags = np.zeros((48, 56), np.int16)
    flags[5, 5], flags[9, 9] = 16, 4096
    hst = fits.Header({"TELESCOP": "HST", "INSTRUME": "ACS"})
    planes = [fits.ImageHDU(noisy(48, 56), name="SCI"), fits.ImageHDU(flags, name="DQ")]
    fits.HDUList([fits.PrimaryHDU(header=hst), *planes]).writeto(folder / "hst.fits")
    y, x = np.mgrid[-7:8, -7:8]
    fits.writeto(folder / "star.fits", np.exp(-(x**2 + y**2) / 4).astype(np.float32))
    bead = np.exp(-(x**2 + y**2) / 4) * np.array([0.5, 1, 0.5])[:, None, None]
    tifffile.imwrite(folder / "bead.tif", bead.astype(np.float32), ome=True, metadata={"axes": "ZYX"})
    rows, columns = np.mgrid[:48, :56]
    scene = (np.hypot(rows - 20, columns - 18) < 9) + ((rows > 28) & (columns > 34)).astype(np.float32)
    for name, contrast in (("cell", 30), ("dark", 40), ("flash", 90)):
        tifffile.imwrite(folder / f"{name}.tif", contrast * scene + noisy(48, 56))
    gray = Image.fromarray((60 + 90 * scene + columns + rows % 7).astype(np.uint8))
    gray.save(folder / "photo.jpg", quality=20)
    for name, axes, shape in (
        ("stack.tif", "ZYX", (2, 40, 48)),
        ("movie.tif", "TYX", (3, 40, 48)),
        ("echoes.tif", "TYX", (4, 40, 48)),
        ("cells.ome.tif", "TCYX", (2, 2, 48, 56)),
    ):
        tifffile.imwrite(folder / name, noisy(*shape), ome=True, metadata={"axes": axes})
    for number in range(1, 5):
        echo = folder / f"sub-01_echo-{number}_MESE"
        nibabel.Nifti1Image(noisy(48, 40, 1), np.eye(4)).to_filename(f"{echo}.nii.gz")
        echo.with_suffix(".json").write_text(json.dumps({"EchoTime": 0.012 * number}))
    mask = np.zeros((48, 56), np.uint8)
    mask[20:23, 5:40] = 1
    for name in ("scratches.tif", "scratch.tif"):
        tifffile.imwrite(folder / name, mask)
    fits.writeto(folder / "bad_pixels.fits", mask)
    (folder / "night").mkdir()
    for number in (1, 2):
        fits.writeto(folder / "night" / f"frame0{number}.fits", noisy(48, 56))
    heart = cardiac_cine(side=32, beats=(4,), coils=2, acceleration=4)
    np.savez(folder / "scan.npz", kspace=heart.kspace, coils=heart.maps)
    echoes = np.stack([0.8**n * heart.kspace[0] for n in range(3)])
    np.savez(folder / "echoes.npz", kspace=echoes, coils=heart.maps)
    head = moving_head(side=32, shots=4, coils=2, acceleration=1, size=1)
    np.savez(folder / "shots.npz", kspace=head.kspace, coils=head.maps)
    return folder


@pytest.fixture
def here(files, tmp_path, monkeypatch):
    """A folder with these files, and recipes of a few steps."""
    for source in files.iterdir():
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / source.name)
    monkeypatch.chdir(tmp_path)
    preset, with_quality = Recipe.preset.__func__, Recipe.with_quality
    monkeypatch.setattr(
        Recipe, "preset", classmethod(lambda cls, *args, **groups: quick(preset(cls, *args, **groups)))
    )
    monkeypatch.setattr(Recipe, "with_quality", lambda self, quality: quick(with_quality(self, quality)))
    return tmp_path


def quick(recipe):
    return recipe.with_settings(QUICK)


COMMANDS = {p: [line for line in lines(p) if line.startswith("napari-dip ")] for p in PAGES}


@pytest.mark.parametrize("page", [p for p in PAGES if COMMANDS[p]], ids=page_name)
def test_commands_run(page, here):
    for line in COMMANDS[page]:
        words = shlex.split(line, comments=True)[1:]
        if "--scheduler" in words or words == ["doctor"]:
            continue  # needs a cluster, or judges a fit: see tests/run/test_batch.py, tests/cli
        if "*" in line:  # expanded by the shell
            words = [str(part) for word in words for part in sorted(Path().glob(word)) or [word]]
        words += ["--overwrite"] if words[0] == "run" else []
        done = CliRunner().invoke(cli.app, words)
        assert done.exit_code in (0, 3), f"{line}\n{done.output}\n{done.exception}"  # 3: two steps


@pytest.mark.parametrize("page", [p for p in PAGES if python(p)], ids=page_name)
def test_python_runs(page, here):
    names = {"__name__": "page"}  # the blocks of a page belong together
    for block in python(page):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("example", sorted(ROOT.glob("docs/examples/*.py")), ids=lambda path: path.stem)
def test_examples_run(example, here, monkeypatch):
    pytest.importorskip("matplotlib").use("Agg")
    exec(compile(example.read_text("utf-8"), str(example), "exec"), {"__name__": "example"})


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_scripts_and_extras_exist(page):
    with open(ROOT / "pyproject.toml", "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    text = page.read_text("utf-8")
    for names in re.findall(r"napari-dip\[([\w,]+)\]\"", text):
        assert set(names.split(",")) <= set(extras)
    scripts = re.findall(r"(?:python |bash |^ {4}|`)((?:scripts|benchmarks|\.ci)/[\w./]+)", text, re.M)
    for script in scripts:
        assert (ROOT / script).exists(), script


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_and_images_exist(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if not target.startswith(("http", "#")):
            path = (page.parent / target.partition("#")[0]).resolve()
            assert path.exists() or path.name == "command-line.md", target


def test_the_pages_build_without_warnings(tmp_path):
    pytest.importorskip("sphinx")
    pytest.importorskip("furo")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-W",
            "--keep-going",
            "-q",
            "-D",
            "plot_gallery=0",  # the examples have a test of their own
            "-b",
            "html",
            ROOT / "docs",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reference" / "command-line.html").exists()
