"""Importing must be cheap, and torch must come in safely."""

import os
import subprocess
import sys

import pytest


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=500,
        env={**os.environ, **environment}, check=False,
    )  # fmt: skip


def test_importing_the_package_imports_nothing_heavy():
    done = python(
        "import sys, napari_dip;"
        "print([m for m in ('torch', 'numpy', 'astropy', 'napari', 'pydantic') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_recipes_and_settings_do_without_torch_and_most_of_scipy():
    done = python(
        "import sys; from napari_dip import Recipe; Recipe.preset('denoise').with_settings({'seed': 2});"
        "print([m for m in ('torch', 'scipy.stats', 'scipy.signal', 'skimage') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_restore_is_the_function_whatever_is_imported_first():
    done = python(
        "import napari_dip.run.restoration, napari_dip; napari_dip.iter_restore;"
        "assert callable(napari_dip.restore); from napari_dip import *; assert callable(restore)"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.window
def test_an_optimiser_in_a_process_with_an_open_gl_window_does_not_crash():
    pytest.importorskip("triton", reason="triton is not installed: its crash beside Mesa cannot occur")
    done = python(
        "from qtpy.QtWidgets import QApplication, QOpenGLWidget\n"
        "app = QApplication([]); window = QOpenGLWidget(); window.show()\n"
        "for _ in range(20): app.processEvents()\n"
        "assert window.isValid()\n"
        "from napari_dip.core.torch_import import torch\n"
        "torch.optim.Adam([torch.zeros(1, requires_grad=True)])\n"
        "print('alive')",
    )
    assert done.stdout.strip() == "alive", done.stderr[-2000:]
