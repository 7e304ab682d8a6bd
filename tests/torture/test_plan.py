"""What a seed plans: the same each time, sensible at every step, and never more than the data can bear."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from tests.torture.disk import damage
from tests.torture.plan import DAMAGES, DATA, NODES, SENTINELS, Round, plan_round, rounds

MANY = [planned for seed in range(40) for planned in islice(rounds(seed), 25)]


def test_a_seed_gives_the_same_rounds_again_and_another_seed_others() -> None:
    assert list(islice(rounds(7), 20)) == list(islice(rounds(7), 20))
    assert list(islice(rounds(7), 20)) != list(islice(rounds(8), 20))
    assert plan_round(7, 3) == list(islice(rounds(7), 3))[2]  # one alone, to look at it again


def _replayed(planned: Round) -> dict[str, str]:
    """What each node is at the end; every step must make sense when it comes."""
    state = dict.fromkeys(NODES, "up")
    for step in (*planned.steps, *planned.last):
        for node in step.nodes:
            match step.action, state[node]:
                case "kill" | "kill-server", "up" | "frozen" | "orphaned":
                    state[node] = "down"
                case "kill-supervisor", "up" | "frozen" | "orphaned":
                    state[node] = "orphaned"
                case "stop", "up":
                    state[node] = "down"
                case "freeze", "up" | "orphaned":
                    state[node] = "frozen"
                case "thaw", "frozen":
                    state[node] = "up"
                case "start", "down" | "up" | "orphaned":
                    state[node] = "up"
                case "damage", "down":
                    pass
                case action, was:
                    raise AssertionError(f"{action} of a node that is {was}")
    return state


def test_every_step_makes_sense_and_in_the_end_all_is_repaired() -> None:
    for planned in MANY:
        assert set(_replayed(planned).values()) == {"up"}, planned


def test_at_most_one_data_set_is_damaged_and_of_a_node_that_the_first_outage_ended() -> None:
    for planned in MANY:
        damages = [step for step in planned.steps if step.action == "damage"]
        assert len(damages) <= 1
        if damages:
            (node,) = damages[0].nodes
            before = planned.steps[: planned.steps.index(damages[0])]
            endings = [step for step in before if step.action not in ("pause", "hand-over")]
            assert node in endings[0].nodes
            assert not any(step.action in ("start", "thaw") for step in before)


def test_who_stays_away_leaves_a_majority_of_either_kind_and_every_whole_data_set() -> None:
    for planned in MANY:
        assert len(set(planned.away) & set(DATA)) <= 1
        assert len(set(planned.away) & set(SENTINELS)) <= 1
        assert not (planned.away and planned.damage)
        assert {node for step in planned.last for node in step.nodes} == set(planned.away)


def test_chance_leaves_nothing_out() -> None:
    actions = {step.action for planned in MANY for step in planned.steps}
    assert actions == {
        *("kill", "kill-server", "kill-supervisor", "freeze", "thaw", "stop", "hand-over", "damage", "start", "pause")
    }
    assert {step.damage for planned in MANY for step in planned.steps if step.damage} == set(DAMAGES)
    assert {planned.damage.rpartition(" ")[2] for planned in MANY if planned.damage} == set(DATA)
    assert any("master" in planned.away for planned in MANY)
    assert max(step.seconds for planned in MANY for step in planned.steps) > 20


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder as a server leaves it, and one of earlier days beside it."""
    for name, base, incr in (("data", 7, 9), ("older", 2, 1)):
        aof = tmp_path / name / "appendonlydir"
        aof.mkdir(parents=True)
        (aof / "appendonly.aof.2.base.rdb").write_bytes(b"b" * base)
        (aof / "appendonly.aof.2.incr.aof").write_bytes(b"i" * incr)
        (aof / "appendonly.aof.manifest").write_text("both")
        (tmp_path / name / "dump.rdb").write_text("of a sync")
    return tmp_path / "data"


def _sizes(data: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in data.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("incr-cut", {"appendonly.aof.2.incr.aof": 4}),
        ("incr-emptied", {"appendonly.aof.2.incr.aof": 0}),
        ("base-cut", {"appendonly.aof.2.base.rdb": 3}),
        ("base-gone", {"appendonly.aof.2.base.rdb": None}),
        ("zeros", {"appendonly.aof.2.incr.aof": 9 + 4096}),
        ("manifest-gone", {"appendonly.aof.manifest": None}),
        (
            "aof-gone",
            dict.fromkeys(("appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof", "appendonly.aof.manifest")),
        ),
        ("older", {"appendonly.aof.2.base.rdb": 2, "appendonly.aof.2.incr.aof": 1}),
    ],
)
def test_a_damage_does_what_it_says_and_nothing_else(data: Path, kind: str, changed: dict[str, int | None]) -> None:
    before = _sizes(data)
    damage(data, kind, 0.5, data.parent / "older")
    expected = before | changed
    assert _sizes(data) == {name: size for name, size in expected.items() if size is not None}


def test_a_folder_that_is_emptied_is_gone_and_every_damage_bears_files_that_are_missing(data: Path) -> None:
    damage(data, "folder-emptied", 0, data)
    assert not data.exists()
    data.mkdir()
    for kind in set(DAMAGES) - {"folder-emptied"}:
        assert "nothing" in damage(data, kind, 0.5, data / "none") or kind in ("aof-gone", "older")
