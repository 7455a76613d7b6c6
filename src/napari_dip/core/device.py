"""Where and with which precision the network is computed, and how a full memory is reported."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import psutil
from pydantic import Field

from napari_dip.core.errors import DeviceError, InsufficientMemoryError
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch


class Compute(Settings):
    """Device, precision and memory."""

    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Device that fits the network; auto: CUDA, else Apple's MPS, else the CPU."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format inside the network; auto: bfloat16 where the device computes natively in it. The
    image, the loss and the averages are always float32."""

    memory_limit_gb: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Approximate memory limit of a fit; automatic: half of the free memory. Larger images are restored
    in tiles. [GB]"""
    tile_size: Annotated[int, Field(ge=128, le=8192)] | None = None
    """Largest side of the tiles in which an image is restored; automatic: images of up to a megapixel
    are not tiled, larger ones that have no amortized fit have tiles of 640, or less if memory is short.
    [pixel]"""
    num_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Number of CPU cores to use without a GPU; automatic: all, or all but one in napari."""

    def resolve_device(self) -> torch.device:
        """Return the device to use.

        Raises
        ------
        DeviceError
            If the requested device is not available.
        """
        present = {
            "cuda": torch.cuda.is_available(),
            "mps": torch.backends.mps.is_available(),
            "cpu": True,
        }
        if self.device == "auto":
            return torch.device(next(name for name, there in present.items() if there))
        if not present[self.device]:
            raise DeviceError(
                f"device '{self.device}' is not available to torch {torch.__version__} on this"
                " machine; choose 'auto'"
            )
        return torch.device(self.device)

    def memory_limit_bytes(self, device: torch.device) -> float:
        """Return the memory that a fit may take on `device`. [byte]"""
        if self.memory_limit_gb is not None:
            return 1e9 * self.memory_limit_gb
        return 0.5 * free_bytes(device)

    def resolve_precision(self, device: torch.device) -> torch.dtype:
        """Return bfloat16 or float32, as requested or whichever is faster on `device`."""
        if self.precision != "auto":
            return torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        native = {
            "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
            "cpu": _cpu_computes_bfloat16,
        }.get(device.type, lambda: False)()
        return torch.bfloat16 if native else torch.float32


def free_bytes(device: torch.device) -> float:
    """Return the memory that is free on `device`. [byte]"""
    match device.type:
        case "cuda":
            free, _ = torch.cuda.mem_get_info(device)
        case "mps":
            free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        case _:
            free = psutil.virtual_memory().available
    return float(free)


def _cpu_computes_bfloat16() -> bool:
    # Public from torch 2.13 on; before it, float32 is the safe answer.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def raising_out_of_memory(device: torch.device) -> Iterator[None]:
    """Turn each way in which torch reports a full memory into one `InsufficientMemoryError`.

    Memory is freed before, so that no earlier run is in the way, and after; on the CPU only if the
    memory was full, so that a cancel need not wait.
    """
    full = False
    free_memory(device)
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        full = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
            words in str(error) for words in ("out of memory", "can't allocate memory")
        )
        if not full:
            raise
        where = "memory" if device.type == "cpu" else f"the memory of device '{device.type}'"
        raise InsufficientMemoryError(
            f"{where} is full: restore a smaller part of the image, close other programs, or choose "
            "another device"
        ) from error
    finally:
        if full or device.type != "cpu":
            free_memory(device, in_need=full)


def memory_in_use(kind: str) -> float:
    """Return the memory that this process uses on a kind of device; on the CPU, all of it. [byte]"""
    match kind:
        case "cuda":
            return float(torch.cuda.memory_reserved())
        case "mps":
            return float(torch.mps.driver_allocated_memory())
    return float(psutil.Process().memory_info().rss)


def free_memory(device: torch.device, *, in_need: bool = False) -> None:
    """Return unused memory to the device.

    In a thread beside a window Python's garbage is collected only `in_need`: objects of the window would
    be deleted in this thread, and that waits for the window, which may be waiting for this thread.
    """
    if in_need or threading.current_thread() is threading.main_thread():
        gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
