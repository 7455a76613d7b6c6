import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from napari_dip import Recipe, RestorationError
from napari_dip.core.errors import DeviceError, ReadError, WriteError
from napari_dip.datasets import star_field
from napari_dip.io import read_provenance
from napari_dip.run.batch import execute
from napari_dip.run.batch.claims import claim
from napari_dip.run.batch.execute import run_job, run_jobs
from napari_dip.run.batch.plan import plan_jobs
from napari_dip.run.executors import dask_workers, local_workers


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    for seed in range(3):
        star_field(seed=seed, side=64, stars=10).writeto(folder / f"frame{seed}.fits")
    (folder / "notes.txt").write_text("clouds")
    return folder


@pytest.fixture
def jobs(fast_recipe, frames, tmp_path):
    return plan_jobs(fast_recipe, [str(frames)], tmp_path / "out")


def test_every_image_of_a_folder_is_a_job(jobs, frames, tmp_path):
    assert [job.sources for job in jobs] == [(str(frames / f"frame{n}.fits"),) for n in range(3)]
    assert [job.target for job in jobs] == [str(tmp_path / "out" / f"frame{n}.fits") for n in range(3)]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a.fits.fz", "a.fits"),
        ("a.fz", "a.fits"),
        ("a.fits.gz", "a.fits.gz"),
        ("a.fits[SCI]", "a_SCI.fits"),
        ("./a.fits[SCI]", "a_SCI.fits"),
        ("a.TIF", "a.TIF"),
    ],
)
def test_outputs_have_the_names_of_inputs(fast_recipe, tmp_path, source, name):
    (job,) = plan_jobs(fast_recipe, [source], tmp_path)
    assert job.target == str(tmp_path / name)


def test_inputs_with_the_same_output_are_refused(fast_recipe, frames, tmp_path):
    with pytest.raises(RestorationError, match=r"would both become frame0\.fits"):
        plan_jobs(fast_recipe, [str(frames), "elsewhere/frame0.fits"], tmp_path)
    with pytest.raises(RestorationError, match="replaced by its own result"):
        plan_jobs(fast_recipe, [str(frames)], frames)
    with pytest.raises(RestorationError, match="nothing to restore"):
        plan_jobs(fast_recipe, [str(tmp_path)], tmp_path / "out")


@pytest.mark.parametrize("extension", ["", "[SCI]"])
def test_a_pattern_is_the_files_that_it_matches(fast_recipe, frames, tmp_path, extension):
    paths = sorted(str(path) for path in frames.glob("*.fits"))
    found = plan_jobs(fast_recipe, [f"{frames}/*.fits{extension}"], tmp_path / "out")
    assert [job.sources[0] for job in found] == [path + extension for path in paths]
    with pytest.raises(ReadError, match=r"no file matches .*n\?\.fits"):
        plan_jobs(fast_recipe, [f"{frames}/n?.fits{extension}"], tmp_path / "out")


def test_a_link_to_nothing_and_a_missing_folder_are_named(fast_recipe, tmp_path):
    (tmp_path / "link.fits").symlink_to("gone.fits")
    inputs = [str(tmp_path / "link.fits"), str(tmp_path / "folder")]
    rows = [run_job(job) for job in plan_jobs(fast_recipe, inputs, tmp_path / "out")]
    assert rows[0].reason.endswith("link.fits is a link to gone.fits, which does not exist")
    assert rows[1].reason == f"there is no file {tmp_path / 'folder'}"


def test_finished_jobs_are_skipped_until_recipe_or_data_change(jobs):
    job = jobs[0]
    first = run_job(job)
    assert first.state == "restored"
    assert first.steps == 20
    assert first.sigma_after < first.sigma_before
    made = os.stat(job.target).st_mtime_ns
    again = run_job(job)
    assert again == replace(first, state="skipped")
    assert os.stat(job.target).st_mtime_ns == made

    reseeded = Recipe.from_json(job.recipe).with_settings({"seed": 1}).to_json()
    other = run_job(replace(job, recipe=reseeded))
    assert other.state == "failed"
    assert "exists: allow overwriting" in other.reason
    assert run_job(replace(job, recipe=reseeded, overwrite=True)).state == "restored"
    assert read_provenance(job.target)["recipe"]["seed"] == 1
    assert run_job(replace(job, sources=jobs[1].sources, overwrite=True)).state == "restored"


def test_what_a_process_left_that_died_after_it_had_written_is_tidied_up(jobs):
    job = jobs[0]
    run_job(job)
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True)
    target = Path(job.target)
    before = target.stat().st_mtime_ns
    claim_of = target.with_name(f".{target.name}.claim")
    claim_of.write_text(f"{socket.gethostname()} {int(dead.stdout)}")
    assert run_job(job).state == "skipped"
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert target.stat().st_mtime_ns == before
    claim_of.write_text(f"{socket.gethostname()} {os.getpid()}")  # one that is about to tidy up itself
    assert run_job(job).state == "skipped"
    assert claim_of.exists()


def test_a_target_of_another_type_is_not_done(jobs, tmp_path):
    job = replace(jobs[0], target=str(tmp_path / "out.tif"))
    assert run_job(job).state == "restored"
    for change in ({"dtype": "uint16"}, {"format": "imagej"}):
        other = replace(job, overwrite=True, **change)
        assert [run_job(other).state for _ in range(2)] == ["restored", "skipped"]


def test_a_failure_is_a_result_and_the_others_are_restored(jobs, tmp_path):
    absent = replace(jobs[0], sources=(str(tmp_path / "absent.fits"),))
    rows = [run_job(job) for job in (absent, jobs[1])]
    assert [row.state for row in rows] == ["failed", "restored"]
    assert "there is no file" in rows[0].reason


class _Deadly(Executor):
    """Runs jobs at once; it breaks, for all jobs, when it is given the deadly one."""

    def __init__(self, deadly, given):
        self._deadly, self._given, self._broken = deadly, given, False

    def submit(self, work, job):
        self._broken = self._broken or job == self._deadly
        self._given.append(job)
        future = Future()
        if self._broken:
            future.set_exception(BrokenExecutor("a child process terminated abruptly"))
        else:
            future.set_result(work(job))
        return future


def test_only_the_job_whose_process_dies_again_has_failed(jobs):
    given = []

    @contextmanager
    def workers():
        yield _Deadly(jobs[0], given)

    rows = {row.file: row for row in run_jobs(jobs, workers, 2)}
    assert len(rows) == 3
    assert rows[jobs[0].sources[0]].state == "failed"
    assert "died twice" in rows[jobs[0].sources[0]].reason
    assert {rows[job.sources[0]].state for job in jobs[1:]} == {"restored"}
    assert given.count(jobs[0]) == 2


def test_an_image_whose_folder_vanishes_is_saved_elsewhere_and_the_error_says_where(
    jobs, tmp_path, monkeypatch
):
    folder, restore = tmp_path / "out", execute._restore

    def restore_and_vanish(*arguments):
        result = restore(*arguments)
        shutil.rmtree(folder)
        return result

    @contextmanager
    def workers():
        yield _Deadly(None, [])

    monkeypatch.setattr(execute, "_restore", restore_and_vanish)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(WriteError, match="the result is in") as caught:
        list(run_jobs(jobs[:1], workers, 1, summary=folder / "summary.csv"))
    rescued = Path(re.search(r"the result is in (\S+)", str(caught.value))[1])
    assert rescued.parent == tmp_path
    assert read_provenance(rescued)["steps"] == 20


def test_an_unexpected_error_is_a_result(jobs):
    class Faulty(Executor):
        def submit(self, work, job):
            future = Future()
            future.set_exception(KeyError("who knows"))
            return future

    @contextmanager
    def workers():
        yield Faulty()

    rows = list(run_jobs(jobs, workers, 1))
    assert [row.state for row in rows] == ["failed"] * 3
    assert "KeyError" in rows[0].reason


@pytest.mark.slow
def test_two_processes_give_the_results_of_one(jobs, fast_recipe, frames, tmp_path):
    rows = list(run_jobs(jobs, partial(local_workers, 2), 2))
    assert {row.state for row in rows} == {"restored"}
    (alone,) = plan_jobs(fast_recipe, [jobs[0].sources[0]], tmp_path / "alone")
    run_job(alone)
    np.testing.assert_allclose(
        fits.getdata(alone.target), fits.getdata(jobs[0].target), rtol=0, atol=0.5
    )


@pytest.mark.slow
def test_workers_of_a_dask_scheduler_restore(jobs):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, resources={"GPU": 1}
    ) as cluster:
        rows = list(run_jobs(jobs, partial(dask_workers, cluster.scheduler_address), len(jobs)))
        assert {row.state for row in rows} == {"restored"}
        again = list(run_jobs(jobs, partial(dask_workers, cluster.scheduler_address), len(jobs)))
        assert {row.state for row in again} == {"skipped"}


@pytest.mark.parametrize("address", ["absent.json", "tcp://127.0.0.1:1", "nonsense://"])
def test_no_scheduler_is_one_sentence(jobs, address):
    pytest.importorskip("distributed")
    with pytest.raises(RestorationError, match=f"no dask scheduler answers at {address}"):
        list(run_jobs(jobs, partial(dask_workers, address), 1))


@pytest.fixture
def command(fast_settings):
    """The command line of a batch with a fast recipe."""

    def command(frames, out, *more):
        quick = [f"--set={name}={value}" for name, value in fast_settings.items()]
        words = ["batch", "denoise", str(frames), "--output-dir", str(out), *quick, *more]
        return [sys.executable, "-m", "napari_dip", *words]

    return command


def _alive(marker):
    """Processes on this machine whose environment has `marker`."""
    found = []
    for process in os.listdir("/proc"):
        try:
            with open(f"/proc/{process}/environ", "rb") as file:
                found += [int(process)] if marker.encode() in file.read() else []
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc to look for orphans")
def test_a_killed_driver_leaves_no_orphans_and_can_be_run_again(frames, tmp_path, command, wait_until):
    out, marker = tmp_path / "out", f"BATCH_OF={tmp_path}"
    environment = {**os.environ, "BATCH_OF": str(tmp_path)}
    driver = subprocess.Popen(
        command(frames, out, "--workers", "2", "--set=solver.max_steps=200"), env=environment
    )
    wait_until(lambda: list(out.glob("frame*.fits")) or driver.poll() is not None)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_until(lambda: not _alive(marker))

    before = {path: path.stat().st_mtime_ns for path in out.glob("frame*.fits")}
    assert before
    (out / ".napari-dip-abcd1234frame2.fits").write_bytes(b"what a killed process left")
    if (out / "frame2.fits").exists():
        (out / "frame2.fits").unlink()
        before.pop(out / "frame2.fits", None)
    done = subprocess.run(
        command(frames, out, "--set=solver.max_steps=200"), check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(out)) == [*(f"frame{n}.fits" for n in range(3)), "napari-dip-summary.csv"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with (out / "napari-dip-summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows].count("skipped") == len(before)
    assert [row["file"] for row in rows] == [str(frames / f"frame{n}.fits") for n in range(3)]
    columns = "file,output,state,assessment,reason,steps,sigma_before,sigma_after,residual,seconds"
    assert ",".join(rows[0]) == columns
    assert all(float(row["sigma_after"]) < float(row["sigma_before"]) for row in rows)
    residuals = [read_provenance(row["output"])["noise"]["residual"] for row in rows]
    assert [float(row["residual"]) for row in rows] == pytest.approx([r[0] for r in residuals], rel=1e-5)


def test_the_command_says_what_failed(frames, tmp_path, command):
    broken = tmp_path / "broken.fits"
    broken.write_bytes(b"SIMPLE  = nothing of the kind")
    done = subprocess.run(
        [*command(frames / "frame0.fits", tmp_path / "out"), str(broken)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 2
    assert re.search(r"frame0\.fits: restored, noise [\d.]+ before, [\d.]+ after, 20 steps", done.stdout)
    assert "broken.fits: failed: " in done.stdout
    assert done.stderr.strip() == "napari-dip: 1 of 2 failed; the summary says why"


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text there")
def test_file_names_need_not_be_text(frames, tmp_path, command):
    name = os.fsdecode(b"frame\xe9.fits")
    (tmp_path / name).write_bytes((frames / "frame0.fits").read_bytes())
    log = tmp_path / "run.log"
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    folder = tmp_path / "out"
    words = command(tmp_path / name, folder)
    words[3:3] = ["--log-file", str(log)]
    run = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    assert (folder / name).is_file()
    assert os.fsencode(name) in (folder / "napari-dip-summary.csv").read_bytes()
    assert "frame" in log.read_text("utf-8")


def test_workers_do_not_run_a_script_without_a_guard_again(tmp_path, frames, fast_settings):
    script = tmp_path / "script.py"
    script.write_text(
        "from functools import partial\n"
        "from pathlib import Path\n"
        "from napari_dip import Recipe\n"
        "from napari_dip.run.batch import local_workers, plan_jobs, run_jobs\n"
        "print('started', flush=True)\n"
        f"recipe = Recipe.preset('denoise').with_settings({fast_settings!r})\n"
        f"jobs = plan_jobs(recipe, [{str(frames / 'frame0.fits')!r}], Path({str(tmp_path / 'out')!r}))\n"
        "print([row.state for row in run_jobs(jobs, partial(local_workers, 1), 1)])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["started", "['restored']"]


@pytest.fixture
def cluster():
    """A dask cluster in this process without workers."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=0, processes=False, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        yield cluster


def test_a_scheduler_without_workers_is_waited_for_and_then_given_up(cluster, monkeypatch, caplog):
    monkeypatch.setattr("napari_dip.run.executors.WORKERS_TIMEOUT_S", 1.0)
    with (
        pytest.raises(DeviceError, match="no worker has joined"),
        dask_workers(cluster.scheduler_address),
    ):
        pass
    assert "waiting for workers" in caplog.text


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_an_interrupted_dask_batch_cancels_what_runs(cluster, monkeypatch, is_interrupted):
    from distributed import Client

    waits = []
    monkeypatch.setattr(
        Client,
        "get_executor",
        lambda *_, **__: SimpleNamespace(shutdown=lambda wait=True: waits.append(wait)),
    )
    cluster.scale(1)
    with suppress(KeyboardInterrupt), dask_workers(cluster.scheduler_address):
        if is_interrupted:
            raise KeyboardInterrupt
    assert waits == [not is_interrupted]  # without waiting, an executor of dask cancels its futures


def test_what_another_process_is_restoring_is_skipped(jobs):
    with claim(Path(jobs[0].target)):
        row = run_job(jobs[0])
        assert (row.state, row.reason) == ("skipped", f"process {os.getpid()} is restoring it")
        assert not Path(jobs[0].target).exists()
    assert run_job(jobs[0]).state == "restored"


@pytest.mark.slow
def test_several_drivers_share_a_folder_and_restore_each_file_once(frames, tmp_path, command):
    out = tmp_path / "shared"
    drivers = [
        subprocess.Popen(command(frames, out), stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = "".join(driver.communicate()[0] for driver in drivers)
    assert {driver.returncode for driver in drivers} <= {0, 3}
    restored = re.findall(r"^(\S+): restored", printed, re.MULTILINE)
    assert sorted(restored) == [f"frame{number}.fits" for number in range(3)]
    assert {path.name for path in out.iterdir()} == {*restored, "napari-dip-summary.csv"}
    with (out / "napari-dip-summary.csv").open(newline="") as file:
        assert {Path(row["output"]).name for row in csv.DictReader(file)} == set(restored)
