"""What `npe2 validate` does not look at."""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from npe2 import PluginManifest

ROOT = Path(__file__).parents[2]
PACKAGED = ROOT / "src" / "napari_dip" / "napari.yaml"


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_file(PACKAGED)


def references(contributions):
    for section in ("widgets", "readers", "writers", "sample_data"):
        for contribution in contributions.get(section) or []:
            yield contribution["command"]
    for items in (contributions.get("menus") or {}).values():
        yield from (item["command"] for item in items if "command" in item)


def test_the_manifest_at_the_top_is_a_link_to_the_packaged_one():
    top = ROOT / "napari.yaml"
    if not top.is_symlink():
        pytest.skip("this checkout has no symbolic links")
    assert top.resolve() == PACKAGED.resolve()


def test_no_key_is_misspelt(manifest):
    """Unknown keys vanish silently, so what was read must be what was written."""
    written = yaml.safe_load(PACKAGED.read_text())["contributions"]
    known = set(type(manifest.contributions).model_fields)
    assert set(written) <= known


def test_every_command_that_is_referred_to_exists(manifest):
    written = yaml.safe_load(PACKAGED.read_text())["contributions"]
    ids = [command.id for command in manifest.contributions.commands]
    assert len(set(ids)) == len(ids)
    assert set(references(written)) == set(ids)


@pytest.mark.window
def test_every_command_imports(manifest):
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(import_module(module), name)), command.id


@pytest.mark.window
def test_every_menu_may_be_contributed_to(manifest):
    from napari._app_model.constants import MenuId

    assert set(manifest.contributions.menus) <= set(MenuId.contributables())


def test_every_suffix_that_the_engine_reads_is_claimed(manifest):
    from napari_dip.io import FOLDER_SUFFIXES, IMAGE_SUFFIXES, KSPACE_SUFFIXES

    files, folders = manifest.contributions.readers
    assert (files.accepts_directories, folders.accepts_directories) == (False, True)
    for suffix in (*IMAGE_SUFFIXES, *KSPACE_SUFFIXES):
        reader = folders if suffix in FOLDER_SUFFIXES else files
        assert f"*{suffix}" in reader.filename_patterns
        assert f"*{suffix.upper()}" in reader.filename_patterns


GITHUB = {
    "GITHUB_SERVER_URL": "https://git.example",
    "GITHUB_REPOSITORY": "a/b",
    "GITHUB_REF_NAME": "v1",
}


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, GITHUB], ids=["elsewhere", "release"])
def test_a_release_knows_where_the_project_lives(tmp_path, environment):
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    code = (
        "import json; from hatchling.metadata.core import ProjectMetadata as Metadata;"
        " from hatchling.plugin.manager import PluginManager;"
        f" core = Metadata({str(ROOT)!r}, PluginManager()).core;"
        " print(json.dumps([core.urls, core.readme]))"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=plain | environment, cwd=ROOT
    )
    assert made.returncode == 0, made.stderr
    urls, readme = json.loads(made.stdout)
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", readme)
    if not environment:
        assert (urls, readme) == ({}, (ROOT / "README.md").read_text("utf-8"))
        return
    assert urls["Homepage"] == "https://git.example/a/b"
    assert urls["Changelog"] == "https://git.example/a/b/blob/v1/CHANGELOG.md"
    assert all(target.startswith("https://") for _, target in links)
    (picture,) = (target for mark, target in links if mark)
    assert picture == "https://git.example/a/b/raw/v1/docs/images/run.webp"
    assert "(https://git.example/a/b/blob/v1/docs/tutorials/install.md)" in readme


@pytest.mark.slow
def test_wheel_sdist_and_clone_all_carry_a_valid_manifest(tmp_path):
    made = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-2000:]
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    texts = {"clone": (ROOT / "napari.yaml").read_text()}
    with zipfile.ZipFile(wheel) as archive:
        texts["wheel"] = archive.read("napari_dip/napari.yaml").decode()
        entry = next(n for n in archive.namelist() if n.endswith("entry_points.txt"))
        assert "napari-dip = napari_dip:napari.yaml" in archive.read(entry).decode()
        assert {"napari_dip/run/presets/denoise.json", "napari_dip/py.typed"} <= set(archive.namelist())
    with tarfile.open(sdist) as archive:
        member = next(n for n in archive.getnames() if n.endswith("src/napari_dip/napari.yaml"))
        texts["sdist"] = archive.extractfile(member).read().decode()
    for where, text in texts.items():
        assert text == PACKAGED.read_text(), where
        (tmp_path / f"{where}.yaml").write_text(text)
        assert PluginManifest.from_file(tmp_path / f"{where}.yaml").name == "napari-dip"


def test_the_version_comes_from_git_and_looks_like_one():
    from napari_dip import __version__

    assert re.match(r"\d+\.\d+", __version__)
