"""A handover whose Sentinel ends between taking the order and promoting anybody, as when its host is drained too."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.ledger import Ledger
from infra.targets.servers import find_servers
from tests.deployment import Deployment

pytestmark = pytest.mark.deployment

ENDS_ITS_LEADER = """\
{cli} "$@"
code=$?
case "$*" in *"SENTINEL FAILOVER"*) if mkdir {once} 2>/dev/null; then kill -KILL "$(cat {pid})"; fi ;; esac
exit $code
"""


@pytest.mark.timed
def test_another_sentinel_goes_on_and_nothing_is_lost(own: Deployment, tmp_path: Path) -> None:
    pid = own.folder("sentinel-0") / "run" / "server.pid"
    old, new = own.master(), own.replicas()[-1]
    ending = ENDS_ITS_LEADER.format(cli=find_servers().cli, once=tmp_path / "once", pid=pid)
    own.replace_cli(new, tmp_path / "cli", ending)
    with Ledger(own.contract) as ledger:
        ledger.wait_for_acks(200)
        code, output = own.run(new, "handover.sh", "to-this-node")
        ledger.wait_for_acks(200)
    report = ledger.verify()
    print(f"leader lost: exit {code}, {output}, {report}")
    assert (tmp_path / "once").exists()
    assert code == 0, output
    assert "goes on" in output
    assert report.lost == ()
    assert report.longest_gap_ms < 4000
    assert own.master() == new != old
