"""Processes on this machine, or workers of a dask scheduler."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import (
    Executor,
    ProcessPoolExecutor,
)
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from napari_dip.core.errors import DeviceError, SettingsError

log = logging.getLogger(__name__)

POLL_INTERVAL_S = 0.2  # between two looks at what the workers have done

WORKERS_TIMEOUT_S = 600.0  # for the first one to join a scheduler

Workers: TypeAlias = "Callable[[], AbstractContextManager[Executor]]"


@contextmanager
def local_workers(number: int) -> Iterator[Executor]:
    """Processes on this machine that share its cores, and end when this process ends, however it
    ends.
    """
    context = _IsolatedSpawn()
    receiver, sender = context.Pipe(duplex=False)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ProcessPoolExecutor(number, context, _init_worker, (receiver, max(1, cores // number)))
    try:
        yield pool
    except BaseException:
        sender.close()  # at once: what is unfinished is done again another time
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        sender.close()


class _IsolatedProcess(SpawnProcess):
    """A process that does not import the script that started it, which may open a window."""

    @staticmethod
    def _Popen(process: BaseProcess) -> Any:  # noqa: N802 - of multiprocessing
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return SpawnProcess._Popen(process)
        finally:
            sys.modules["__main__"] = main


class _IsolatedSpawn(SpawnContext):
    Process = _IsolatedProcess


def _init_worker(parent_pipe: Connection, num_threads: int) -> None:
    """Set up a process: its share of the cores, no Ctrl-C, and an end when its parent is gone."""

    def exit_with_parent() -> None:
        parent_pipe.poll(None)
        os._exit(1)

    os.environ.setdefault("OMP_NUM_THREADS", str(num_threads))  # before torch is imported
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=exit_with_parent, daemon=True).start()


@contextmanager
def dask_workers(address: str) -> Iterator[Executor]:
    """The workers of a dask scheduler; if some declare a resource GPU, each job takes one.

    Parameters
    ----------
    address : str
        Such as ``tcp://host:8786``, or the path of the scheduler's JSON file.

    Raises
    ------
    SettingsError
        If dask.distributed is not installed.
    DeviceError
        If no scheduler answers, or it has no worker for a long time.
    """
    try:
        from distributed import Client
    except ImportError as error:
        need = "a scheduler needs dask.distributed: pip install 'napari-dip[batch]'"
        raise SettingsError(need) from error
    by_file = address.endswith(".json")
    try:
        if by_file:
            Path(address).open().close()  # if it does not exist, the client would wait forever
        where = {"scheduler_file" if by_file else "address": address}
        client = Client(**where, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"no dask scheduler answers at {address}: start one, or use local workers"
        ) from error
    with client:
        workers = _wait_for_workers(client, address)
        on_gpu = any("GPU" in worker["resources"] for worker in workers)
        executor = client.get_executor(pure=False, resources={"GPU": 1} if on_gpu else None)
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False)  # cancels what runs
            raise
        executor.shutdown()


def _wait_for_workers(client: Any, address: str) -> list[Any]:
    """What is known of the workers, once there is one."""

    def joined() -> list[Any]:
        return list(client.scheduler_info(n_workers=-1)["workers"].values())

    if not joined():
        log.warning("waiting for workers to join the scheduler at %s ...", address)
        try:
            client.wait_for_workers(1, timeout=WORKERS_TIMEOUT_S)
        except TimeoutError as error:
            raise DeviceError(
                f"no worker has joined the scheduler at {address} within {WORKERS_TIMEOUT_S:.0f} s:"
                " start some, and run the same again"
            ) from error
    return joined()
