"""The examination of an installation."""

import sys

import pytest

from napari_dip.cli import doctor


@pytest.fixture
def versions(monkeypatch):
    """The versions of packages, as a dict to be filled."""
    found = {}
    monkeypatch.setattr(doctor, "_version", lambda name: found.get(name, ""))
    return found


def test_every_device_is_tested_and_the_versions_are_printed(call):
    status, printed, _ = call("doctor")
    assert status == 0
    assert "torch" in printed
    assert "cpu: " in printed
    assert "of the noise: good" in printed


def test_a_device_that_computes_wrongly_is_reported(call, monkeypatch):
    monkeypatch.setattr(doctor, "MAX_ERROR_SHARE", 0.0)
    status, printed, errors = call("doctor")
    assert status == 2
    assert "of the noise: wrong" in printed
    assert "the test of cpu failed" in errors


def test_known_conflicts_are_named_with_what_to_do(versions):
    versions["napari"] = "0.9.2"
    (sentence,) = doctor.known_conflicts()
    assert "no Qt binding" in sentence
    versions["PyQt6"] = "6.11"
    assert list(doctor.known_conflicts()) == []
    versions["PySide6"] = "6.12.0"
    found = list(doctor.known_conflicts())
    assert ("PySide6<6.12" in found[0]) == (sys.version_info[:2] == (3, 11))
    assert "QT_API" in found[-1]
