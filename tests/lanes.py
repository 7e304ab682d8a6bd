"""`make test`: the whole suite as lanes side by side, then what measures time with nothing beside it.

Most tests wait for servers, containers and pods more than they compute, so a few lanes side by side, one for each place
where nodes run, use what the others leave. Each lane is a pytest of its own with its own output. The last line has the
sums; a lane that failed shows its end before that.

    python -m tests.lanes [--nightly]
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.waiting import BESIDE_OTHERS

ROOT = Path(__file__).resolve().parents[1]
PROGRESS_S = 30
AT_ONCE = (os.cpu_count() or 1) + 1
"""More lanes would only wait for each other, and what waits too long fails."""
SHOWN_LINES = 150

SERVERS = "deployment and not torture and not docker and not kubernetes"
SIDE_BY_SIDE = {
    "docker": ("docker", "tests/docker tests/conformance"),
    "kubernetes": ("kubernetes", "tests/kubernetes tests/conformance"),
    "engine": (
        "engine and not deployment and not torture and not docker and not kubernetes",
        "tests/engine tests/rollout",
    ),
    "conformance": (SERVERS, "tests/conformance"),
    "torture": ("torture and not docker and not kubernetes", "tests/torture"),
    "processes": (SERVERS, "tests --ignore=tests/conformance"),
    "pure": ("not engine and not deployment and not torture and not docker and not kubernetes", "tests"),
}
"""Marker expressions and places, which together choose every test once. The longest lanes begin."""

TIMED_IN = "tests/client tests/conformance tests/smoke"
ELSEWHERE = "(docker or kubernetes)"
BY_DAY = (f"not nightly and (not timed or {ELSEWHERE})", f"not nightly and timed and not {ELSEWHERE}")
BY_NIGHT = ("nightly and not timed", f"timed and (nightly or {ELSEWHERE})")
"""What is run in the lanes, and what afterwards with nothing beside it.

A stack to measure on takes a minute of the machine for itself on Docker, and two on Kubernetes. So by day times are
measured on processes; the same tests run on the other targets beside others, with wider bounds.
"""


@dataclass
class Sums:
    """What a lane's JUnit file says."""

    passed: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Tests that were not run, by reason."""

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        skipped = sum(self.skipped.values())
        return f"{self.passed} passed, {self.failed} failed" + (f", {skipped} skipped" if skipped else "")


def sums_of(junit: Path) -> Sums:
    """The sums of a JUnit file; a lane that ended without one has failed."""
    if not junit.exists():
        return Sums(failed=1)
    found = Sums()
    for case in ET.parse(junit).getroot().iter("testcase"):  # noqa: S314  # pytest's own file
        skips = case.findall("skipped")
        if case.findall("failure") or case.findall("error"):
            found.failed += 1
        elif skips:
            found.skipped[skips[0].get("message", "no reason given")] += 1
        else:
            found.passed += 1
    return found


def progress_of(log: str) -> str:
    """How far a lane is, by its output so far: `12/61 test_stack.py::test_...`."""
    tests = re.findall(r"^tests/(?:\S+/)?(\S+::.+?)(?: (?:PASSED|FAILED|ERROR|SKIPPED).*)?$", log, re.MULTILINE)
    counts = re.findall(r"\[ *(\d+/\d+)\]$", log, re.MULTILINE)
    return f"{counts[-1] if counts else '0'} {tests[-1] if tests else ''}".strip()


def end_of(log: str) -> str:
    """What a reader of a failed lane needs: from the first failure on, else its last lines."""
    begin = re.search(r"^=+ (?:ERRORS|FAILURES) =+$", log, re.MULTILINE)
    lines = log[begin.start() if begin else 0 :].splitlines()
    return "\n".join(lines if begin else lines[-SHOWN_LINES:])


class Lane:
    """A pytest of its own over the tests that a marker expression chooses."""

    def __init__(self, name: str, markers: str, places: str, folder: Path, environment: dict[str, str]) -> None:
        self.name = name
        self._junit, self._log = folder / f"{name}.xml", folder / f"{name}.log"
        self._begun = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-v", "-m", markers, f"--junitxml={self._junit}"]
        if BESIDE_OTHERS in environment:
            command += ["--timeout=900"]  # what takes minutes alone
        command += ["--durations=10", "--durations-min=20", "-o", "console_output_style=count", *places.split()]
        with self._log.open("w") as log:
            # A session of its own: an interrupt reaches it by us alone, once, and it cleans up.
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def runs(self) -> bool:
        return self._process.poll() is None

    def progress(self) -> str:
        return f"{self.name} {progress_of(self.log())}"

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def close(self) -> Sums:
        """The sums of a lane that has ended, said with what it has to show."""
        sums = sums_of(self._junit)
        no_tests = 5  # pytest's exit code for it
        if self._process.wait() not in (0, no_tests) and not sums.failed:
            sums.failed = 1
        if sums.failed:
            print(end_of(self.log()))
        for line in re.findall(r"^\d+\.\d+s (?:call|setup|teardown) .*$", self.log(), re.MULTILINE):
            print(f"{self.name}: {line}")
        say(f"{self.name}: {sums}, {time.monotonic() - self._begun:.0f} s")
        return sums

    def interrupt(self) -> None:
        if self.runs():
            os.killpg(self._process.pid, signal.SIGINT)
            self._process.wait()


def say(line: str) -> None:
    print(line, flush=True)


def run(chosen: dict[str, tuple[str, str]], folder: Path) -> Iterable[Sums]:
    """Run lanes side by side, AT_ONCE of them; yields each one's sums as it ends."""
    environment = {BESIDE_OTHERS: "yes"} if len(chosen) > 1 else {}
    lanes: list[Lane] = []
    to_come = list(chosen.items())
    try:
        told = time.monotonic()
        while lanes or to_come:
            while to_come and len(lanes) < AT_ONCE:
                name, what = to_come.pop(0)
                lanes.append(Lane(name, *what, folder, environment))
            for lane in [lane for lane in lanes if not lane.runs()]:
                lanes.remove(lane)
                yield lane.close()
            if time.monotonic() - told > PROGRESS_S:
                told = time.monotonic()
                say("; ".join(lane.progress() for lane in lanes))
            time.sleep(0.5)
    finally:
        for lane in lanes:
            lane.interrupt()


def main() -> int:
    beside_others, alone = BY_NIGHT if "--nightly" in sys.argv[1:] else BY_DAY
    folder = Path(tempfile.mkdtemp(prefix="lanes-"))
    begun, total = time.monotonic(), Sums()
    try:
        lanes = {name: (f"({markers}) and {beside_others}", places) for name, (markers, places) in SIDE_BY_SIDE.items()}
        for one_after_the_other in (lanes, {"timed": (alone, TIMED_IN)}):
            for sums in run(one_after_the_other, folder):
                total += sums
    except KeyboardInterrupt:
        say(f"interrupted; what the lanes said so far is in {folder}")
        return 130
    for reason, count in total.skipped.most_common():
        say(f"skipped {count}: {reason}")
    if total.failed:
        say(f"whole output: {folder}")
    else:
        shutil.rmtree(folder)
    say(f"lanes: {time.monotonic() - begun:.0f} s in all")
    say(str(total))
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
