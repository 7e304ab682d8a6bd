"""The worst one wins, and nothing at all is never a pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoke_tests.verdict import EXIT_CODES, Verdict, of_check, of_run, worst

PASS, INCONCLUSIVE, FAIL, ERROR = Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.ERROR
verdicts = st.lists(st.sampled_from(Verdict))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], INCONCLUSIVE),
        ([PASS], PASS),
        ([PASS, PASS], PASS),
        ([PASS, INCONCLUSIVE], INCONCLUSIVE),
        ([INCONCLUSIVE, FAIL, PASS], FAIL),
        ([FAIL, ERROR, PASS], ERROR),
        ([ERROR, FAIL], ERROR),
    ],
)
def test_worst(given: list[Verdict], expected: Verdict) -> None:
    assert worst(given) is expected


@given(verdicts, st.sampled_from(Verdict))
def test_one_more_verdict_never_makes_it_better(some: list[Verdict], one: Verdict) -> None:
    order = [PASS, INCONCLUSIVE, FAIL, ERROR]
    with_one = order.index(worst([*some, one]))
    assert with_one >= order.index(one)
    assert not some or with_one >= order.index(worst(some))


@given(verdicts)
def test_the_order_does_not_matter(some: list[Verdict]) -> None:
    assert worst(some) is worst(reversed(some)) is worst(sorted(some))


@given(verdicts, st.booleans(), st.booleans())
def test_a_run_passes_only_when_complete_and_all_pass(some: list[Verdict], complete: bool, broken: bool) -> None:
    good = bool(some) and set(some) == {PASS} and complete and not broken
    assert (of_run(some, complete=complete, broken=broken) is PASS) == good


@pytest.mark.parametrize(
    ("complete", "broken", "expected"),
    [(True, False, INCONCLUSIVE), (False, False, INCONCLUSIVE), (True, True, ERROR), (False, True, ERROR)],
)
def test_a_run_without_checks(complete: bool, broken: bool, expected: Verdict) -> None:
    assert of_run([], complete=complete, broken=broken) is expected


@pytest.mark.parametrize(
    ("outcome", "measured", "expected"),
    [
        (PASS, True, PASS),
        (PASS, False, INCONCLUSIVE),
        (FAIL, True, FAIL),
        (FAIL, False, FAIL),
        (ERROR, False, ERROR),
        (INCONCLUSIVE, True, INCONCLUSIVE),
    ],
)
def test_a_check_that_measured_nothing_does_not_pass(outcome: Verdict, measured: bool, expected: Verdict) -> None:
    assert of_check(outcome, measured=measured) is expected


def test_each_verdict_has_its_exit_code_and_only_pass_is_0() -> None:
    assert EXIT_CODES == {PASS: 0, FAIL: 1, ERROR: 2, INCONCLUSIVE: 3}
