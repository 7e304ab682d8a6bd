"""Settings of data nodes that a running node takes over by apply.sh, without a restart."""

from __future__ import annotations

import pytest

from infra.targets import process_control
from tests.deployment import Deployment
from tests.unit.samples import files_of

pytestmark = pytest.mark.deployment

CHANGED = {
    "maxclients": "500",
    "clientOutputBufferLimit": "pubsub 64mb 16mb 90",
    "replBacklogSize": "32mb",
    "notifyKeyspaceEvents": "Ex",
}
SHOWN = {
    "maxclients": "500",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 67108864 16777216 90",
    "repl-backlog-size": "33554432",
    "notify-keyspace-events": "xE",
}


def test_limits_and_events_are_changed_without_a_restart(own: Deployment) -> None:
    name = own.data[1]
    before, pid = own.properties[name]["files"]["redis.conf"], own.pid(name)
    new = files_of(name, **CHANGED)["redis.conf"].splitlines()
    ours = [line for line in new if line.partition(" ")[0] in SHOWN]
    assert len(ours) == len(SHOWN)
    kept = [line for line in before.splitlines() if line.partition(" ")[0] not in SHOWN]
    process_control.write_files(own.folder(name), {"redis.conf": "\n".join([*kept, *ours]) + "\n"}, {})
    assert own.run(name, "apply.sh")[0] == 0
    assert {key: own.ask(name, "CONFIG", "GET", key)[1] for key in SHOWN} == SHOWN
    assert own.pid(name) == pid
    own.stop_planned(name)
    process_control.start(own.folder(name))  # and the server takes the same lines from its file
    own.await_converged()
    assert {key: own.ask(name, "CONFIG", "GET", key)[1] for key in SHOWN} == SHOWN
