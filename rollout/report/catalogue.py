"""PURE  The report's lines as data: what must be shown, by which figure, held against what, counted in which area.

A line's figure is found under `by`: `check:<smoke check>`, `trigger:<trigger>`, `junit:<suite>`, `samples:<figure>`,
`failovers:<figure>`, `phases:soak`, `teeth:toothless`, `approvals:count` or `measured:<id of a Measurement>`.
"""

from __future__ import annotations

from dataclasses import dataclass

from smoke_tests.evidence import Threshold, at_most, exactly

# Area of the score -> its weight in per cent.
WEIGHTS = {
    "code quality": 15,
    "testing": 15,
    "security": 15,
    "performance": 10,
    "documentation": 10,
    "backward compatibility": 10,
    "deployment readiness": 10,
    "risk": 5,
    "compliance": 5,
    "maintainability": 5,
}

SECTIONS = {
    "configuration": "Configuration",
    "checklist": "Implementation checks",
    "performance": "Performance figures",
    "failover": "Failover",
    "availability": "High availability",
    "security": "Security",
    "monitoring": "Monitoring",
    "rollback": "Rollback",
    "phases": "Phases",
    "documentation": "Code and documentation",
    "sign-off": "Sign-off",
}


# A run of fewer tests is not that suite.
LEAST_TESTS = {"unit": 100, "integration": 20, "failover": 5}


@dataclass(frozen=True)
class Line:
    """One line. `required`: nothing passes while it is not measured, if the plan brings it (required.py).

    Measured, every line counts.
    """

    id: str
    section: str
    area: str
    statement: str
    by: str
    threshold: Threshold
    required: bool = True


def _at_least(value: float, unit: str) -> Threshold:
    return Threshold(comparison=">=", value=value, unit=unit)


_NO_FAILED_TEST = exactly(0, "failed tests")
# A smoke check brings its own threshold; this one stands where it was not run.
_CHECK = exactly(0, "failed checks")
# So does a trigger.
_TRIGGER = exactly(0, "triggers fired")


def _check(id: str, section: str, area: str, statement: str, check: str) -> Line:
    return Line(id, section, area, statement, f"check:{check}", _CHECK)


def _trigger(id: str, section: str, area: str, statement: str) -> Line:
    return Line(f"trigger.{id}", section, area, statement, f"trigger:trigger.{id}", _TRIGGER)


def _zero(id: str, section: str, area: str, statement: str, unit: str, *, required: bool = True) -> Line:
    return Line(id, section, area, statement, f"measured:{id}", exactly(0, unit), required)


_READY, _PERF, _RISK = "deployment readiness", "performance", "risk"

LINES: tuple[Line, ...] = (
    _zero("preflight.problems", "configuration", _READY, "settings and secrets are complete and valid", "problems"),
    _zero("preflight.drift", "configuration", _READY, "what runs is what is declared", "differences"),
    _check(
        "contract.variables",
        "configuration",
        "backward compatibility",
        "the REDIS_* variables say what is deployed",
        "contract.round-trip",
    ),
    _check(
        "master.healthy", "checklist", _READY, "the master is healthy; nodes and Sentinels agree", "topology.agreement"
    ),
    _check("replicas.replicate", "checklist", _READY, "2 replicas replicate", "replication.offsets"),
    _check("sentinels.monitor", "checklist", _READY, "3 Sentinels monitor and see each other", "quorum.peers"),
    _check(
        "connectivity",
        "checklist",
        "backward compatibility",
        "a client without Sentinel support reaches the master",
        "contract.standalone-path",
    ),
    _check(
        "discovery", "checklist", _READY, "a client finds the master through the Sentinels", "contract.sentinel-path"
    ),
    Line("tests.unit", "checklist", "testing", "unit tests pass", "junit:unit", _NO_FAILED_TEST),
    Line("tests.integration", "checklist", "testing", "integration tests pass", "junit:integration", _NO_FAILED_TEST),
    Line("tests.failover", "checklist", "testing", "failover tests pass", "junit:failover", _NO_FAILED_TEST),
    Line(
        "tests.performance",
        "checklist",
        "testing",
        "performance tests pass",
        "junit:performance",
        _NO_FAILED_TEST,
        False,
    ),
    Line("tests.load", "checklist", "testing", "load tests pass", "junit:load", _NO_FAILED_TEST, False),
    Line(
        "teeth",
        "checklist",
        "testing",
        "every green smoke check has been seen red on a seeded fault",
        "teeth:toothless",
        exactly(0, "checks never red"),
    ),
    Line("latency.write", "performance", _PERF, "SET: median response", "samples:median-write", at_most(2, "ms")),
    Line("latency.read", "performance", _PERF, "GET: median response", "samples:median-read", at_most(2, "ms")),
    _trigger("latency-median-write", "performance", _PERF, "canary against baseline: median of a write"),
    _trigger("latency-p99-write", "performance", _PERF, "canary against baseline: p99 of a write"),
    _trigger("latency-median-read", "performance", _PERF, "canary against baseline: median of a read"),
    _trigger("latency-p99-read", "performance", _PERF, "canary against baseline: p99 of a read"),
    _trigger("throughput", "performance", _PERF, "canary against baseline: throughput"),
    _trigger("more-errors", "performance", _PERF, "canary against baseline: errors"),
    _trigger("error-rate", "performance", _PERF, "error rate, the canary's and while soaking"),
    Line(
        "uptime",
        "performance",
        _PERF,
        "uptime: sampled seconds in which an operation succeeded",
        "samples:uptime",
        _at_least(99.99, "%"),
    ),
    Line(
        "discovery.overhead-ms",
        "performance",
        _PERF,
        "connection overhead of Sentinel discovery, once",
        "measured:discovery.overhead-ms",
        at_most(50, "ms"),
        False,
    ),
    Line(
        "memory.instance-mb",
        "performance",
        _PERF,
        "memory per instance",
        "measured:memory.instance-mb",
        at_most(50, "MB"),
        False,
    ),
    Line(
        "memory.total-mb", "performance", _PERF, "memory in all", "measured:memory.total-mb", at_most(150, "MB"), False
    ),
    Line(
        "deploy.seconds", "performance", _READY, "deployment time", "measured:deploy.seconds", at_most(1800, "s"), False
    ),
    Line(
        "cache.hit-rate",
        "performance",
        _PERF,
        "cache hit rate",
        "measured:cache.hit-rate",
        _at_least(90, "%"),
        False,
    ),
    Line(
        "cost.monthly",
        "performance",
        "compliance",
        "cost a month more, by the price that the user gives",
        "measured:cost.monthly",
        at_most(200, "a month"),
        False,
    ),
    _trigger("failover", "failover", _RISK, "the controlled failover works"),
    _check("failover.gap", "failover", _PERF, "longest time without an acknowledged write", "failover.gap"),
    _check(
        "failover.no-lost-acks",
        "failover",
        _RISK,
        "a planned failover loses no acknowledged write",
        "failover.no-lost-acks",
    ),
    _check("failover.old-master", "failover", _RISK, "the old master returns as a replica", "failover.old-master"),
    Line(
        "failover.completion",
        "failover",
        _PERF,
        "every failover is complete at the client",
        "failovers:completed-s",
        at_most(30, "s"),
    ),
    Line(
        "failover.planned-lost",
        "failover",
        _RISK,
        "acknowledged writes lost in all planned failovers",
        "failovers:planned-lost",
        exactly(0, "lost"),
    ),
    Line(
        "failover.detection-ms",
        "failover",
        _PERF,
        "a dead master is noticed (down-after-milliseconds is the floor: < 1 ms cannot be)",
        "measured:failover.detection-ms",
        at_most(30_000, "ms"),
        False,
    ),
    _check("quorum", "availability", _RISK, "CKQUORUM is OK on every Sentinel", "quorum.ckquorum"),
    _check("quorum.value", "availability", _RISK, "every Sentinel has the declared quorum", "quorum.value"),
    _check("quorum.agreement", "availability", _RISK, "every Sentinel names the one master", "quorum.agreement"),
    _check("persistence", "availability", _RISK, "every node writes its AOF", "persistence.aof"),
    _trigger("sentinels", "availability", _RISK, "no unplanned move of master or config-epoch"),
    _trigger("quorum", "availability", _RISK, "the quorum was never lost while watching"),
    _trigger("lost-acks", "availability", _RISK, "the prober found every acknowledged write again"),
    _zero("faults.failed", "availability", _RISK, "the fault matrix meets its criteria", "faults"),
    _zero("incidents.downtime", "availability", _RISK, "downtime incidents", "incidents", required=False),
    _zero(
        "interventions.manual",
        "availability",
        "maintainability",
        "manual interventions",
        "interventions",
        required=False,
    ),
    _check("auth.no-password", "security", "security", "without a password everything is refused", "auth.no-password"),
    _check("auth.default-off", "security", "security", "the user default is off", "auth.default-off"),
    _check("auth.rights", "security", "security", "each user is refused what it must not do", "auth.rights-refused"),
    _zero(
        "firewall.denied-answers",
        "security",
        "security",
        "what the firewall denies was tried: answers",
        "answers",
        required=False,
    ),
    _zero("tls.plain-answers", "security", "security", "servers that answer without TLS", "servers", required=False),
    _zero("secrets.found", "security", "compliance", "passwords found in logs, state, outputs, reports", "found"),
    _zero(
        "monitoring.health",
        "monitoring",
        _READY,
        "/health shows redis.mode and the Sentinels' view: errors",
        "errors",
        required=False,
    ),
    _zero("monitoring.metrics", "monitoring", _READY, "expected metrics that are missing", "metrics", required=False),
    _zero(
        "monitoring.alerts",
        "monitoring",
        _READY,
        "alert rules that did not fire when provoked",
        "rules",
        required=False,
    ),
    _zero("monitoring.dashboard", "monitoring", _READY, "dashboard panels without data", "panels", required=False),
    _zero("monitoring.logs", "monitoring", _READY, "nodes whose logs are not collected", "nodes", required=False),
    Line(
        "rollback.seconds",
        "rollback",
        _READY,
        "rollback rehearsed: from the order to serving",
        "measured:rollback.seconds",
        at_most(300, "s"),
    ),
    Line(
        "rollback.gap",
        "rollback",
        _READY,
        "rollback rehearsed: the longest time without an acknowledged write, there and back",
        "measured:rollback.gap",
        at_most(10, "s"),
    ),
    _zero("rollback.lost-acks", "rollback", _RISK, "acknowledged writes lost in the rehearsed rollback", "lost"),
    _zero(
        "rollback.consumers",
        "rollback",
        "backward compatibility",
        "consumers not in mode standalone after it",
        "consumers",
    ),
    Line(
        "canary.share-off",
        "phases",
        _READY,
        "clients on the canary: distance from the declared share",
        "measured:canary.share-off",
        at_most(2, "points"),
    ),
    _zero("rollout.steps", "phases", _RISK, "steps of the plan that were not done, in order", "steps"),
    Line("soak", "phases", _READY, "credited soak that is still owed, all phases", "phases:soak", exactly(0, "s owed")),
    _zero("code.lint", "documentation", "code quality", "linter findings", "findings", required=False),
    _zero("code.types", "documentation", "code quality", "type errors", "errors", required=False),
    _zero("code.shell", "documentation", "code quality", "shellcheck findings", "findings", required=False),
    _zero(
        "code.outdated",
        "documentation",
        "maintainability",
        "dependencies without a pinned version",
        "dependencies",
        required=False,
    ),
    _zero(
        "docs.runbook",
        "documentation",
        "documentation",
        "runbook commands that do not work",
        "commands",
        required=False,
    ),
    _zero(
        "docs.rollback",
        "documentation",
        "documentation",
        "rollback guide: commands that do not work",
        "commands",
        required=False,
    ),
    _zero("docs.on-call", "documentation", "documentation", "on-call: shifts without a name", "shifts", required=False),
    _zero("docs.training", "documentation", "documentation", "team members not trained", "people", required=False),
    Line(
        "approval",
        "sign-off",
        "compliance",
        "approved, bound to plan, state and config-epoch",
        "approvals:count",
        _at_least(1, "approvals"),
    ),
)

# A risk, our answer, and the lines that show it.
RISKS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Misconfiguration",
        "settings are validated, refused at once, drift is looked for",
        ("preflight.problems", "preflight.drift"),
    ),
    (
        "Network partition",
        "a cut-off master stops acknowledging; the fault is tried",
        ("faults.failed", "quorum.value"),
    ),
    ("All Sentinels down", "clients keep the known master; quorum is watched", ("trigger.quorum", "quorum")),
    ("Split brain", "every node and Sentinel must name one master", ("quorum.agreement", "master.healthy")),
    ("Complexity", "one check says whether all agree; one command rolls back", ("master.healthy", "rollback.seconds")),
    ("Deployment complexity", "deployed and timed by one command", ("deploy.seconds", "tests.integration")),
    ("Configuration errors", "the contract is read back and tried", ("contract.variables", "discovery")),
    (
        "Monitoring gaps",
        "health, metrics and alerts are provoked",
        ("monitoring.health", "monitoring.metrics", "monitoring.alerts"),
    ),
    ("Team knowledge", "the runbook's commands are run, people are trained", ("docs.runbook", "docs.training")),
    ("Downtime during deployment", "clients are measured through the phases", ("uptime", "trigger.error-rate")),
    (
        "Data loss",
        "acknowledged writes are read back",
        ("failover.planned-lost", "trigger.lost-acks", "rollback.lost-acks"),
    ),
    (
        "Performance",
        "the canary is compared with the baseline",
        ("trigger.latency-median-write", "trigger.latency-p99-write", "trigger.throughput"),
    ),
    ("Cost", "reckoned from requested resources and the user's price", ("cost.monthly", "memory.total-mb")),
)
