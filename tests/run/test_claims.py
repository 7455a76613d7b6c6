"""Claims: several processes share a folder, and no file is restored twice."""

import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from napari_dip.run.batch import claims
from napari_dip.run.batch.claims import claim


@pytest.fixture
def target(tmp_path):
    return tmp_path / "a.fits"


def file_of(target):
    return target.with_name(".a.fits.claim")


def test_a_claim_excludes_others_and_is_removed(target):
    with claim(target) as owner:
        assert owner == ""
        with claim(target) as other:
            assert other == f"process {os.getpid()}"
        assert file_of(target).exists()
    assert list(target.parent.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="the system keeps no dead processes")
def test_the_claim_of_a_process_that_nobody_waits_for_is_taken_over(target):
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and still listed
        file_of(target).write_text(f"{socket.gethostname()} {child.pid}")
        with claim(target) as owner:
            assert owner == ""


def test_the_claim_of_a_dead_process_is_taken_over(target):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True)
    file_of(target).write_text(f"{socket.gethostname()} {int(dead.stdout)}")
    with claim(target) as owner:
        assert owner == ""
    assert list(target.parent.iterdir()) == []


def test_the_claim_of_another_machine_holds_while_it_shows_signs_of_life(target):
    file_of(target).write_text("node7 4711")
    with claim(target) as owner:
        assert owner == "process 4711 on node7"
    old = time.time() - claims.STALE_S - 1
    os.utime(file_of(target), (old, old))
    with claim(target) as owner:
        assert owner == ""


def test_a_claim_shows_signs_of_life(target, monkeypatch):
    monkeypatch.setattr(claims, "HEARTBEAT_S", 0.01)
    with claim(target):
        os.utime(file_of(target), (0, 0))
        deadline = time.monotonic() + 120
        while file_of(target).stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert file_of(target).stat().st_mtime > 0


def test_of_many_that_take_over_one_succeeds(target):
    file_of(target).write_text(f"{socket.gethostname()} 999999999")
    barrier, owners, release = threading.Barrier(8), [], threading.Event()

    def take():
        barrier.wait()
        with claim(target) as owner:
            owners.append(owner)
            release.wait(60)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(owners) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    release.set()
    for thread in threads:
        thread.join()
    assert owners.count("") == 1
    assert len(owners) == 8
