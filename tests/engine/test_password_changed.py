"""A password changed in the stack's configuration: refused before anything is touched, and taken over by a rotation."""

from __future__ import annotations

import subprocess

import pytest

from client.connect import connect
from client.ledger import Ledger
from infra.contract import OperatorContract
from infra.settings import USERS
from tests.engine.stack import ROOT, Stack, await_noted, findings_of

pytestmark = pytest.mark.engine


def change(stack: Stack, *users: str) -> None:
    for user in users:
        subprocess.run(
            ["make", "-s", "pulumi", f"STACK={stack.name}", f"ARGS=config set --secret {user}Password"],
            cwd=ROOT,
            env=stack.environment,
            input=new_password(user),
            text=True,
            check=True,
            capture_output=True,
        )


def new_password(user: str) -> str:
    return f"Zx8-{user}-changed-by-hand-4fQ2"


def in_use(contract: OperatorContract) -> dict[str, str]:
    passwords = {user: secret.get_secret_value() for user, secret in contract.users.items()}
    return passwords | {"app": contract.password.get_secret_value()}


def test_changed_passwords_are_refused_before_anything_is_touched(stack: Stack) -> None:
    before, pids = stack.contract(), stack.pids()
    files = {path: path.read_bytes() for path in stack.nodes.glob("*/conf/*")}
    change(stack, *USERS)
    refused = stack.make("up", fails=True)
    assert "make rotate STACK=dev" in refused
    assert all(f"{user}Password" in refused for user in USERS)
    assert not any(new_password(user) in refused for user in USERS)
    assert "Traceback" not in refused
    assert {path: path.read_bytes() for path in stack.nodes.glob("*/conf/*")} == files
    assert stack.pids() == pids
    assert in_use(stack.contract()) == in_use(before)
    assert "as declared" in stack.make("status")


def test_a_rotation_takes_changed_passwords_over(stack: Stack) -> None:
    before = stack.contract()
    change(stack, *USERS)
    with Ledger(before) as ledger:
        ledger.wait_for_acks(50)
        stack.make("rotate")
        ledger.wait_for_acks(50)
    assert ledger.verify().lost == ()
    after = stack.contract()
    assert in_use(after) == {user: new_password(user) for user in in_use(before)}
    with connect(after) as client:
        client.set("k", "v")
    assert findings_of(after) == ()
    stack.kill("data-1", "sentinel-1")
    stack.make("up")
    stack.make("rotate-finish")
    assert findings_of(stack.contract()) == ()
    await_noted(stack)
