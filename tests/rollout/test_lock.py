"""The lock goes only from a holder that is proved gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout import lock
from rollout.errors import BUSY, RolloutError
from rollout.lock import Holder, held, is_proved_gone, myself
from rollout.store import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


@pytest.fixture
def ended_pid() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    yield process.pid


def put(store: FolderStore, **changes: Any) -> Holder:
    holder = myself("rollout advance").model_copy(update=changes)
    store.create(lock.NAME, holder.model_dump_json().encode())
    return holder


def test_it_is_held_and_given_back(store: FolderStore) -> None:
    with held(store, "rollout advance") as broken:
        assert broken is None
        who = rf"`rollout advance`, pid {os.getpid()} on .* since 20"
        with pytest.raises(RolloutError, match=who) as caught, held(store, "rollout advance"):
            pytest.fail("taken twice")
        assert caught.value.exit_code == BUSY
    assert lock.read(store) is None


def test_a_dead_holder_is_proved_gone(store: FolderStore, ended_pid: int) -> None:
    holder = put(store, pid=ended_pid)
    with held(store, "x") as broken:
        assert broken == holder
    assert lock.read(store) is None


def test_a_reused_number_is_a_dead_holder(store: FolderStore) -> None:
    put(store, start="1")
    with held(store, "x") as broken:
        assert broken


def test_a_holder_before_the_last_boot_of_this_machine_is_gone_but_not_for_a_shared_place() -> None:
    before = myself("x").model_copy(update={"boot_id": "another", "machine": "m"})
    me = myself("x").model_copy(update={"machine": "m"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lock, "_read", lambda _path: me.machine)
        assert is_proved_gone(before, shared=False)
        assert not is_proved_gone(before, shared=True)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"boot_id": "another", "host": "another-host"},
        {"boot_id": "another", "machine": "another"},
        {"boot_id": "another", "machine": ""},
        {"namespace": "pid:[1]"},
        {"boot_id": ""},
    ],
)
def test_one_who_may_live_keeps_it(store: FolderStore, changes: dict[str, Any], ended_pid: int) -> None:
    holder = put(store, **({"pid": ended_pid} if changes else {}), **changes)
    with pytest.raises(RolloutError, match=f"rollout unlock --holder {holder.id}"), held(store, "x"):
        pytest.fail("broken")
    assert lock.read(store) == holder


def test_unlock_by_hand(store: FolderStore) -> None:
    holder = put(store, boot_id="another", host="elsewhere")
    with pytest.raises(RolloutError, match="not by 'wrong'"):
        lock.unlock(store, "wrong")
    assert lock.unlock(store, holder.id) == holder
    with pytest.raises(RolloutError, match="nobody holds"):
        lock.unlock(store, holder.id)
    alive = put(store)
    with pytest.raises(RolloutError, match="its holder lives"):
        lock.unlock(store, alive.id)
    assert lock.read(store) == alive


def test_giving_back_leaves_anothers_lock_alone(store: FolderStore) -> None:
    with held(store, "x"):
        store.remove(lock.NAME)
        other = put(store, host="elsewhere", boot_id="another")
    assert lock.read(store) == other
