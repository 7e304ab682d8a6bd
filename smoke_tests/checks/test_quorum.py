"""The Sentinels can act: enough of them, of one mind, with the declared quorum."""

from __future__ import annotations

from collections.abc import Callable

from client.crosscheck import Observation, SentinelView
from infra.contract import OperatorContract
from smoke_tests.catalogue import Question, check
from smoke_tests.evidence import Samples, Threshold, exactly
from smoke_tests.result import Result


def every_sentinel(question: Question) -> Threshold:
    return exactly(len(question.contract.sentinels), "Sentinels")


def measure(result: Result, seen: Observation, samples: Samples, problem: Callable[[SentinelView], str]) -> None:
    """Count the Sentinels without a problem; the problems are the reason."""
    result.samples = samples
    problems = {view.name: view.error or problem(view) for view in seen.sentinels}
    bad = {name: text for name, text in problems.items() if text}
    result.measure(len(problems) - len(bad), "; ".join(f"{name}: {text}" for name, text in bad.items()))


@check("quorum.ckquorum", "CKQUORUM is OK on every Sentinel", every_sentinel, sentinel_only=True)
def test_ckquorum(seen: Observation, seen_samples: Samples, result: Result) -> None:
    measure(result, seen, seen_samples, lambda view: "" if view.ckquorum.startswith("OK") else view.ckquorum)


@check("quorum.value", "every Sentinel has the declared quorum", every_sentinel, sentinel_only=True)
def test_value(contract: OperatorContract, seen: Observation, seen_samples: Samples, result: Result) -> None:
    declared = contract.quorum
    measure(
        result,
        seen,
        seen_samples,
        lambda view: "" if view.quorum == declared else f"{view.quorum}, declared {declared}",
    )


@check(
    "quorum.peers", "every Sentinel sees exactly the other declared ones, all up", every_sentinel, sentinel_only=True
)
def test_peers(contract: OperatorContract, seen: Observation, seen_samples: Samples, result: Result) -> None:
    def problem(view: SentinelView) -> str:
        wanted = {str(peer): "sentinel" for peer in contract.sentinels if peer != view.endpoint}
        known = {str(peer): flags for peer, flags in (view.peers or {}).items()}
        return "" if known == wanted else f"knows {known}, declared {sorted(wanted)}"

    measure(result, seen, seen_samples, problem)


@check(
    "quorum.agreement",
    "every Sentinel names the one master, sees it up, has the newest epoch",
    every_sentinel,
    sentinel_only=True,
)
def test_agreement(seen: Observation, seen_samples: Samples, result: Result) -> None:
    masters = {node.endpoint for node in seen.masters}
    newest = max((view.config_epoch for view in seen.sentinels), default=0)

    def problem(view: SentinelView) -> str:
        if {view.master} != masters:
            return f"names {view.master}; role:master is said by {', '.join(map(str, sorted(masters))) or 'nobody'}"
        if view.flags != "master":
            return f"sees the master as {view.flags}"
        return "" if view.config_epoch == newest else f"is at epoch {view.config_epoch}, another at {newest}"

    measure(result, seen, seen_samples, problem)
