"""What counts as a write gap."""

from __future__ import annotations

from client.gaps import Gap, find_gaps, longest_gap_ms


def test_a_gap_lies_between_two_consecutive_acknowledgements() -> None:
    assert find_gaps([0.05, 0.1, 0.4, 0.45], 0.5, 100) == (Gap(0.1, 0.4),)
    assert round(Gap(0.1, 0.4).ms) == 300


def test_an_outage_from_the_start_and_one_to_the_end_are_gaps() -> None:
    assert find_gaps([2.0, 2.05], 5.0, 100) == (Gap(0.0, 2.0), Gap(2.05, 5.0))


def test_a_run_without_any_acknowledgement_is_one_gap() -> None:
    assert find_gaps([], 3.0, 100) == (Gap(0.0, 3.0),)


def test_the_threshold_itself_counts() -> None:
    assert find_gaps([0.125], 0.125, 125) == (Gap(0.0, 0.125),)
    assert find_gaps([0.125], 0.125, 126) == ()


def test_the_longest_gap_needs_no_threshold() -> None:
    assert round(longest_gap_ms([0.01, 0.03], 0.04)) == 20


def test_an_acknowledgement_after_the_end_makes_no_negative_gap() -> None:
    assert find_gaps([1.0], 0.5, 0) == (Gap(0.0, 1.0), Gap(1.0, 1.0))
