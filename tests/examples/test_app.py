"""The sample application as its users start it: a process, configured by the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.contract import Contract
from infra.targets.base import PROJECT
from tests.deployment import PASSWORDS, Deployment, free_ports
from tests.waiting import await_that

pytestmark = pytest.mark.deployment


class App:
    def __init__(self, port: int, log: Path) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._log = log

    def ask(self, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        method = "PUT" if data is not None else "GET"
        request = urllib.request.Request(self._base + path, data, dict(headers or {}), method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310  # our own http address
            answer: dict[str, Any] = json.load(reply)
            return answer | {"correlation": reply.headers["x-correlation-id"]}

    def log(self) -> str:
        return self._log.read_text()


@contextmanager
def app(contract: Contract, folder: Path) -> Iterator[App]:
    port = free_ports(1)
    with (folder / "app.log").open("w") as log:
        command = [sys.executable, "-m", "examples.app", "--port", str(port)]
        process = subprocess.Popen(command, cwd=PROJECT, env={**os.environ, **contract.to_env()}, stderr=log)
    try:
        running = App(port, folder / "app.log")
        await_that(lambda: running.ask("/health"), 30, "the application")
        yield running
    finally:
        process.terminate()
        process.wait(15)


def test_it_serves_through_sentinel_and_from_memory_while_redis_is_away(deployment: Deployment, tmp_path: Path) -> None:
    contract = deployment.contract.application()
    with app(contract, tmp_path) as running:
        health = running.ask("/health")
        assert health["status"] == "ok"
        assert health["redis"]["mode"] == "sentinel"
        assert health["redis"]["sentinel"]["answering"] == 3
        assert set(health["redis"]["sentinel"]["names"].values()) == {health["redis"]["master"]}
        assert running.ask("/products/7")["cached"] is False
        assert running.ask("/products/7")["cached"] is True
        assert running.ask("/notes/a", b"hello")["stored"] == "redis"
        assert running.ask("/notes/a", headers={"x-correlation-id": "abc"})["correlation"] == "abc"
        running.ask("/notes/b", b"x", headers={"x-correlation-id": "find-me"})
        assert "[find-me] stored note:b" in running.log()
        deployment.kill(*deployment.properties)
        assert running.ask("/notes/a")["text"] == "hello"
        assert running.ask("/notes/c", b"late")["stored"] == "memory"
        assert running.ask("/health")["status"] == "degraded"
        assert not any(password in running.log() for password in PASSWORDS.values())


def test_standalone_says_so(deployment: Deployment, tmp_path: Path) -> None:
    contract = deployment.contract.application().model_copy(update={"sentinel_enabled": False, "sentinels": ()})
    with app(contract, tmp_path) as running:
        assert running.ask("/health")["redis"]["mode"] == "standalone"


def test_a_wrong_configuration_is_refused_before_the_port_is_open(tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("REDIS_")}
    env |= {"REDIS_SENTINEL_ENABLED": "true", "REDIS_SENTINELS": "one:1", "REDIS_PASSWORD": "app-marker"}
    command = [sys.executable, "-m", "examples.app", "--port", "1"]
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "REDIS_SENTINEL_MASTER_NAME" in done.stderr
    assert "REDIS_SENTINELS" in done.stderr
    assert "Traceback" not in done.stderr
    assert "app-marker" not in done.stderr
