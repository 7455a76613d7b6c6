"""Fixtures of the command line."""

import sys

import pytest

from napari_dip.cli.app import main


@pytest.fixture
def call(monkeypatch, capsys):
    """The command line in this process: (exit status, what it printed, its errors)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["napari-dip", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, *capsys.readouterr()

    return call
