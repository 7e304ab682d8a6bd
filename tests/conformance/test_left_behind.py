"""What a script that was killed half-way leaves: the cross-check sees it, and the node puts it right by itself."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import RedisError

from infra.targets.servers import find_servers
from tests.deployment import PASSWORDS, Deployment
from tests.waiting import await_that

pytestmark = pytest.mark.deployment

MENDED_S = 30
LATE = """\
case "$*" in
    *"SENTINEL FAILOVER"*)
        setsid sh -c 'sleep 2.6; exec "$@"' late {cli} "$@" >/dev/null 2>&1 &
        exec sleep 5 ;;
    *-p\\ [0-9]*\\ *) ;;
    *)
        said=$(cat)
        case "$said" in *"min-replicas-to-write 1000000"*)
            echo "$said" >>{cut}
            printf '%s\\n' "$said" | head -n 2 | {cli} "$@"
            exec sleep 5 ;;
        esac
        printf '%s\\n' "$said" | {cli} "$@"
        exit ;;
esac
exec {cli} "$@"
"""
"""A failover begins so late that its fence is renewed more than once; of each renewal, two orders arrive."""


def connect_as_app(nodes: Deployment, name: str) -> Any:
    endpoint = nodes.endpoint(name)
    return redis.Redis(endpoint.host, endpoint.port, username="app", password=PASSWORDS["app"], socket_timeout=1)


def min_replicas(nodes: Deployment) -> list[str]:
    return [nodes.ask(name, "CONFIG", "GET", "min-replicas-to-write")[1] for name in nodes.data]


def test_a_renewal_that_is_cut_off_gives_back_what_was_declared(kept: Deployment, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    kept.replace_cli(kept.master(), tmp_path / "cli", LATE.format(cli=find_servers().cli, cut=cut))
    _, output = kept.run(kept.master(), "handover.sh")
    print(output)
    assert cut.read_text().count("UNPAUSE") > 1, "the second one finds what the first one has left"
    assert min_replicas(kept) == ["1", "1", "1"]


@pytest.mark.parametrize(
    ("setting", "left", "declared"), [("min-replicas-to-write", "1000000", "1"), ("replica-priority", "1", "100")]
)
def test_a_data_node_mends_what_a_killed_handover_left(
    kept: Deployment, setting: str, left: str, declared: str
) -> None:
    for name in kept.data:
        kept.ask(name, "CONFIG", "SET", setting, left)
    assert any(setting in each for each in kept.findings()), kept.findings()
    for name in kept.data:
        await_that(
            lambda name=name: kept.ask(name, "CONFIG", "GET", setting)[1] == declared,  # type: ignore[misc]
            MENDED_S,
            f"{setting} of {name}",
        )
    kept.await_converged()


def test_a_sentinel_mends_what_a_killed_promotion_left(kept: Deployment) -> None:
    name, folder = kept.contract.master_name, kept.folder("sentinel-1")
    (folder / "run" / "borrowed").touch()
    kept.ask("sentinel-1", "SENTINEL", "SET", name, "down-after-milliseconds", 90000)
    assert any("down-after-milliseconds 90000, the others 2000" in each for each in kept.findings()), kept.findings()
    kept.await_converged(MENDED_S)


def test_a_node_that_is_not_in_sync_is_not_given_the_role(kept: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDOVER_PREPARE_S", "2")
    replica, old = kept.replicas()[0], kept.master()
    kept.ask(replica, "CONFIG", "SET", "replica-priority", 0)
    code, output = kept.run(replica, "handover.sh", "to-this-node")
    assert (code, "cannot take over" in output) == (1, True), output
    assert kept.ask(replica, "CONFIG", "GET", "replica-priority")[1] == "0", "it keeps what it had"
    assert kept.master() == old
    kept.ask(replica, "CONFIG", "SET", "replica-priority", 100)


@pytest.mark.parametrize("kind", ["data", "sentinel"])
def test_the_servers_environment_has_no_password(kept: Deployment, tmp_path: Path, kind: str) -> None:
    """As it is given to it: a server that names its process writes over what /proc shows of it."""
    name = kept.replicas()[0] if kind == "data" else "sentinel-0"
    server, given = tmp_path / "server", tmp_path / "given"
    server.write_text(f'#!/bin/sh\nenv >{given}.new\nmv {given}.new {given}\nexec {find_servers().server} "$@"\n')
    server.chmod(0o700)
    kept.properties[name]["files"]["node.env"] += f"SERVER='{server}'\n"
    kept.kill(name)
    kept.start(name)
    await_that(given.exists, 20, "its server")
    assert "PATH=" in given.read_text()
    assert "REDISCLI_AUTH" not in given.read_text()
    assert not any(password in given.read_text() for password in PASSWORDS.values())


def test_a_refused_order_does_not_fail_the_notification(kept: Deployment) -> None:
    """Sentinel runs a script again, for minutes, that ends with anything but 0."""
    folder = kept.folder("sentinel-0")
    new, (other, *_) = kept.endpoint(kept.master()), kept.replicas()
    kept.ask(other, "ACL", "LIST")
    users = kept.folder(other) / "conf" / "users.acl"
    users.write_text(users.read_text().replace("+replicaof ", ""))
    assert kept.run(other, "apply.sh")[0] == 0
    arguments = f"slave x {new.host} {new.port} @ {kept.contract.master_name} 127.0.0.1 1"
    done = subprocess.run(
        [folder / "bin" / "on-event.sh", "+selected-slave", arguments],
        env=os.environ | {"NODE_ENV": str(folder / "conf" / "node.env")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert f"{kept.endpoint(other)} was not told: NOPERM" in done.stderr, done.stderr


def test_a_node_that_is_stopped_in_the_moment_of_its_start_leaves_no_server(kept: Deployment) -> None:
    replica = kept.replicas()[0]
    kept.kill(replica)
    script = kept.folder(replica) / "bin" / "start.sh"
    text = script.read_text()
    assert "server_pid=$!\n" in text
    script.write_text(text.replace("server_pid=$!\n", "server_pid=$!\nkill -TERM $$\n", 1))
    folder = kept.folder(replica)
    subprocess.run([script, folder / "conf" / "node.env"], cwd=folder, capture_output=True, timeout=60, check=False)
    try:
        os.kill(kept.pid(replica), signal.SIGKILL)
        raise AssertionError("its server was left alone")
    except (ProcessLookupError, FileNotFoundError):
        pass
    script.write_text(text)
    kept.start(replica)


def test_a_crash_leaves_nothing_in_the_log_of_what_clients_sent(kept: Deployment) -> None:
    marker, replica = "secret-of-a-client", kept.replicas()[0]
    link = connect_as_app(kept, replica)
    with suppress(RedisError, OSError):
        link.execute_command("EVAL_RO", f"while true do local a = '{marker}' end", 0, marker)
    os.kill(kept.pid(replica), signal.SIGSEGV)
    await_that(lambda: not Path(f"/proc/{kept.pid(replica)}").exists(), 20, "its end")
    assert marker not in kept.log(replica)
    kept.start(replica)
