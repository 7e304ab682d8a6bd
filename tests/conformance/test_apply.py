"""apply.sh: a step is done when the node has said so. Refused, absent, slow and loading are four different answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.exceptions import BusyLoadingError

from client.connect import connect
from infra.targets.servers import find_servers
from tests.deployment import Deployment
from tests.waiting import await_that

pytestmark = pytest.mark.deployment

SLOW = """\
if [ -t 0 ]; then exec {cli} "$@"; fi
case "$*" in *" INFO "* | *" PING"*) exec {cli} "$@" ;; esac
said=$(cat)
case "$said" in *"{orders}"*)
    echo slow >>{times}
    if [ "$(wc -l <{times})" -le {slow} ]; then exec sleep 5; fi ;;
esac
printf '%s\\n' "$said" | {cli} "$@"
"""
"""An answer that comes too late, the first `slow` times that these orders are given."""


def change(own: Deployment, name: str, file: str, old: str, new: str) -> None:
    path = own.folder(name) / "conf" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def slow_to(own: Deployment, name: str, home: Path, orders: str, times: int) -> None:
    text = SLOW.format(cli=find_servers().cli, times=home / "times", orders=orders, slow=times)
    own.replace_cli(name, home / "cli", text)


def loaded_users(own: Deployment, name: str) -> bool:
    run, conf = own.folder(name) / "run", own.folder(name) / "conf"
    return (run / "users.acl.loaded").read_text() == (conf / "users.acl").read_text()


def rights(own: Deployment, name: str) -> str:
    return str(next(line for line in own.ask(name, "ACL", "LIST") if line.startswith("user monitor ")))


@pytest.mark.parametrize("name", ["data-1", "sentinel-1"])
def test_users_are_loaded_although_the_first_answer_comes_too_late(kept: Deployment, tmp_path: Path, name: str) -> None:
    change(kept, name, "users.acl", "user monitor on", "user monitor off")
    slow_to(kept, name, tmp_path, "ACL LOAD", times=1)
    code, output = kept.run(name, "apply.sh")
    assert code == 0, output
    assert " off " in rights(kept, name)
    assert loaded_users(kept, name)


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "orders"),
    [
        ("data-1", "users.acl", "user monitor on", "user monitor off", "ACL LOAD"),
        ("data-1", "redis.conf", "tcp-keepalive 60", "tcp-keepalive 61", "CONFIG SET"),
        ("sentinel-1", "node.env", "failover-timeout 10000", "failover-timeout 11000", "SENTINEL SET"),
    ],
)
def test_what_the_node_has_not_confirmed_is_not_applied(
    kept: Deployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    file: str,
    old: str,
    new: str,
    orders: str,
) -> None:
    monkeypatch.setenv("APPLY_TIMEOUT_S", "3")
    change(kept, name, file, old, new)
    slow_to(kept, name, tmp_path, orders, times=99)
    code, output = kept.run(name, "apply.sh")
    assert code == 1, output
    assert "answered within 1 s" in output and "applied" not in output
    assert file != "users.acl" or not loaded_users(kept, name), "it is tried again"


def test_one_that_is_refused_says_what(kept: Deployment) -> None:
    change(kept, "data-1", "redis.conf", "tcp-keepalive 60", "tcp-keepalive many")
    code, output = kept.run("data-1", "apply.sh")
    assert code == 1
    assert "refused: settings: ERR" in output


def test_a_node_that_hangs_is_not_taken_for_one_that_is_down(kept: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLY_TIMEOUT_S", "2")
    replica = kept.replicas()[0]
    kept.stop(replica)
    assert kept.run(replica, "apply.sh")[0] == 1
    kept.kill(replica)
    code, output = kept.run(replica, "apply.sh")
    assert (code, "reads its files when it starts" in output) == (0, True), output


def test_a_login_that_is_refused_is_said(kept: Deployment) -> None:
    password = kept.folder("data-1") / "conf" / "operator.password"
    password.write_text("another-password-than-it-knows\n")
    code, output = kept.run("data-1", "apply.sh")
    assert code == 1
    assert "another password of user operator" in output


def test_one_that_loads_its_data_is_waited_for(kept: Deployment) -> None:
    with connect(kept.contract) as client:
        for key in range(1500):
            client.set(f"filled:{key}", "x" * 100)
    kept.await_converged()
    replica = kept.replicas()[0]
    kept.kill(replica)
    # Slow, and it says so meanwhile.
    kept.properties[replica]["files"]["redis.conf"] += (
        "\nkey-load-delay 2500\nloading-process-events-interval-bytes 1024\n"
    )
    kept.start(replica)

    def loads() -> bool:
        try:
            return bool(kept.ask(replica, "PING") and False)
        except BusyLoadingError:
            return True

    await_that(loads, 30, "a server that loads")
    # It has read its files: what changes now, it has to be told.
    change(kept, replica, "redis.conf", "tcp-keepalive 60", "tcp-keepalive 61")
    code, output = kept.run(replica, "apply.sh")
    assert (code, "applied" in output) == (0, True), output
    # It loads once more after its sync.
    await_that(lambda: kept.ask(replica, "CONFIG", "GET", "tcp-keepalive")[1], 30, "an answer")
    assert kept.ask(replica, "CONFIG", "GET", "tcp-keepalive")[1] == "61"
