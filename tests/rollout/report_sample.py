"""A whole, plausible rollout's raw files. To look at a report: python -m tests.rollout.report_sample FOLDER [--bad]"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel

from prober.samples import Sample, line_of
from rollout.evidence import seal
from rollout.report.catalogue import LINES
from rollout.report.inputs import (
    Approval,
    Failover,
    Input,
    Kind,
    Manifest,
    Measurement,
    PhaseRecord,
    QuorumAnswer,
    Teeth,
    Tooth,
)
from rollout.report.write import write
from smoke_tests.evidence import Check, Evidence, Measured, at_most, exactly
from smoke_tests.verdict import Verdict

BEGAN = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
CHECKS = {line.by.removeprefix("check:"): line.statement for line in LINES if line.by.startswith("check:")}
RELEASE = "r2-7f3c1a9"
# Not required, and nobody measured them.
UNMEASURED = {"tests.performance", "docs.training", "docs.on-call"}


def samples(
    release: str,
    count: int = 2400,
    *,
    began: datetime = BEGAN,
    slower: float = 1.0,
    failed: Callable[[int], bool] = lambda _: False,
    seed: int = 1,
) -> list[Sample]:
    """Ten operations a second, writes and reads in turn, latencies around 0.6 ms times `slower`."""
    chance = random.Random(seed)  # noqa: S311
    return [
        Sample(
            sequence=number,
            boot_id="b",
            monotonic_s=1000 + number / 10,
            wall=began + timedelta(seconds=number / 10),
            operation="write" if number % 2 else "read",
            ok=not failed(number),
            latency_ms=None if failed(number) else round(slower * chance.lognormvariate(-0.5, 0.35), 4),
            error="ConnectionError" if failed(number) else None,
            lost_acks=0,
            master="10.0.0.1:6379",
            epoch=4,
            release=release,
        )
        for number in range(count)
    ]


def smoke(checks: Iterable[str] = CHECKS, verdict: Verdict = Verdict.PASS, stack: str = "prod") -> Evidence:
    """One run in which each of `checks` has `verdict`."""
    each = tuple(_check(id, verdict, number) for number, id in enumerate(checks))
    return Evidence(
        stack=stack,
        mode="sentinel",
        server="redis 7.0.15",
        started=BEGAN,
        seconds=12.4,
        command="python -m smoke_tests --contract contract.env --evidence evidence",
        verdict=verdict if each else Verdict.INCONCLUSIVE,
        checks=each,
        not_applicable=(),
        not_run=(),
        interrupted=False,
        trouble="",
    )


def _check(id: str, verdict: Verdict, number: int) -> Check:
    gap = id == "failover.gap"
    good = 183.0 if gap else 0.0
    return Check(
        check=id,
        claim=CHECKS[id],
        threshold=at_most(1200, "ms") if gap else exactly(0, "differences"),
        measured=None
        if verdict is Verdict.INCONCLUSIVE
        else Measured(value=good if verdict is Verdict.PASS else 9000, unit="ms" if gap else "differences"),
        verdict=verdict,
        reason="",
        started=BEGAN + timedelta(seconds=number),
        seconds=0.2,
        command=f"python -m smoke_tests --contract contract.env --evidence evidence --only {id}",
        samples=None,
    )


class Rollout:
    """Raw files in a folder, and the manifest of them. `put` replaces one."""

    made = BEGAN + timedelta(days=9)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._inputs: dict[str, Input] = {}

    def put(self, path: str, kind: Kind, content: str, *, phase: str = "prod", name: str = "") -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        command = f"python -m rollout collect {kind} --phase {phase}"
        self._inputs[path] = Input(
            kind=kind,
            phase=phase,
            raw=seal(self.folder, file),
            when=BEGAN,
            command=command,
            name=name,
            stack=phase,
            since=BEGAN,
            until=self.made,
        )

    def drop(self, path: str) -> None:
        """The input is never handed in."""
        del self._inputs[path]

    @property
    def manifest(self) -> Manifest:
        return Manifest(
            project="redis-sentinel",
            release=RELEASE,
            baseline_release="r1-02be4d1",
            made=self.made,
            inputs=tuple(self._inputs.values()),
        )


def lines(values: Iterable[BaseModel | Sample]) -> str:
    return "".join(
        line_of(value).decode() if isinstance(value, Sample) else value.model_dump_json() + "\n" for value in values
    )


def junit(tests: int, *, skipped: int = 0, failed: int = 0, release: str = RELEASE, ran: datetime = BEGAN) -> str:
    def case(number: int) -> str:
        inside = "<failure/>" if number < failed else "<skipped/>" if number < failed + skipped else ""
        return f'<testcase classname="t" name="t{number}">{inside}</testcase>'

    of = f'<properties><property name="release" value="{release}"/></properties>'
    return f'<testsuite timestamp="{ran.isoformat()}">{of}{"".join(map(case, range(tests)))}</testsuite>'


def measurements() -> list[Measurement]:
    """Every figure that the catalogue asks for, each as good as its threshold, but two nobody measured."""
    figures = {
        "deploy.seconds": 47.0,
        "rollback.seconds": 7.4,
        "rollback.gap": 0.4,
        "memory.instance-mb": 11.2,
        "memory.total-mb": 58.0,
    }
    figures |= {"discovery.overhead-ms": 12.1, "failover.detection-ms": 2210.0, "canary.share-off": 0.6}
    asked = [line for line in LINES if line.by.startswith("measured:") and line.id not in UNMEASURED]
    return [
        Measurement(
            id=line.id,
            value=figures.get(line.id, line.threshold.value),
            unit=line.threshold.unit,
            when=BEGAN + timedelta(minutes=5),
            command=f"python -m rollout measure {line.id}",
        )
        for line in asked
    ]


def good_rollout(folder: Path) -> Rollout:
    """Everything that is required is there and passes."""
    made = Rollout(folder)
    old, new = made.manifest.baseline_release, made.manifest.release
    made.put("prod/smoke/20260302T080000.000000Z.json", "smoke", smoke().model_dump_json())
    for suite in ("unit", "integration", "failover", "load"):
        made.put(f"tests/{suite}.xml", "junit", junit(140), name=suite)
    made.put("prod/samples/baseline.jsonl", "baseline", lines(samples(old)))
    made.put("canary/samples/canary.jsonl", "canary", lines(samples(new, slower=1.04, seed=2)), phase="canary")
    soak = samples(new, 3000, seed=3)
    made.put("prod/samples/soak.jsonl", "soak", lines(soak[:1200] + soak[1500:]))
    made.put("staging/samples/soak.jsonl", "soak", lines(samples(new, 2400, seed=4)), phase="staging")
    made.put("failovers.jsonl", "failovers", lines(_failovers()))
    made.put("measurements.jsonl", "measurements", lines(measurements()))
    answers = [QuorumAnswer(when=BEGAN + timedelta(seconds=10 * n), ok=True) for n in range(12)]
    made.put("prod/quorum.jsonl", "quorum", lines(answers))
    faults = [
        Tooth(check=id, broken="a replica hangs", went_red=True, verdict=Verdict.FAIL, reason="seen") for id in CHECKS
    ]
    teeth = Teeth(when=BEGAN, command="python -m rollout.teeth", teeth=tuple(faults))
    made.put("teeth.json", "teeth", teeth.model_dump_json())
    made.put("phases.jsonl", "phases", lines(_phases()))
    approval = Approval(
        when=BEGAN + timedelta(days=2),
        phase="prod",
        who="A. Operator",
        reason="figures and rehearsal read",
        plan_sha256="ab" * 32,
        state_sha256="cd" * 32,
        config_epoch=4,
    )
    made.put("approvals.jsonl", "approvals", lines([approval]))
    facts = {
        "target": "kubernetes",
        "image": f"registry/redis@sha256:{'e1' * 32}",
        "downAfterMs": "2000",
        "tls": "true",
    }
    made.put("facts.json", "facts", json.dumps(facts))
    return made


def _failovers() -> list[Failover]:
    rows = [("staging", "planned", 183.0, 1.4), ("staging", "crash", 3267.0, 4.1), ("canary", "planned", 240.0, 1.6)]
    return [
        Failover(
            when=BEGAN - timedelta(hours=4 - number),
            phase=phase,
            kind="planned" if kind == "planned" else "crash",
            old="data-0",
            new="data-1",
            gap_ms=gap,
            completed_s=complete,
            acknowledged=9000,
            lost=0,
        )
        for number, (phase, kind, gap, complete) in enumerate(rows)
    ]


def _phases() -> list[PhaseRecord]:
    soak = {"staging": 172800.0, "canary": 86400.0, "prod": 604800.0}
    return [
        PhaseRecord(
            phase=phase,
            stack=phase,
            began=BEGAN + timedelta(days=number),
            ended=BEGAN + timedelta(days=number + 1),
            required_soak_s=seconds,
            credited_soak_s=seconds,
            verdict=Verdict.PASS,
        )
        for number, (phase, seconds) in enumerate(soak.items())
    ]


def put_whole(made: Rollout, part: float) -> None:
    """Instead of minutes of samples, this part of what `rollout.yaml` asks for: a file for each quarter of an hour."""
    old, new = made.manifest.baseline_release, made.manifest.release
    kinds: list[tuple[Kind, str, str, int]] = [
        ("baseline", "prod", old, 26),
        ("canary", "canary", new, 26),
        ("soak", "prod", new, 7 * 24),
        ("soak", "staging", new, 48),
    ]
    for path in ("prod/samples/baseline", "canary/samples/canary", "prod/samples/soak", "staging/samples/soak"):
        made.drop(f"{path}.jsonl")
    for kind, phase, release, hours in kinds:
        taken = samples(release, int(hours * 36_000 * part))
        for first in range(0, len(taken), 9000):
            content = lines(taken[first : first + 9000])
            made.put(f"{phase}/samples/{kind}-{first:09d}.jsonl", kind, content, phase=phase)


if __name__ == "__main__":
    home = Path(sys.argv[1])
    rollout = good_rollout(home)
    if "--bad" in sys.argv:
        slow = samples(rollout.manifest.release, slower=1.4, failed=lambda n: n % 12 == 0, seed=2)
        rollout.put("canary/samples/canary.jsonl", "canary", lines(slow), phase="canary")
        rollout.drop("teeth.json")
        rollout.drop("tests/integration.xml")
    if "--whole" in sys.argv:
        put_whole(rollout, float(sys.argv[-1]))
    print(write(rollout.manifest, home).verdict)
