"""The targets beside `process` that the conformance suite runs on, as parameters of fixtures: their `Nodes`."""

from __future__ import annotations

import pytest

DOCKER = pytest.param("docker_nodes", id="docker", marks=[pytest.mark.docker, pytest.mark.timeout(600)])
KUBERNETES = pytest.param("kubernetes_nodes", id="kubernetes", marks=[pytest.mark.kubernetes, pytest.mark.timeout(600)])
