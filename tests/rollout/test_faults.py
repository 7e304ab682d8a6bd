"""The fault subset: on real processes, and what its verdict rests on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollout import faults
from rollout.faults import Faults, Shown
from rollout.project_stacks import _shown
from smoke_tests.verdict import Verdict
from tests.deployment import Deployment, deployed


class Ours:
    """The tests' own nodes as victims. `deaf`: what is done to them has no effect."""

    def __init__(self, nodes: Deployment, *, deaf: bool = False) -> None:
        self._nodes = nodes
        self._deaf = deaf

    def kill(self, node: str) -> None:
        if not self._deaf:
            self._nodes.kill(node)

    def freeze(self, node: str) -> None:
        if not self._deaf:
            self._nodes.stop(node)

    def revive(self, node: str) -> None:
        self._nodes.cont(node)
        self._nodes.start(node)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    yield from deployed(tmp_path_factory.mktemp("faults"))


@pytest.mark.deployment
def test_every_fault_is_borne_and_healed(nodes: Deployment) -> None:
    told: list[Shown] = []
    shown = faults.show(nodes.contract, Ours(nodes), "process", told.append)
    print("\n".join(f"{each.fault}: {each.reason}" for each in told))
    assert [each.fault for each in shown.shown] == ["master-killed", "master-frozen", "sentinel-killed"]
    assert (shown.verdict, shown.figures["faults.failed, faults"]) == (Verdict.PASS, 0.0)
    # The first two made another node the master: a gap below what Sentinels need would mean that nothing happened.
    assert all((each.gap_s or 0) > 1.5 and each.master not in ("", each.node) for each in shown.shown[:2])
    assert nodes.findings() == ()


@pytest.mark.deployment
def test_a_fault_that_does_not_happen_is_no_pass(nodes: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "MASTER_S", 1.0)
    shown = faults.show(nodes.contract, Ours(nodes, deaf=True), "process", lambda _shown: None)
    assert [each.verdict for each in shown.shown] == [Verdict.FAIL, Verdict.FAIL, Verdict.PASS]
    assert "no other node became the master" in shown.shown[0].reason


@pytest.mark.deployment
def test_nodes_are_revived_when_it_is_broken_off(nodes: Deployment) -> None:
    def stop(_shown: Shown) -> None:
        nodes.kill("sentinel-0")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        faults.show(nodes.contract, Ours(nodes), "process", stop)
    assert nodes.findings() == ()


def shown(verdict: Verdict) -> Shown:
    return Shown(
        fault="f", node="data-0", when=datetime.now(UTC), allowed_gap_s=30, gap_s=3, verdict=verdict, reason="why"
    )


def files(*verdicts: Verdict) -> dict[str, bytes]:
    every = tuple(map(shown, verdicts))
    made = Faults(stack="s", target="process", shown=every)
    return {"faults.txt": b"said", "faults.json": made.model_dump_json().encode()}


def test_the_step_passes_only_when_each_fault_did() -> None:
    passed = _shown(files(Verdict.PASS), 0, "c")
    assert (passed.verdict, passed.figures["faults.failed, faults"]) == (Verdict.PASS, 0.0)
    failed = _shown(files(Verdict.PASS, Verdict.FAIL), 1, "c")
    assert (failed.verdict, failed.figures["faults.failed, faults"]) == (Verdict.FAIL, 1.0)
    assert _shown(files(), 1, "c").verdict is not Verdict.PASS
    assert _shown(files(Verdict.PASS), 1, "c").verdict is Verdict.ERROR
    assert _shown({"faults.txt": b"error: no stack"}, 2, "c").verdict is Verdict.INCONCLUSIVE


def test_a_missing_file_keeps_what_was_said(tmp_path: Path) -> None:
    assert "no stack" in _shown({"faults.txt": b"error: no stack"}, 2, "c").reason
