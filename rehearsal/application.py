"""An application beside a stack, as a rollout's consumer: examples/app, a process of this machine or pods of a cluster.

python -m rehearsal.application STACK PORT    (re)starts the process, with the contract as it is told now
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

import yaml  # type: ignore[import-untyped]  # comes with pulumi, without types

from rehearsal.place import Place, RehearsalError
from tools import kubectl, processes
from tools.deployment import Deployment
from tools.errors import ToolError
from tools.paths import ROOT, state_folder
from tools.stacks import choose

NAME = "sample"
MANIFEST = ROOT / "examples/app/kubernetes.yaml"
START_S, STOP_S = 60.0, 10.0
VISIT_S = 0.05


class Application(Protocol):
    """What a rollout restarts and asks."""

    def make(self) -> None:
        """What must be there before the stack's `up`."""

    def start(self) -> None:
        """Beside a stack that is up. Raises RehearsalError."""

    def remove(self) -> None:
        """All of it, if there is any. Raises RehearsalError."""

    @property
    def consumer(self) -> dict[str, Any]:
        """As rollout.yaml names it."""


class ProcessApplication:
    """One process of this machine. A restart is an interruption: there is one of it."""

    def __init__(self, place: Place, stack: str) -> None:
        self._place, self._stack = place, stack
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])

    def make(self) -> None:
        pass

    def start(self) -> None:
        self._place.module(*self._restart)

    def remove(self) -> None:
        _stop(_process_file(self._place.folder / ".state", self._stack))

    @property
    def consumer(self) -> dict[str, Any]:
        return {
            "name": NAME,
            "health": _health("127.0.0.1", self._port),
            "command": [sys.executable, "-m", *self._restart],
        }

    @property
    def _restart(self) -> list[str]:
        return ["rehearsal.application", self._stack, str(self._port)]


class PodApplication:
    """Two pods behind a Service, as the application's own manifest has them, in a namespace of their own."""

    def __init__(self, namespace: str, image: str, kubeconfig: str) -> None:
        self._namespace, self._image = namespace, image
        self._kubectl = ["kubectl", "--kubeconfig", kubeconfig]
        self._address = ""

    def make(self) -> None:
        self._run("create", "namespace", self._namespace)

    def start(self) -> None:
        deployment, service = yaml.safe_load_all(MANIFEST.read_text())
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = self._image
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [deployment, service]})
        self._inside("apply", "-f", "-", said=text)
        self._inside("rollout", "status", f"deployment/{NAME}", f"--timeout={START_S:.0f}s")
        self._address = str(json.loads(self._inside("get", "service", NAME, "-o", "json"))["spec"]["clusterIP"])

    def remove(self) -> None:
        self._run("delete", "namespace", self._namespace, "--ignore-not-found", "--wait")

    @property
    def consumer(self) -> dict[str, Any]:
        """Its namespace and cluster are what the stack's settings say."""
        return {"name": NAME, "health": _health(self._address, 8080), "deployment": NAME}

    def _inside(self, *words: str, said: str = "") -> str:
        return self._run("--namespace", self._namespace, *words, said=said)

    def _run(self, *words: str, said: str = "") -> str:
        try:
            return kubectl.run([*self._kubectl, *words], 2 * START_S, said)
        except ToolError as error:
            raise RehearsalError(str(error)) from None


def application_of(description: Mapping[str, str], place: Place, stack: str) -> Application:
    """Pods where the stage describes them, else a process."""
    return PodApplication(**description) if description else ProcessApplication(place, stack)


@contextmanager
def beside(applications: Mapping[str, Application]) -> Iterator[None]:
    """They are made, and removed at the end. Raises RehearsalError."""
    try:
        for each in applications.values():
            each.make()
        yield
    finally:
        for each in applications.values():
            each.remove()


class Visits:
    """Somebody who asks for /health all the time: how often, and what was amiss."""

    def __init__(self, health: str) -> None:
        self._health = health
        self.asked = self.unanswered = self.without_redis = 0

    def go_on(self, stop: Event) -> None:
        while not stop.wait(VISIT_S):
            self.asked += 1
            try:
                self.without_redis += not redis_of(self._health)["available"]
            except (OSError, ValueError):
                self.unanswered += 1

    def __str__(self) -> str:
        return f"{self.unanswered} of {self.asked} unanswered, {self.without_redis} answered without Redis"


@contextmanager
def visited(health: str) -> Iterator[Visits]:
    """From now until the context ends."""
    visits, stop = Visits(health), Event()
    thread = Thread(target=visits.go_on, args=(stop,), daemon=True)
    thread.start()
    try:
        yield visits
    finally:
        stop.set()
        thread.join(10)


def redis_of(health: str) -> dict[str, Any]:
    """What the application says of Redis. Raises OSError, ValueError."""
    with urllib.request.urlopen(health, timeout=3) as answer:  # noqa: S310 - http, ours
        return dict(json.load(answer)["redis"])


def restart(stack: str, port: int) -> None:
    """In the rehearsal's own folder. Raises RehearsalError when it does not answer."""
    file = _process_file(state_folder(), stack)
    _stop(file)
    told = Deployment(choose(stack)).output("contract")
    with file.with_suffix(".log").open("ab") as log:
        # Nothing of ours: who started it reads our output to its end, and it goes on.
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.app", "--port", str(port)],
            cwd=ROOT,
            env=os.environ | told,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    if identity := processes.identify(process.pid):
        file.write_text(json.dumps(asdict(identity)))
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError, ValueError):
            redis_of(_health("127.0.0.1", port))
            return
        time.sleep(0.1)
    raise RehearsalError(f"the application did not answer within {START_S:g} s: {file.with_suffix('.log')}")


def _stop(file: Path) -> None:
    """The very process that the file names, if it still runs."""
    with suppress(FileNotFoundError):
        processes.end([processes.Identity(**json.loads(file.read_text()))], STOP_S)
        file.unlink()


def _process_file(state: Path, stack: str) -> Path:
    return state / f"{stack}.application"


def _health(host: str, port: int) -> str:
    return f"http://{host}:{port}/health"


if __name__ == "__main__":
    try:
        restart(sys.argv[1], int(sys.argv[2]))
    except (RehearsalError, ToolError) as error:
        sys.exit(f"error: {error}")
