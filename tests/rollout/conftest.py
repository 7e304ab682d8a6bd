"""Shared by the rollout's tests."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def no_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that cuts no power need not wait for the disk, which is slow on a shared machine."""
    monkeypatch.setattr(os, "fsync", lambda _file: None)
