"""The rehearsal's stage: its plans are plans, and the crowd's sides are reckoned as the gateway does."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import pytest

from infra.contract import OperatorContract
from rehearsal.application import beside
from rehearsal.clients import together
from rehearsal.crowd_pods import RANGE, networks_of, nodes_of, pod
from rehearsal.place import Place, RehearsalError, made
from rehearsal.stage import Stage, bucket, docker, kubernetes, processes
from rehearsal.story import _head
from rehearsal.troubles import EVERY, FEW, Going, Trouble
from rollout import triggers
from rollout.plan import read
from tests.rollout.fakes import steady
from tools.stacks import Stack

IMAGES = dict.fromkeys(("image", "gatewayImage", "firewallImage", "smokeImage"), f"sha256:{'0' * 64}")
IN_A_CLUSTER = kubernetes(IMAGES, "sample", "/kubeconfig", ["10.77.0.1", "10.77.0.11"])


@pytest.mark.parametrize("stage", [processes(), docker(IMAGES), IN_A_CLUSTER], ids=["process", "docker", "kubernetes"])
@pytest.mark.parametrize("trouble_at", ["", "canary", "prod"])
def test_its_plans_are_valid(stage: Stage, trouble_at: str, tmp_path: Path) -> None:
    plan = read(stage.plan(Place(tmp_path), trouble_at))
    shares = [step.percent for _, _, step in plan.steps() if step.kind == "share"]
    assert bool(shares) is stage.shares and plan.rehearses is stage.shares


def test_a_rollback_moves_productions_application_and_its_rehearsal_stagings(tmp_path: Path) -> None:
    stage, place = docker(IMAGES), Place(tmp_path)
    applications = stage.applications(place)
    consumers = {phase: each.consumer for phase, each in applications.items()}
    plan = read(stage.plan(place, consumers=consumers))
    found = {phase: [each.command for each in plan.phases[phase].consumers] for phase in plan.phases}
    assert found["canary"] == []
    for phase in ("staging", "prod"):
        assert [command and place.stack(phase) in command for command in found[phase]] == [True]
    assert processes().applications(place) == {}


def test_an_application_is_removed_also_when_another_could_not_be_made() -> None:
    log: list[str] = []

    class Made:
        consumer: ClassVar[dict[str, Any]] = {}

        def __init__(self, name: str, trouble: str = "") -> None:
            self.name, self.trouble = name, trouble

        def make(self) -> None:
            if self.trouble:
                raise RehearsalError(self.trouble)
            log.append(f"made {self.name}")

        def start(self) -> None: ...

        def remove(self) -> None:
            log.append(f"removed {self.name}")

    with pytest.raises(RehearsalError, match="no cluster"), beside({"a": Made("a"), "b": Made("b", "no cluster")}):
        pass
    assert log == ["made a", "removed a", "removed b"]


def test_every_trigger_has_a_trouble_that_must_fire_it() -> None:
    samples = steady()
    findings = [*triggers.watch(samples), *triggers.compare(samples, samples), triggers.quorum([True])]
    assert {trouble.what for phase in FEW.values() for trouble in phase} < {t.what for t in EVERY["prod"]}
    for phase, wanted in (
        ("canary", [*(each.id for each in findings), triggers.failover([]).id]),
        ("prod", [each.id for each in (*triggers.watch(samples), *triggers.against_before(samples, samples))]),
    ):
        named = [name for trouble in EVERY[phase] for name in trouble.by]
        assert [each for each in wanted if not any(name in each for name in named)] == [], phase


def test_a_short_plan_has_the_failover_only_where_a_trouble_waits_for_it(tmp_path: Path) -> None:
    def canary(*, drill: bool) -> list[str]:
        plan = read(IN_A_CLUSTER.plan(Place(tmp_path), "canary", drill=drill))
        return [str(step.kind) for step in plan.phases["canary"].steps][-3:]

    assert canary(drill=False) == ["smoke", "share", "soak"]
    assert canary(drill=True) == ["soak", "failover", "soak"]


def test_a_trouble_ends_when_it_is_told_to_and_one_that_fails_is_said(tmp_path: Path) -> None:
    contract, stack = OperatorContract.model_construct(), Stack("s", tmp_path, tmp_path / "s.yaml")
    undone: list[str] = []

    def wait(_contract: object, _stack: object, stop: Event) -> None:
        undone.append("in time" if stop.wait(30) else "late")

    def fail(_contract: object, _stack: object, _stop: Event) -> None:
        raise OSError("no way there")

    going = Going(Trouble("waits", (), wait), contract, stack)
    going.stop()
    going.end()
    assert undone == ["in time"]
    with pytest.raises(RehearsalError, match="no way there"):
        Going(Trouble("fails", (), fail), contract, stack).end()


def test_in_a_cluster_the_canary_lets_in_productions_gateway_and_both_the_crowd(tmp_path: Path) -> None:
    place = Place(tmp_path)
    canary, prod = (IN_A_CLUSTER.settings_of(phase, place) for phase in ("canary", "prod"))
    gateway = "app.kubernetes.io/component=gateway"
    assert json.loads(canary["clientPods"]) == [f"redis-{place.stack('prod')}:{gateway}"]
    shop = f"{place.stack('prod')}-shop"
    assert (json.loads(prod["contractNamespaces"]), json.loads(prod["clientPods"])) == ([shop], [f"{shop}:app=sample"])
    for each in (canary, prod):
        assert json.loads(each["clients"]) == ["10.77.0.1/32", "10.77.0.11/32", str(RANGE)]
    assert IN_A_CLUSTER.settings_of("staging", place)["target"] == "docker"


def test_ten_percent_of_neighbouring_addresses_are_on_the_canary() -> None:
    """The figures that docs/gateway.md has from a real HAProxy, for the same addresses."""
    sources = [f"127.1.{number // 200}.{number % 200 + 1}" for number in range(400)]
    shares = {share: 100 * sum(bucket(each) < share for each in sources) / 400 for share in (1, 5, 10, 50, 100)}
    assert shares == {1: 1.25, 5: 5.25, 10: 10.25, 50: 49.5, 100: 100.0}


def node(name: str, address: str, **spec: Any) -> dict[str, Any]:
    addresses = [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]
    return {"metadata": {"name": name}, "spec": spec, "status": {"addresses": addresses}}


def test_the_crowd_is_on_every_node_that_takes_pods_each_with_a_network_of_its_own() -> None:
    tainted = {"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}
    nodes = nodes_of([node("b", "10.0.0.2"), node("a", "10.0.0.1"), node("cp", "10.0.0.9", **tainted)])
    assert nodes == {"b": "10.0.0.2", "a": "10.0.0.1"}
    assert {name: str(each) for name, each in networks_of(nodes).items()} == {
        "a": "198.18.1.0/24",
        "b": "198.18.2.0/24",
    }
    assert pod("a", "ours", "image")["spec"]["nodeName"] == "a"
    with pytest.raises(RehearsalError, match="no node"):
        nodes_of([node("cp", "10.0.0.9", **tainted)])


def test_figures_of_the_crowds_parts_add_up_but_for_the_longest() -> None:
    parts = [{"lost": 1.0, "longest_gap_s": 0.5}, {"lost": 2.0, "longest_gap_s": 3.0}]
    assert together(parts) == {"lost": 3.0, "longest_gap_s": 3.0}


def test_an_impatient_user_is_told_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted once, it removes its stacks; once more, and some are still there."""

    def interrupted(_place: Place) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Place, "remove", interrupted)
    with (
        pytest.raises(RehearsalError, match=f"left behind, its state is in {tmp_path}/rehearsal-.*: interrupted again"),
        made(),
    ):
        raise KeyboardInterrupt


def test_the_head_that_advance_tells_is_the_one_that_is_compared() -> None:
    told = f"journal: entry 42, head {'ab' * 32}"
    assert _head(["done: r1 serves all clients, proven", told]) == "ab" * 32
    assert _head([]) == _head(["done"]) == ""
