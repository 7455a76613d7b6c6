"""Where and how precisely the network is computed, and what a full memory is called."""

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
    """Device and precision."""

    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Processor that fits the network; automatic: CUDA, else Apple's MPS, else the CPU."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format inside the network; automatic: bfloat16 where the processor computes in it.
    The image, the loss and the averages are always float32."""

    memory_limit_gb: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Memory that a fit may take, about; automatic: half of what is free. Larger frames are restored
    in crops. [GB]"""
    tile_size: Annotated[int, Field(ge=128, le=8192)] | None = None
    """Side of the crops in which a frame is restored, at most; automatic: frames of up to a megapixel
    as a whole, larger ones in crops of 640, or less where there is not the memory. [pixel]"""
    num_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Processor cores to use where there is no GPU; automatic: all, or all but one beside a window."""

    def resolve_device(self) -> torch.device:
        """The device to use.

        Raises
        ------
        DeviceError
            If the device asked for is not there.
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
        """Bytes that a fit may take on `device`."""
        if self.memory_limit_gb is not None:
            return 1e9 * self.memory_limit_gb
        match device.type:
            case "cuda":
                free, _ = torch.cuda.mem_get_info(device)
            case "mps":
                free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
            case _:
                free = psutil.virtual_memory().available
        return 0.5 * free

    def resolve_precision(self, device: torch.device) -> torch.dtype:
        """bfloat16 or float32, whichever was asked for or is the faster on `device`."""
        if self.precision != "auto":
            return torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        native = {
            "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
            "cpu": _cpu_computes_bfloat16,
        }.get(device.type, lambda: False)()
        return torch.bfloat16 if native else torch.float32


def _cpu_computes_bfloat16() -> bool:
    # Public from torch 2.13 on; before it, float32 is the safe answer.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def raising_out_of_memory(device: torch.device) -> Iterator[None]:
    """Turn every way in which torch reports a full memory into one `MemoryFullError`.

    Clean up before, so that nothing of an earlier run is in the way, and after; but on the CPU only
    where the memory was full: a cancel need not wait for it.
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
            f"{where} is full: restore a smaller crop, close other programs, or choose another device"
        ) from error
    finally:
        if full or device.type != "cpu":
            free_memory(device, in_need=full)


def memory_in_use(kind: str) -> float:
    """Bytes of memory in use on a kind of device, by this process: for the CPU, napari and all."""
    match kind:
        case "cuda":
            return float(torch.cuda.memory_reserved())
        case "mps":
            return float(torch.mps.driver_allocated_memory())
    return float(psutil.Process().memory_info().rss)


def free_memory(device: torch.device, *, in_need: bool = False) -> None:
    """Give memory that nobody uses any more back to the device.

    In a thread beside a window Python's garbage is left alone, but in need: what belongs to the window
    would be deleted there, and that waits for the window, which may be waiting for this thread.
    """
    if in_need or threading.current_thread() is threading.main_thread():
        gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
