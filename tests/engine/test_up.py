"""Laws 3 and 4 with the real engine: `up` again changes nothing, and heals what died."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from client.connect import connect
from client.ledger import Ledger
from tests.deployment import await_that
from tests.engine.resizing import grow_and_shrink
from tests.engine.stack import Stack, findings_of, master_of
from tests.nodes import await_on_disk

pytestmark = pytest.mark.engine


def test_up_ends_converged(stack: Stack) -> None:
    assert findings_of(stack.contract()) == ()
    assert "as declared" in stack.make("status")


def test_a_second_up_does_nothing_and_says_nothing_to_the_sentinels(stack: Stack) -> None:
    pids, logs = stack.pids(), {name: stack.log(name) for name in stack.pids() if name.startswith("sentinel")}
    stack.up_unchanged()
    assert stack.pids() == pids
    for name, before in logs.items():
        said = stack.log(name).removeprefix(before)
        assert not any(event in said for event in ("+monitor", "-monitor", "+reset-master", "+set"))


def test_after_a_failover_up_and_refresh_see_no_change_and_move_no_role(stack: Stack) -> None:
    contract, pids = stack.contract(), stack.pids()
    old = master_of(contract)
    output = stack.make("failover")
    new = master_of(contract)
    assert old != new
    assert f"old master  {old}" in output
    assert f"new master  {new}" in output
    stack.up_unchanged()
    stack.make("pulumi", "ARGS=refresh --preview-only --expect-no-changes --non-interactive")
    assert master_of(contract) == new
    assert stack.pids() == pids


def test_a_killed_master_is_replaced_and_up_brings_it_back_as_a_replica(stack: Stack) -> None:
    contract = stack.contract()
    old = master_of(contract)
    with Ledger(contract, wait_replicas=1) as ledger:
        ledger.wait_for_acks(200)
        stack.kill(old)
        ledger.wait_for_acks(200)
        healed = stack.make("up")
    print(f"kill -9, then make up: {ledger.verify()}")
    assert ledger.verify().lost_confirmed == ()
    assert stack.operations(healed)["updated"] in (1, 2)  # the node, and the convergence if it was found wanting
    assert findings_of(contract) == ()
    assert master_of(contract) != old
    stack.up_unchanged()


def test_all_six_killed_then_up_gives_one_master_and_the_last_key(stack: Stack) -> None:
    contract = stack.contract()
    with connect(contract) as client:
        client.set("last", "acknowledged")
    await_on_disk(contract)
    stack.kill(*stack.pids())
    stack.make("up")
    assert findings_of(contract) == ()
    with connect(contract) as client:
        assert client.get("last") == "acknowledged"


def test_the_contract_can_be_sourced_by_a_shell(stack: Stack, tmp_path: Path) -> None:
    target = tmp_path / "redis.env"
    target.write_text(stack.make("env"))
    script = f"set -a; . {target}; exec env"
    seen = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env={}, check=True).stdout
    assert f"REDIS_SENTINEL_MASTER_NAME={stack.contract().master_name}\n" in seen
    assert "REDIS_USER_OPERATOR_PASSWORD" not in seen


def test_a_changed_setting_is_rolled_out_one_node_at_a_time_without_losing_a_write(stack: Stack) -> None:
    contract = stack.contract()
    stack.configure(stack.settings | {"maxmemory": "80mb"})
    with Ledger(contract) as ledger:
        ledger.wait_for_acks(200)
        output = stack.make("up")
        ledger.wait_for_acks(200)
    report = ledger.verify()
    print(f"changed maxmemory: {report}")
    assert report.lost == ()
    assert stack.operations(output)["updated"] >= 3
    assert findings_of(contract) == ()


@pytest.mark.timeout(600)
def test_it_grows_and_shrinks_without_ghosts_even_when_the_master_goes(stack: Stack) -> None:
    grow_and_shrink(stack, replicas=3)


def test_standalone_is_one_node_without_sentinels(new_stack: Stack) -> None:
    new_stack.configure(new_stack.settings | {"mode": "standalone"})
    new_stack.make("up")
    contract = new_stack.contract()
    assert len(contract.nodes) == 1
    with connect(contract.application()) as client:
        assert client.mode == "standalone"
        client.set("k", "v")
        assert client.get("k") == "v"
    assert set(new_stack.pids()) == {"data-0"}
    new_stack.kill("data-0")
    await_that(lambda: not new_stack.pids(), 10, "the end of the node")
    new_stack.make("up")
    with connect(contract.application()) as client:
        assert client.get("k") == "v"
