"""What pods say, kept beyond their end: a cluster forgets a pod's log with the pod."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from tests.kubernetes.lab import environment, get


class Logs:
    """Follows the log of each pod's server, in every one of its lives."""

    def __init__(self, namespace: str, pods: Sequence[str]) -> None:
        self._namespace = namespace
        self._lives: dict[str, dict[str, bytes]] = {pod: {} for pod in pods}
        self._followers: dict[str, subprocess.Popen[bytes]] = {}
        self._closed = Event()
        self._threads = [Thread(target=self._follow, args=(pod,), daemon=True) for pod in pods]
        for thread in self._threads:
            thread.start()

    def of(self, pod: str) -> str:
        return b"".join(list(self._lives[pod].values())).decode(errors="replace")

    def close(self) -> None:
        self._closed.set()
        for follower in list(self._followers.values()):
            follower.kill()
        for thread in self._threads:
            thread.join(10)

    def _follow(self, pod: str) -> None:
        while not self._closed.is_set():
            with suppress(AssertionError, OSError, subprocess.TimeoutExpired):
                life = self._life(pod)
                if life:
                    self._read(pod, life)
            self._closed.wait(0.2)

    def _life(self, pod: str) -> str:
        """Names the container that runs, or ran last; empty when it has not been started."""
        found: dict[str, Any] = get("--namespace", self._namespace, "pod", pod)
        statuses = found["status"].get("containerStatuses", [])
        return next((str(each.get("containerID", "")) for each in statuses if each["name"] == "server"), "")

    def _read(self, pod: str, life: str) -> None:
        command = ["kubectl", "--namespace", self._namespace, "logs", "--follow", pod, "-c", "server"]
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        with subprocess.Popen(command, stdout=pipe, stderr=null, env=environment()) as follower:
            self._followers[pod] = follower
            assert follower.stdout
            said = b""
            while chunk := follower.stdout.read1():  # type: ignore[attr-defined]
                said += chunk
                # From its start: one that was followed before is replaced by more of the same.
                if len(said) >= len(self._lives[pod].get(life, b"")):
                    self._lives[pod][life] = said
