"""forget.sh: a Sentinel forgets who is gone and declared no longer, and nobody else, and only when it is safe."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.contract import Endpoint
from tests.deployment import Deployment, await_that, deployed

pytestmark = pytest.mark.deployment


@pytest.fixture
def larger(tmp_path: Path, binaries: None) -> Iterator[Deployment]:
    """Four data nodes and five Sentinels."""
    yield from deployed(tmp_path, replicas="3", sentinels="5")


def no_longer_declare(deployment: Deployment, *names: str) -> None:
    """What `pulumi up` does to the others before it deletes these."""
    for folder in deployment.home.glob("*-*"):
        if folder.name not in names:
            env = folder / "conf" / "node.env"
            text = env.read_text()
            for name in names:
                text = text.replace(str(deployment.endpoint(name)), "")
            env.write_text(text)


def forget(deployment: Deployment, sentinel: str, timeout_s: int = 30) -> subprocess.CompletedProcess[str]:
    folder = deployment.folder(sentinel)
    command = [folder / "bin" / "forget.sh", folder / "conf" / "node.env"]
    limit = {"FORGET_TIMEOUT_S": str(timeout_s)}
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | limit, check=False)


def known_to(deployment: Deployment, sentinel: str) -> set[Endpoint]:
    view = next(each for each in deployment.observe().sentinels if each.name == sentinel)
    return {*(view.replicas or {}), *(view.peers or {})}


def resets(deployment: Deployment, sentinel: str) -> int:
    return deployment.log(sentinel).count("+reset-master")


def test_it_forgets_a_replica_and_a_peer_that_are_gone_and_knows_all_others_when_it_ends(larger: Deployment) -> None:
    leaving = ("data-3", "sentinel-4")
    no_longer_declare(larger, *leaving)
    assert forget(larger, "sentinel-0").returncode == 0
    assert resets(larger, "sentinel-0") == 0, "they still run"
    before = {name: known_to(larger, name) for name in larger.sentinels}
    for name in leaving:
        larger.stop_planned(name)
    for sentinel in ("sentinel-0", "sentinel-1"):
        done = forget(larger, sentinel)
        assert done.returncode == 0, done.stderr
        assert known_to(larger, sentinel) == before[sentinel] - {larger.endpoint(name) for name in leaving}
    assert forget(larger, "sentinel-0").returncode == 0
    assert resets(larger, "sentinel-0") == 1
    assert resets(larger, "sentinel-2") == 0


def test_a_master_that_goes_is_asked_to_the_end_of_an_up_and_not_after_it(larger: Deployment) -> None:
    """However often a node starts, or is told its files, before that."""
    code, output = larger.run("data-3", "handover.sh", "to-this-node")
    assert code == 0, output
    no_longer_declare(larger, "data-3")
    for _ in range(2):
        assert larger.run("data-0", "apply.sh")[0] == 0
    code, output = larger.run("data-0", "handover.sh", "from-undeclared")
    assert code == 0, output
    assert larger.master() != "data-3"
    assert larger.run("data-0", "forget.sh")[0] == 0
    assert larger.run("data-3", "handover.sh", "to-this-node")[0] == 0
    code, output = larger.run("data-0", "handover.sh", "from-undeclared")
    assert (code, "was never declared" in output) == (1, True), output


def test_it_forgets_nobody_while_a_declared_node_is_down(larger: Deployment) -> None:
    no_longer_declare(larger, "data-3")
    larger.stop_planned("data-3")
    replica = next(name for name in ("data-1", "data-2") if name != larger.master())
    larger.kill(replica)
    await_that(lambda: "s_down" in str(larger.ask("sentinel-0", "SENTINEL", "REPLICAS", "redis-test")), 20, "s_down")
    done = forget(larger, "sentinel-0", timeout_s=2)
    assert done.returncode == 1
    assert f"replica {larger.endpoint(replica)} is not known as well" in done.stderr
    assert resets(larger, "sentinel-0") == 0


def test_two_at_once_on_one_sentinel_wait_for_each_other_and_a_dead_one_holds_up_nobody(larger: Deployment) -> None:
    no_longer_declare(larger, "data-3")
    larger.stop_planned("data-3")
    lock = larger.folder("sentinel-0") / "run" / "forget.lock"
    lock.symlink_to(str(os.getpid()))
    done = forget(larger, "sentinel-0", timeout_s=1)
    assert (done.returncode, resets(larger, "sentinel-0")) == (1, 0)
    assert f"process {os.getpid()} is at it" in done.stderr
    lock.unlink()
    ended = subprocess.Popen(["true"])
    ended.wait()
    lock.symlink_to(str(ended.pid))
    assert forget(larger, "sentinel-0").returncode == 0
    assert resets(larger, "sentinel-0") == 1
    assert not lock.is_symlink()
