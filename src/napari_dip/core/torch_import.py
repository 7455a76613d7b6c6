"""The one door through which torch enters: at first use, and safely beside Mesa's drivers."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any


def _load() -> ModuleType:
    if sys.platform == "darwin":  # what Apple's GPUs cannot compute is left to the CPU
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    # Mesa's OpenGL drivers put LLVM's symbols into the global scope; triton >= 3.7 exports its own.
    # Whichever binds wrongly takes the whole process down at the first optimiser (which imports
    # torch._dynamo, which imports triton). RTLD_DEEPBIND makes triton prefer its own symbols.
    if sys.platform == "linux" and importlib.util.find_spec("triton") is not None:
        flags = sys.getdlopenflags()
        sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
        try:
            importlib.import_module("triton")
        except ImportError:
            pass  # torch runs without it, only torch.compile needs it
        finally:
            sys.setdlopenflags(flags)
    return importlib.import_module("torch")


class _LazyTorch(ModuleType):
    """Stands for torch until somebody asks it for something."""

    def __getattr__(self, name: str) -> Any:
        real = _load()
        self.__dict__.update(real.__dict__)
        return getattr(real, name)


if TYPE_CHECKING:
    import torch
else:
    torch = _LazyTorch("torch")

__all__ = ["torch"]
