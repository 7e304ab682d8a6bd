"""Releases and stacks kept in a folder, so that several processes see the same; what was done is counted there.

A release is a folder with its plan and one setting. `up` deploys the setting of the folder that the stacks were taken
for, as the real ones deploy their tree: an engine that asks for the wrong release, or for none, deploys what it asked
for. `checkout` is what lies in the working copy, which is nobody's release.
"""

# ruff: noqa: ARG002 - the parameters are the Protocol's

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterator, Sequence
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prober.samples import Sample
from rollout.plan import Consumer, Plan, read
from rollout.stacks import Outcome, StackState
from smoke_tests.evidence import Check, Evidence, Measured, exactly
from smoke_tests.verdict import Verdict

PLAN = """
project: tried
journal: unused
signing: none
sampleGap: 2s
rehearsalMaxAge: 1h
rollback: {contract: standalone, within: 5m, watch: 1s}
phases:
  staging: {stack: staging, samples: staging, steps: [preflight, preview, up, smoke, rehearsal, {soak: 30s}]}
  canary:
    stack: canary
    samples: canary
    steps: [preflight, preview, approval, up, smoke, {share: 1}, {share: 10}, failover, {soak: 30s}]
  prod: {stack: prod, samples: prod, steps: [preflight, preview, approval, up, smoke, {share: 0}, {monitoring: 30s}]}
"""
UNATTENDED = PLAN.replace("approval, ", "")


def sample(sequence: int, at: float | None = None, **changes: Any) -> Sample:
    """A passing sample, ten a second unless `at` (monotonic, s) says otherwise."""
    values: dict[str, Any] = {
        "sequence": sequence,
        "boot_id": "boot",
        "monotonic_s": sequence / 10 if at is None else at,
        "wall": datetime(2026, 1, 1, tzinfo=UTC),
        "operation": "write" if sequence % 2 else "read",
        "ok": True,
        "latency_ms": 1.0 + sequence % 7 / 10,
        "error": None,
        "lost_acks": 0,
        "master": "10.0.0.1:6379",
        "epoch": 1,
        "release": "r1",
    }
    return Sample(**(values | changes))


def steady(count: int = 1500, **changes: Any) -> list[Sample]:
    return [sample(number, **changes) for number in range(count)]


def drill(lost: float = 0, began: datetime | None = None, stack: str = "canary") -> bytes:
    """The smoke suite's evidence of a controlled failover, a moment ago."""
    began = began or datetime.now(UTC) - timedelta(seconds=2)
    verdict = Verdict.FAIL if lost else Verdict.PASS
    check = Check(
        check="failover.no-lost-acks",
        claim="every acknowledged write is present",
        threshold=exactly(0, "lost"),
        measured=Measured(value=lost, unit="lost"),
        verdict=verdict,
        reason="900 acknowledged by 4 writers",
        started=began,
        seconds=2.0,
        command="python -m smoke_tests --only failover.no-lost-acks",
        samples=None,
    )
    evidence = Evidence(
        stack=stack,
        mode="sentinel",
        server="valkey 8.1",
        started=began,
        seconds=2.0,
        command="python -m smoke_tests",
        verdict=verdict,
        checks=(check,),
        not_applicable=(),
        not_run=(),
        interrupted=False,
        trouble="",
    )
    return evidence.model_dump_json().encode()


class FolderStacks:
    """In a folder: `actions.log` (one JSON line for each action as it takes effect), `deployed-<stack>`, `trees`.

    Both what the engine asks of releases and, taken for one of them, of its stacks.
    """

    def __init__(self, folder: Path, pause_s: float = 0.0, plan: str = UNATTENDED) -> None:
        self.folder = folder
        self.pause_s = pause_s
        self.plan_text = plan
        self.tree = self._made("checkout", "what lies about")
        self.bindings: dict[str, dict[str, str]] = {}
        """By stack: what is bound otherwise than its release says."""
        self.answers: dict[str, Outcome] = {}
        self.feeds: dict[str, list[Sample]] = {}
        self.drifted: dict[str, Outcome] = {}
        self.release = "r1"
        self.late: dict[str, int] = {}
        """By folder: how many samples of a look still name the earlier release."""
        self.has_quorum: bool | None = True
        self.moved: list[tuple[str, list[str]]] = []
        """Whose applications were moved: the stack, their names."""
        self.kept: list[list[str]] = []
        """What was to be kept each time that the rest went."""
        self.drill: bytes | None = None
        """The evidence of every failover; None: one that is of its stack and time, and in order."""

    def _made(self, release: str, setting: str = "") -> Path:
        """The release's folder: its plan and its one setting."""
        tree = self.folder / "trees" / release
        if not tree.exists():
            tree.mkdir(parents=True)
            (tree / "rollout.yaml").write_text(self.plan_text)
            (tree / "setting").write_text(setting or release)
        return tree

    def commit(self, name: str) -> str:
        return name

    def plan(self, release: str) -> Plan:
        return read((self._made(release) / "rollout.yaml").read_text())

    def bound(self, release: str, stack: str) -> dict[str, str]:
        tree = self._made(release)
        same = dict.fromkeys(("lock", "secrets"), "the same")
        setting = (tree / "setting").read_text()
        return {"commit": release, "tree": tree.name, "configuration": setting, **same, **self.bindings.get(stack, {})}

    def prune(self, kept: Collection[str]) -> list[str]:
        self.kept.append(sorted(kept))
        return ["removed trees/old, which no release needs any more"]

    def stacks(self, release: str) -> FolderStacks:
        """Sees what this one is told, and works from the release's folder."""
        taken = copy(self)
        taken.tree = self._made(release)
        return taken

    @property
    def actions(self) -> list[str]:
        """`what stack` in order."""
        try:
            return (self.folder / "actions.log").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _act(self, what: str, stack: str) -> Outcome:
        time.sleep(self.pause_s)
        handle = os.open(self.folder / "actions.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, f"{what} {stack}\n".encode())
        os.close(handle)
        time.sleep(self.pause_s)
        passed = Outcome(Verdict.PASS, "fine", files={f"{what}-{stack}.json": json.dumps([what, stack]).encode()})
        return self.answers.get(f"{what} {stack}", passed)

    def preflight(self, stack: str) -> Outcome:
        return self._act("preflight", stack)

    def preview(self, stack: str) -> Outcome:
        return self._act("preview", stack)

    def up(self, stack: str) -> Outcome:
        (self.folder / f"deployed-{stack}").write_text((self.tree / "setting").read_text())
        return self._act("up", stack)

    def is_deployed(self, stack: str) -> bool:
        return self.deployed(stack) == (self.tree / "setting").read_text() and f"up {stack}" in self.actions

    def deployed(self, stack: str) -> str:
        """The setting that the stack runs with; '' when it was never up."""
        file = self.folder / f"deployed-{stack}"
        return file.read_text() if file.exists() else ""

    def state(self, stack: str) -> StackState:
        epoch = 1 + self.actions.count(f"failover {stack}")
        return StackState(self.deployed(stack), epoch, f"10.0.0.{epoch}:6379")

    def smoke(self, stack: str) -> Outcome:
        return self._act("smoke", stack)

    def teeth(self, stack: str) -> Outcome:
        return self._act("teeth", stack)

    def faults(self, stack: str) -> Outcome:
        return self._act("faults", stack)

    def rehearsal(self, stack: str, consumers: Sequence[Consumer]) -> Outcome:
        self.moved.append((stack, [each.name for each in consumers]))
        outcome = self._act("rehearsal", stack)
        figures = {"rollback_s": 4.2, "lost_acks": 0.0, "gap_s": 0.3}
        return Outcome(outcome.verdict, outcome.reason, figures=outcome.figures or figures, files=outcome.files)

    def failover(self, stack: str) -> Outcome:
        outcome = self._act("failover", stack)
        files = {**outcome.files, "drill.json": self.drill or drill(stack=stack)} if outcome.files else {}
        return Outcome(outcome.verdict, outcome.reason, files=files)

    def quorum(self, stack: str) -> bool | None:
        return self.has_quorum

    def share(self, canary: str, prod: str, percent: int, clients: Sequence[str] = ()) -> Outcome:
        return self._act(f"share-{percent}", canary)

    def drift(self, stack: str) -> Outcome:
        return self.drifted.get(stack, Outcome(Verdict.PASS, "none"))

    def passwords(self, stack: str) -> frozenset[str]:
        return frozenset({f"{stack}:Gr8-and/secret"})

    def traces(self, stack: str) -> Iterator[tuple[str, bytes]]:
        yield "actions.log", "\n".join(self.actions).encode()

    def samples(self, folder: str, after: int) -> list[Sample]:
        """Each look brings 220 s of samples, unless the test feeds its own."""
        if folder in self.feeds:
            return [each for each in self.feeds[folder] if each.sequence > after]
        if after < 0:
            return [sample(0, release=self.release)]
        epoch = self.state(folder).epoch
        master = self.state(folder).master
        first = after + 1
        late, wall = self.late.get(folder, 0), datetime.now(UTC)
        return [
            sample(first + n, epoch=epoch, master=master, wall=wall, release="r0" if n < late else self.release)
            for n in range(2200)
        ]

    def newest(self, folder: str) -> Iterator[Sample]:
        yield from reversed(self.feeds.get(folder, [sample(0, release=self.release)]))

    def restore(self, stack: str, contract: str = "keep") -> Outcome:
        (self.folder / f"deployed-{stack}").write_text((self.tree / "setting").read_text())
        return self._act(f"restore-{self.tree.name}", stack)

    def standalone(self, stack: str, consumers: Sequence[Consumer], watch_s: float) -> Outcome:
        self.moved.append((stack, [each.name for each in consumers]))
        return self._act(f"standalone-of-{self.tree.name}", stack)
