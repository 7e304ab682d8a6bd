"""The worst wins, and there is no green without evidence."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from rollout.evidence import Claim, RawFile, not_measured
from rollout.gate import decide
from smoke_tests.evidence import Measured, exactly
from smoke_tests.verdict import Verdict, worst


def claim(id: str, verdict: Verdict = Verdict.PASS) -> Claim:
    return Claim(
        id=id,
        statement="as it should be",
        threshold=exactly(0, "faults"),
        measured=Measured(value=0 if verdict is Verdict.PASS else 1, unit="faults"),
        verdict=verdict,
        reason="",
        when=datetime(2026, 1, 1, tzinfo=UTC),
        command="look",
        raw=(RawFile(path="x", sha256="0" * 64),),
    )


@given(st.lists(st.sampled_from(list(Verdict)), min_size=1, max_size=8))
def test_the_worst_wins(verdicts: list[Verdict]) -> None:
    claims = [claim(f"c{number}", verdict) for number, verdict in enumerate(verdicts)]
    decision = decide(claims, [each.id for each in claims])
    assert decision.verdict is worst(verdicts)
    assert len(decision.reasons) == sum(verdict is not Verdict.PASS for verdict in verdicts)


@given(st.lists(st.sampled_from(list(Verdict)), max_size=8))
def test_a_required_claim_that_is_not_there_never_passes(verdicts: list[Verdict]) -> None:
    claims = [claim(f"c{number}", verdict) for number, verdict in enumerate(verdicts)]
    decision = decide(claims, ["absent"])
    assert decision.verdict is worst([*verdicts, Verdict.INCONCLUSIVE])
    assert "absent: not measured" in decision.reasons


def test_nothing_is_no_pass() -> None:
    assert decide([], []).verdict is Verdict.INCONCLUSIVE
    assert decide([claim("a")], []).verdict is Verdict.INCONCLUSIVE
    assert decide([claim("a")], ["a"]).verdict is Verdict.PASS


def test_what_nobody_measured_counts_only_where_it_is_required() -> None:
    open_claim = not_measured("b", "somebody was trained", exactly(0, "people"))
    assert decide([claim("a"), open_claim], ["a"]).verdict is Verdict.PASS
    assert decide([claim("a"), open_claim], ["a", "b"]).verdict is Verdict.INCONCLUSIVE


def test_a_measured_failure_counts_although_it_is_not_required() -> None:
    decision = decide([claim("a"), claim("b", Verdict.FAIL)], ["a"])
    assert decision.verdict is Verdict.FAIL
    assert decision.reasons == ("b: fail: 1 faults, wanted == 0 faults",)


def test_one_claim_made_twice_is_an_error() -> None:
    assert decide([claim("a"), claim("a")], ["a"]).verdict is Verdict.ERROR
