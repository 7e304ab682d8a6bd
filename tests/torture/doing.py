"""Does a round's steps to a deployment of processes."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from client.handover import HandoverError, hand_over
from infra.targets import process_control
from tests.deployment import Deployment
from tests.torture.disk import damage
from tests.torture.plan import SENTINELS, Step
from tests.torture.watch import Watch
from tests.waiting import await_that

TILT_S = 30
DEMOTION_S = 12
"""After these a Sentinel has made a replica of a master that came back beside a new one: it waits for four hellos of
2 s, and for what that node says of itself, a second; the rest is for a busy machine."""

RESTART_S = 5
WHOLLY = ("supervisor", "server")
"""The processes of a node that have a pid file. Ended together as a power cut does, with all that they have started."""


class Stopped(Exception):
    """Whoever runs this wants it to end."""


class Doing:
    """One deployment and what has been done to it. `names`: whom the plan means by its roles, in this round."""

    def __init__(self, deployment: Deployment, watch: Watch, stop: Event) -> None:
        self._deployment = deployment
        self._watch = watch
        self._stop = stop
        self._background: dict[str, Thread] = {}
        self._unfit: set[str] = set()  # Sentinels that are down or frozen
        self.names: Mapping[str, str] = {}
        self._restarted: dict[str, float] = {}
        self.log: list[str] = []
        self._started = time.monotonic()

    def begin(self, number: int) -> None:
        """A round begins: in agreement, so there is one master. Keeps a copy of the data sets now and then."""
        self.log, self._started = [], time.monotonic()
        master, replicas = self._deployment.master(), self._deployment.replicas()
        self.names = {"master": master, "replica-a": replicas[0], "replica-b": replicas[1]}
        if number % 3 == 1:
            for name in self._deployment.data:
                shutil.rmtree(self._older(name), ignore_errors=True)
                with suppress(shutil.Error):  # of a server that lives: a file may go while it is copied
                    shutil.copytree(self._folder(name) / "data", self._older(name))

    def do(self, step: Step) -> None:
        nodes = [self.names.get(node, node) for node in step.nodes]
        said = ", ".join(nodes)
        if self._stop.wait(step.seconds):
            raise Stopped
        match step.action:
            case "pause":
                return
            case "kill":
                self._end(nodes, *WHOLLY)
            case "kill-server":
                self._end(nodes, "server")
            case "kill-supervisor":
                self._end(nodes, "supervisor")
            case "freeze":
                self._now_unfit(nodes)
                for name in nodes:
                    process_control.freeze(self._folder(name))
            case "thaw":
                for name in nodes:
                    process_control.thaw(self._folder(name))
                self._watch.disturbed(DEMOTION_S)
                self._now_fit(nodes, TILT_S + DEMOTION_S)
            case "stop":
                self._now_unfit(nodes)
                for name in nodes:
                    self._behind(name, lambda name=name: self._deployment.stop_planned(name))  # type: ignore[misc]
            case "hand-over":
                self._behind("hand-over", self._hand_over)
            case "damage":
                self._join(nodes)
                said += ": " + damage(self._folder(nodes[0]) / "data", step.damage, step.part, self._older(nodes[0]))
            case "start":
                self._join(nodes)
                for name in nodes:
                    self._start(name)
                self._now_fit(nodes, DEMOTION_S)
        self._note(f"{step.action} {said}")

    def elapsed_s(self) -> float:
        """Since the round began."""
        return time.monotonic() - self._started

    def finish(self) -> None:
        """Wait for what still goes on beside the steps."""
        self._join(list(self._background))

    def start_ended(self, names: Iterable[str]) -> None:
        """What ended by itself is started again, as whoever supervises it would: at once, then every RESTART_S."""
        for name in names:
            if process_control.runs(self._folder(name)) or time.monotonic() < self._restarted.get(name, 0) + RESTART_S:
                continue
            self._restarted[name] = time.monotonic()
            self._start(name)
            self._note(f"{name} had ended by itself: started again")

    def _start(self, name: str) -> None:
        try:
            self._deployment.start(name)
        except process_control.NodeError as error:  # it ended before it told its pid: start_ended comes to it
            self._note(str(error).splitlines()[0])

    def _end(self, nodes: list[str], *which: str) -> None:
        """At once: all are signalled before any is waited for."""
        self._now_unfit(nodes)
        for name in nodes:
            self._kill(name, which)

        def ended(name: str) -> bool:
            # Again for one that was just being launched, and had no pid yet.
            self._kill(name, which)
            return not self._pid(name, WHOLLY)

        if which != ("supervisor",):
            for name in nodes:
                await_that(lambda name=name: ended(name), 30, f"the end of {name}")  # type: ignore[misc]

    def _kill(self, name: str, which: tuple[str, ...]) -> None:
        # A supervisor that waits for its decision has no server yet that could be ended alone.
        wholly = which == WHOLLY or (which == ("server",) and not (self._folder(name) / "run" / "server.pid").exists())
        if pid := self._pid(name, WHOLLY if wholly else which):
            with suppress(ProcessLookupError):
                if wholly:
                    os.killpg(os.getpgid(pid), signal.SIGKILL)
                else:
                    os.kill(pid, signal.SIGKILL)

    def _pid(self, name: str, which: Iterable[str]) -> int | None:
        """Of the first of these that lives."""
        pids = (process_control._pid(self._folder(name), each) for each in which)
        return next((pid for pid in pids if pid), None)

    def _hand_over(self) -> None:
        try:
            hand_over(self._deployment.contract)
        except HandoverError as error:
            self._note(f"hand-over: {error}")

    def _behind(self, key: str, work: Callable[[], object]) -> None:
        """Beside the steps that follow: what is planned takes its time, and outages do not wait for it."""

        def run() -> None:
            try:
                work()
            except process_control.NodeError as error:
                self._note(f"{key}: {str(error).splitlines()[0]}")

        self._background[key] = Thread(target=run, daemon=True)
        self._background[key].start()

    def _join(self, keys: Iterable[str]) -> None:
        for key in keys:
            if thread := self._background.pop(key, None):
                thread.join(120)
                if thread.is_alive():
                    raise AssertionError(f"no end of the planned {key} within 120 s")

    def _now_unfit(self, nodes: Iterable[str]) -> None:
        self._unfit.update(self._sentinels_touched(nodes, DEMOTION_S))
        self._watch.blind = len(self._unfit) > len(SENTINELS) // 2

    def _now_fit(self, nodes: Iterable[str], seconds: float) -> None:
        self._unfit -= self._sentinels_touched(nodes, seconds)
        self._watch.blind = len(self._unfit) > len(SENTINELS) // 2

    def _sentinels_touched(self, nodes: Iterable[str], seconds: float) -> set[str]:
        touched = set(nodes) & set(SENTINELS)
        if touched:
            self._watch.disturbed(seconds)
        return touched

    def _folder(self, name: str) -> Path:
        return self._deployment.folder(name)

    def _older(self, name: str) -> Path:
        return self._deployment.home / "older" / name

    def _note(self, what: str) -> None:
        self.log.append(f"{self.elapsed_s():7.2f} s  {what}")
