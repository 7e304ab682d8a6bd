"""A node's log -> the reason in the error, in the node's own words, with what to do; and none that is not there."""

from __future__ import annotations

import pytest

from infra.targets import reasons

AT = "29 Nov 2026 21:18:33.958"
SYNC = f"""\
1300:S {AT} * Full resync from master: 7f5e:16780463
1300:S {AT} * MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF to disk
1300:S {AT} # Write error or short write writing to the DB dump file needed for MASTER <-> REPLICA synchronization: short write
1300:S {AT} * Reconnecting to MASTER 127.0.0.1:25154 after failure
"""  # noqa: E501  # a real server's lines

LOGS = {
    "a full disk during a sync": (SYNC, "its disk is full: Write error or short write"),
    "a full disk while it serves": (
        f"1:M {AT} # Error writing to the AOF file: No space left on device",
        "its disk is",
    ),
    "a wrong password": (f"1:S {AT} # Unable to AUTH to MASTER: -WRONGPASS invalid pair", "refuses its password"),
    "a port in use": (f"1:M {AT} # Warning: bind: Address already in use", "another process listens"),
    "no right to its files": (f"1:M {AT} # Can't open or create append-only dir: Permission denied", "read or write"),
    "a read-only disk, as dash says it": (
        "/nodes/data-1/bin/start.sh: 37: cannot create /nodes/data-1/data/unsynced: Read-only file system",
        "read or write its files: cannot create",
    ),
    "a read-only disk, as busybox says it": (
        "/node/bin/start.sh: line 37: can't create /node/data/unsynced: Read-only file system",
        "read or write its files: can't create",
    ),
    "no memory": ("2026-11-29T21:18:33+0000 data-1 start.sh: the server ended by itself, status 137", "no more memory"),
    "data of a newer server": (f"1:S {AT} # Can't handle RDB format version 12", "older than the one that wrote"),
}


@pytest.mark.parametrize(("log", "why"), LOGS.values(), ids=LOGS)
def test_a_known_reason_is_told_with_the_nodes_own_words_and_a_fix(log: str, why: str) -> None:
    found = reasons.known(log)
    assert why in found
    assert found.count("\n  fix: ") == 1
    text = reasons.of("data-1", "data-1/node.log", log)
    assert text.startswith(f"data-1: {found}\n--- the last lines of data-1/node.log:\n")


def test_the_last_reason_counts_and_an_old_one_does_not() -> None:
    password = f"1:S {AT} # Unable to AUTH to MASTER: -WRONGPASS\n"
    assert "password" in reasons.known(SYNC + password)
    assert reasons.known(SYNC + f"1:S {AT} * Ready\n" * reasons.RECENT) == ""


def test_of_a_log_that_repeats_itself_each_warning_is_shown_once() -> None:
    shown = reasons.telling(f"1:S {AT} # Another warning\n" + SYNC * 10)
    assert [line.partition(" # ")[2][:11] for line in shown] == ["Another war", "Write error"]


def test_without_a_warning_the_last_lines_are_shown() -> None:
    log = "".join(f"1:S {AT} * line {number}\n" for number in range(50))
    assert reasons.known(log) == ""
    shown = reasons.telling(log)
    assert (len(shown), shown[-1]) == (reasons.SHOWN, f"1:S {AT} * line 49")
    assert reasons.of("data-1", "its log", "").endswith("its log:\n(no log)")


def test_a_crash_report_hides_no_reason() -> None:
    report = "argv[1]: 'No space left on device'\n" * 300 + f"1:S {AT} # Bio thread for job type #0 terminated\n"
    assert reasons.known(report) == ""
    assert "its disk is full" in reasons.known(SYNC + report)
    assert not any("argv" in line for line in reasons.telling(SYNC + report))
