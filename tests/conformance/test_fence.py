"""A handover on a machine that is busy for a moment: its fence is put up again, and holds while it may be needed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from client.ledger import Ledger
from client.ledger_report import LedgerReport
from infra.targets.servers import find_servers
from tests.deployment import Deployment

pytestmark = pytest.mark.deployment

# For the first fences, no replica is heard of until the fence is lifted again.
NOT_HEARD = """\
case "$*" in
    *" ROLE") if [ -e {home}/fenced ]; then exit 1; fi ;;
    *"CLIENT UNPAUSE") rm -f {home}/fenced ;;
    *-p\\ [0-9]*\\ *) ;;
    *)
        said=$(cat)
        case "$said" in *"CLIENT PAUSE"*)
            echo fence >>{home}/fences
            if [ "$(wc -l <{home}/fences)" -le {times} ]; then touch {home}/fenced; fi ;;
        esac
        printf '%s\\n' "$said" | {cli} "$@"
        exit
        ;;
esac
exec {cli} "$@"
"""

SLOW_TO_SAY_SO = """\
{cli} "$@"
code=$?
case "$*" in *"SENTINEL FAILOVER"*) sleep 3 ;; esac
exit $code
"""


def handed_over(own: Deployment) -> tuple[int, str, LedgerReport]:
    """From the master, by its own script, while four writers write."""
    with Ledger(own.contract) as ledger:
        ledger.wait_for_acks(200)
        code, output = own.run(own.master(), "handover.sh")
        ledger.wait_for_acks(200)
    report = ledger.verify()
    print(f"exit {code}, {report}\n{output}")
    return code, output, report


def hinder(own: Deployment, home: Path, text: str, **values: object) -> None:
    own.replace_cli(own.master(), home / "cli", text.format(cli=find_servers().cli, home=home, **values))


def test_replicas_that_are_late_once_are_waited_for_again(own: Deployment, tmp_path: Path) -> None:
    old = own.master()
    hinder(own, tmp_path, NOT_HEARD, times=1)
    code, output, report = handed_over(own)
    assert code == 0, output
    assert "fence 1 of 3 failed: the replicas of" in output
    assert "fence 2" not in output
    assert report.lost == ()
    assert own.master() != old


@pytest.mark.timed
def test_replicas_that_are_late_every_time_end_it_and_nothing_moves(own: Deployment, tmp_path: Path) -> None:
    old = own.master()
    hinder(own, tmp_path, NOT_HEARD, times=9)
    code, output, report = handed_over(own)
    assert code == 1
    assert "fence 3 of 3 failed" in output and "gave up: the replicas of" in output
    assert report.lost == ()
    assert report.longest_gap_ms < own.contract.down_after_ms, "each fence was lifted"
    assert own.master() == old


@pytest.mark.parametrize("says", [124, 143], ids=["coreutils", "busybox"])
def test_an_order_without_an_answer_may_have_been_taken(
    own: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: int
) -> None:
    timeout = tmp_path / "timeout"
    timeout.write_text(
        f'#!/bin/sh\n{shutil.which("timeout")} "$@"\ncode=$?\n[ $code != 124 ] || exit {says}\nexit $code\n'
    )
    timeout.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    old = own.master()
    hinder(own, tmp_path, SLOW_TO_SAY_SO)
    code, output, report = handed_over(own)
    assert code == 0, output
    assert report.lost == ()
    assert own.master() != old
