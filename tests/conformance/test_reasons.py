"""A node that cannot do its work for a reason that only its log knows: the reason is in the error of `up`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from client.links import open_as
from infra.targets import convergence, process_control
from infra.targets.process_provider import ConvergenceProvider
from tests.deployment import Deployment
from tests.waiting import await_that

pytestmark = pytest.mark.deployment

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there after seconds will not be there after 90."""
    monkeypatch.setattr(convergence, "TIMEOUT_S", 4.0)
    monkeypatch.setattr(process_control, "START_TIMEOUT_S", 4.0)


def error_of_up(nodes: Deployment) -> str:
    """What the last step of an `up` says."""
    folders = [str(nodes.folder(name)) for name in nodes.names]
    with pytest.raises((TimeoutError, process_control.NodeError)) as caught:
        ConvergenceProvider().create({"contract": nodes.contract.to_env(), "folders": folders, "digest": ""})
    print(caught.value)
    return str(caught.value)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own, of this size, at `folder`."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("needs to mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(nodes: Deployment, mib: int) -> None:
    user = nodes.contract.username
    contract = nodes.contract.model_copy(update={"users": nodes.contract.users | {user: nodes.contract.password}})
    with closing(open_as(contract, user, nodes.endpoint(nodes.master()), 5.0)) as link:
        for number in range(mib):
            link.set(f"filler:{number}", os.urandom(MIB // 2).hex())


def test_a_replica_whose_disk_is_full_during_its_sync(own: Deployment) -> None:
    fill(own, 12)
    name = own.replicas()[0]
    own.stop_planned(name)
    own.wipe(name)
    with small_disk(own.folder(name) / "data", "3m"):
        own.start(name)
        said = error_of_up(own)
        own.kill(name)
    assert f"the link of {name} to the master is down" in said
    assert f"{name}: its disk is full: Write error or short write" in said
    assert "fix: free space" in said


def test_a_replica_whose_disk_fills_up_while_it_serves(own: Deployment) -> None:
    name = own.replicas()[0]
    own.stop_planned(name)
    with small_disk(own.folder(name) / "data", "6m"):
        own.start(name)
        own.await_converged()
        fill(own, 12)
        await_that(lambda: name in "".join(own.findings()), 10, "a finding")
        said = error_of_up(own)
        own.kill(name)
    # By default it ends then, as a replica of Redis does that cannot write what its master has sent.
    assert f"{name}: its disk is full: Short write while writing to the AOF file" in said
    assert "fix: free space" in said


def test_a_replica_with_a_password_that_its_master_refuses(own: Deployment) -> None:
    name = own.replicas()[0]
    own.stop_planned(name)
    secret = own.properties[name]["secret_files"]
    wrong = {"auth.conf": 'masteruser replica\nmasterauth "not-the-password-of-anybody"\n'}
    own.properties[name]["secret_files"] = secret | wrong
    own.start(name)
    await_that(lambda: "WRONGPASS" in own.log(name), 10, "the refusal")
    said = error_of_up(own)
    assert f"{name}: a peer refuses its password: " in said
    assert "fix: `make rotate`" in said


def test_a_replica_whose_port_is_taken(own: Deployment) -> None:
    name = own.replicas()[0]
    own.stop_planned(name)
    at = own.endpoint(name)
    with closing(socket.create_server((at.host, at.port))):
        own.start(name)
        await_that(lambda: not process_control.runs(own.folder(name)), 20, "its end")
        said = error_of_up(own)
    assert f"{name}: another process listens at its address: " in said
    assert "fix: end that one" in said


def test_a_replica_that_may_not_write_its_files(own: Deployment) -> None:
    name = own.replicas()[0]
    own.stop_planned(name)
    files = own.folder(name) / "data" / "appendonlydir"
    shutil.rmtree(files, ignore_errors=True)
    with small_disk(own.folder(name) / "data", "1m"):
        subprocess.run(["mount", "-o", "remount,ro", own.folder(name) / "data"], check=True)
        own.start(name)
        await_that(lambda: not process_control.runs(own.folder(name)), 20, "its end")
        said = error_of_up(own)
    assert f"{name}: it may not read or write its files: " in said
