"""What was read -> candidate claims for the catalogue's lines, by the names in their `by`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from prober.samples import Sample
from rollout import triggers
from rollout.evidence import Claim, RawFile, held_against, not_measured
from rollout.report.catalogue import LEAST_TESTS, Line
from rollout.report.inputs import Input
from rollout.report.raw import Read
from rollout.statistics import quantile
from rollout.triggers import Finding
from smoke_tests.evidence import Check, Measured, Threshold
from smoke_tests.verdict import Verdict, worst


@dataclass(frozen=True)
class Figure:
    """One measurement found. `threshold` None: the line's own; `verdict` None: the figure decides."""

    by: str
    value: float | None
    unit: str
    reason: str
    when: datetime | None
    command: str
    raw: tuple[RawFile, ...]
    threshold: Threshold | None = None
    verdict: Verdict | None = None


def figures(read: Read) -> dict[str, list[Figure]]:
    """Every figure, by name; several measured several times."""
    every = [
        *_smoke(read),
        *_tests(read),
        *_measured(read),
        *_failovers(read),
        *_phases(read),
        *_approvals(read),
        *_from_samples(read),
        *_triggers(read),
        *_teeth(read),
    ]
    found: defaultdict[str, list[Figure]] = defaultdict(list)
    for figure in every:
        found[figure.by].append(figure)
    return dict(found)


def claim_of(line: Line, candidates: Sequence[Figure]) -> Claim:
    """The line as a claim: the worst of what was measured."""
    if not candidates:
        return not_measured(line.id, line.statement, line.threshold)
    claims = [_claim(line.id, line.statement, line.threshold, figure) for figure in candidates]
    bad = worst(claim.verdict for claim in claims)
    return next(claim for claim in reversed(claims) if claim.verdict is bad)


def smoke_claims(read: Read) -> list[Claim]:
    """Each check of each smoke run as a claim of its own, and each run's own trouble."""
    claims = []
    for given, evidence in read.smoke:
        for number, check in enumerate(evidence.checks):
            figure = _of_check(given, check, (given.raw,))
            id = f"smoke.{given.phase}.{_run_id(given)}.{check.check}"
            if any(each.check == check.check for each in evidence.checks[:number]):
                id += f".{number}"
            claims.append(_claim(id, check.claim, check.threshold, figure))
        if evidence.verdict is not worst(check.verdict for check in evidence.checks) or not evidence.checks:
            reason = evidence.trouble or ("interrupted" if evidence.interrupted else "no check ran")
            trouble = not_measured(
                f"smoke.{given.phase}.{_run_id(given)}", "the smoke run came to its end", _NONE, reason
            )
            claims.append(trouble.model_copy(update={"verdict": evidence.verdict}))
    return claims


_NONE = Threshold(comparison="==", value=0, unit="troubles")


def red_on(read: Read) -> dict[str, tuple[str, ...]]:
    """Each smoke check's seeded faults on which it went red."""
    seen: defaultdict[str, list[str]] = defaultdict(list)
    for _, run in read.teeth:
        for tooth in run.teeth:
            if tooth.went_red and tooth.broken not in seen[tooth.check]:
                seen[tooth.check].append(tooth.broken)
    return {check: tuple(faults) for check, faults in sorted(seen.items())}


def _claim(id: str, statement: str, threshold: Threshold, figure: Figure) -> Claim:
    held = figure.threshold or threshold
    measured = None if figure.value is None else Measured(value=figure.value, unit=figure.unit)
    reason = figure.reason
    if measured is None:
        verdict = worst([figure.verdict or Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE])
    elif measured.unit != held.unit:
        verdict, reason = Verdict.ERROR, f"measured in {measured.unit}, wanted {held.unit}"
    elif figure.verdict in (None, Verdict.PASS):
        verdict = held_against(held, measured.value)
    else:
        # A figure beyond the threshold is no fail when who measured it could not tell it from chance.
        verdict = figure.verdict
    if verdict is Verdict.PASS and not (figure.raw and figure.when and figure.command):
        verdict, reason = Verdict.INCONCLUSIVE, "no time, command or raw file"
    return Claim(
        id=id,
        statement=statement,
        threshold=held,
        measured=measured,
        verdict=verdict,
        reason=reason,
        when=figure.when,
        command=figure.command,
        raw=figure.raw,
    )


def _run_id(given: Input) -> str:
    return given.raw.path.rsplit("/", 1)[-1].removesuffix(".json")


def _smoke(read: Read) -> Iterable[Figure]:
    for given, evidence in read.smoke:
        for check in evidence.checks:
            yield _of_check(given, check, (given.raw,))
        if not evidence.checks or not any(check.check.startswith("failover.") for check in evidence.checks):
            continue
        yield _of_finding(
            triggers.failover(evidence.checks),
            evidence.started,
            evidence.command,
            (given.raw,),
        )


def _of_check(given: Input, check: Check, raw: tuple[RawFile, ...]) -> Figure:
    value = None if check.measured is None else check.measured.value
    unit = "" if check.measured is None else check.measured.unit
    reason = check.reason
    return Figure(
        f"check:{check.check}",
        value,
        unit,
        f"{given.phase}: {reason}" if reason else given.phase,
        check.started,
        check.command,
        raw,
        check.threshold,
        check.verdict,
    )


def _of_finding(finding: Finding, when: datetime | None, command: str, raw: tuple[RawFile, ...]) -> Figure:
    value = None if finding.measured is None else finding.measured.value
    unit = "" if finding.measured is None else finding.measured.unit
    by = f"trigger:{finding.id}"
    return Figure(by, value, unit, finding.reason, when, command, raw, finding.threshold, finding.verdict)


def _tests(read: Read) -> Iterable[Figure]:
    for given, run in read.junit:
        least = LEAST_TESTS.get(given.name, 1)
        reason = f"{run.executed} executed, {run.skipped} skipped, of at least {least}"
        value = run.failed if run.executed >= least or run.failed else None
        yield Figure(f"junit:{given.name}", value, "failed tests", reason, given.when, given.command, (given.raw,))


def _measured(read: Read) -> Iterable[Figure]:
    for given, measurements in read.measurements:
        for each in measurements:
            yield Figure(f"measured:{each.id}", each.value, each.unit, each.note, each.when, each.command, (given.raw,))


def _failovers(read: Read) -> Iterable[Figure]:
    for given, failovers in read.failovers:
        if not failovers:
            continue
        last, raw = failovers[-1].when, (given.raw,)
        longest = max(each.completed_s for each in failovers)
        text = f"{len(failovers)} failovers"
        yield Figure("failovers:completed-s", longest, "s", text, last, given.command, raw)
        planned = [each for each in failovers if each.kind == "planned"]
        if sum(each.acknowledged for each in planned):
            lost = sum(each.lost for each in planned)
            text = f"{sum(each.acknowledged for each in planned)} acknowledged in {len(planned)} planned failovers"
            yield Figure("failovers:planned-lost", lost, "lost", text, last, given.command, raw)


def _phases(read: Read) -> Iterable[Figure]:
    for given, phases in read.phases:
        if not phases:
            continue
        owed = sum(max(0.0, each.required_soak_s - each.credited_soak_s) for each in phases)
        text = ", ".join(f"{each.phase} {each.credited_soak_s:g} of {each.required_soak_s:g} s" for each in phases)
        # A phase without a soak has nothing to show for it.
        value = owed if all(each.required_soak_s > 0 for each in phases) else None
        bad = worst(each.verdict for each in phases)
        yield Figure("phases:soak", value, "s owed", text, phases[-1].began, given.command, (given.raw,), verdict=bad)


def _approvals(read: Read) -> Iterable[Figure]:
    for given, approvals in read.approvals:
        if approvals:
            names = ", ".join(f"{each.who} ({each.phase})" for each in approvals)
            yield Figure(
                "approvals:count", len(approvals), "approvals", names, approvals[-1].when, given.command, (given.raw,)
            )


def _teeth(read: Read) -> Iterable[Figure]:
    checks = {check.check for _, evidence in read.smoke for check in evidence.checks}
    if not read.teeth or not checks:
        return
    toothless = sorted(checks - set(red_on(read)))
    _, run = read.teeth[-1]
    text = f"never red: {', '.join(toothless)}" if toothless else f"{len(checks)} checks, each seen red"
    raw = tuple(given.raw for given, _ in read.teeth)
    yield Figure("teeth:toothless", len(toothless), "checks never red", text, run.when, run.command, raw)


def _from_samples(read: Read) -> Iterable[Figure]:
    kinds = ("canary", "soak")
    samples, when, command, raw = _origin(read, *kinds)
    for operation in triggers.OPERATIONS:
        latencies = [s.latency_ms for s in samples if s.ok and s.operation == operation and s.latency_ms is not None]
        if len(latencies) >= triggers.MIN_MEDIAN:
            value, p99 = quantile(latencies, 0.5), quantile(latencies, 0.99)
            text = f"p99 {p99:.2f} ms, {len(latencies)} samples"
            yield Figure(f"samples:median-{operation}", round(value, 3), "ms", text, when, command, raw)
    seconds = seconds_of(samples)
    if seconds:
        up = sum(seconds.values())
        text = f"{up} of {len(seconds)} sampled seconds"
        yield Figure("samples:uptime", round(100 * up / len(seconds), 4), "%", text, when, command, raw)


def seconds_of(samples: Iterable[Sample]) -> dict[tuple[str, int], bool]:
    """Each sampled second of a boot's clock: whether an operation succeeded in it."""
    found: dict[tuple[str, int], bool] = {}
    for sample in samples:
        second = sample.boot_id, int(sample.monotonic_s)
        found[second] = found.get(second, False) or sample.ok
    return found


def _triggers(read: Read) -> Iterable[Figure]:
    baseline, canary = read.samples_of("baseline"), read.samples_of("canary")
    if baseline or canary:
        _, when, command, raw = _origin(read, "baseline", "canary")
        for finding in triggers.compare(baseline, canary):
            yield _of_finding(finding, when, command, raw)
    # Each phase by itself: two stacks have two masters, which is no flap.
    for kind, phase in dict.fromkeys(
        (given.kind, given.phase) for given, _ in read.samples if given.kind != "baseline"
    ):
        parts = [(given, samples) for given, samples in read.samples if (given.kind, given.phase) == (kind, phase)]
        samples = [sample for _, part in parts for sample in part]
        raw = tuple(given.raw for given, _ in parts)
        when = samples[-1].wall if samples else None
        for finding in triggers.watch(samples, _planned(read, phase, samples)):
            yield _of_finding(finding, when, parts[0][0].command, raw)
    for given, answers in read.quorum:
        when = answers[-1].when if answers else None
        yield _of_finding(triggers.quorum([each.ok for each in answers]), when, given.command, (given.raw,))


def _planned(read: Read, phase: str, samples: Sequence[Sample]) -> int:
    """Planned failovers while these samples were taken."""
    if not samples:
        return 0
    every = [each for _, failovers in read.failovers for each in failovers if each.phase == phase]
    return sum(each.kind == "planned" and samples[0].wall <= each.when <= samples[-1].wall for each in every)


def _origin(read: Read, *kinds: str) -> tuple[list[Sample], datetime | None, str, tuple[RawFile, ...]]:
    samples, inputs = read.samples_of(*kinds), read.inputs_of(*kinds)
    when = max((sample.wall for sample in samples), default=None)
    return samples, when, inputs[0].command if inputs else "", tuple(given.raw for given in inputs)
