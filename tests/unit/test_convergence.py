"""Convergence waits for agreement, bounded, and an error says what it last saw."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from client.crosscheck import NodeView, Observation, findings
from infra.contract import OperatorContract
from infra.targets import cluster, convergence, rollouts
from infra.targets.kubernetes_provider import ConvergenceProvider
from infra.targets.process_control import NodeError
from tests.unit.test_contract import CONTRACT, ENV

ENDPOINT = OperatorContract.from_env(ENV).nodes[0].endpoint
UP = Observation((NodeView("data-0", ENDPOINT, role="master"),), ())
DOWN = Observation((NodeView("data-0", ENDPOINT, error="connection refused"),), ())


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """No real waiting. The deployment answers, but does not agree yet."""
    clock = Clock()
    monkeypatch.setattr(convergence, "time", clock)
    monkeypatch.setattr(convergence, "observe", lambda _contract: UP)
    return clock


def agree_at(clock: Clock, second: float) -> Callable[..., tuple[str, ...]]:
    """A cross-check that finds something until that second."""

    def findings(_contract: object, _seen: object, *, undeclared_too: bool) -> tuple[str, ...]:
        return () if clock.now >= second else (f"at {clock.now:.0f} s data-1 follows nobody",)

    return findings


def all_alive() -> None:
    """What `check_alive` does as long as every node runs."""


def test_converge_returns_as_soon_as_all_agree(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "findings", agree_at(clock, 3))
    convergence.converge(ENV, all_alive)
    assert 3 <= clock.now < 3.2


def test_converge_gives_up_and_says_what_it_last_saw(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "findings", agree_at(clock, 1000))
    with pytest.raises(TimeoutError, match=r"not converged within 90 s:\n- at 90 s data-1 follows nobody") as caught:
        convergence.converge(ENV, all_alive)
    assert 90 <= clock.now < 91
    assert "MaRkEr" not in str(caught.value)


def test_converge_gives_up_at_once_when_a_node_died(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "findings", agree_at(clock, 1000))

    def check_alive() -> None:
        if clock.now >= 2:
            raise NodeError(Path("/nowhere/data-1"), "does not run")

    with pytest.raises(NodeError, match="data-1: does not run"):
        convergence.converge(ENV, check_alive)
    assert 2 <= clock.now < 2.2


@pytest.mark.parametrize(("second", "converged"), [(0, True), (4, True), (6, False)])
def test_a_look_waits_for_the_end_of_a_change_that_is_under_way(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, second: float, converged: bool
) -> None:
    monkeypatch.setattr(convergence, "findings", agree_at(clock, second))
    assert convergence.is_converged(ENV) is converged
    assert clock.now < 5.2


def test_a_look_does_not_wait_for_a_dead_node(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "observe", lambda _contract: DOWN)
    monkeypatch.setattr(convergence, "findings", agree_at(clock, 1))
    assert convergence.is_converged(ENV) is False
    assert clock.now == 0


def said(*replies: str) -> str:
    """What answers.sh prints for these replies."""
    return "".join(f"{reply}\n.\n" for reply in replies)


def flat(**fields: object) -> str:
    return json.dumps([str(word) for name, value in fields.items() for word in (name.replace("_", "-"), value)])


SETTINGS = flat(min_replicas_to_write=1, replica_priority=100)


class Inside:
    """Stands for nodes that are asked inside themselves, all of them well but for what a test changes."""

    def __init__(self) -> None:
        master, replica = CONTRACT.nodes
        self.peer_flags = "sentinel"
        """How sentinel-1 sees sentinel-0."""
        self.silent = ""
        """A node that gives no answer."""
        self.refusal = ""
        """What CKQUORUM says at sentinel-2 instead of OK."""
        attached = f"slave0:ip={replica.endpoint.host},port={replica.endpoint.port},state=online,offset=9,lag=0"
        common = "master_replid:aa\r\nmaster_repl_offset:9"
        follows = f"master_host:{master.endpoint.host}\r\nmaster_port:{master.endpoint.port}\r\nmaster_link_status:up"
        self._data = {
            master.name: f"# Replication\r\nrole:master\r\nconnected_slaves:1\r\n{attached}\r\n{common}\r\n",
            replica.name: f"# Replication\r\nrole:slave\r\nconnected_slaves:0\r\n{follows}\r\n"
            f"master_sync_in_progress:0\r\nslave_repl_offset:9\r\n{common}\r\n",
        }

    def __call__(self, name: str, commands: Sequence[str]) -> tuple[int, str]:
        if name == self.silent:
            return 1, f"{commands[0]}: no answer within 1 s\n"
        disk = "# Persistence\r\naof_last_write_status:ok\r\n"
        return 0, said(self._data[name], disk, SETTINGS) if name in self._data else said(*self._sentinel(name))

    def _sentinel(self, name: str) -> list[str]:
        master, replica = (node.endpoint for node in CONTRACT.nodes)
        peers = [
            flat(ip=each.host, port=each.port, flags=self.peer_flags if (name, i) == ("sentinel-1", 0) else "sentinel")
            for i, each in enumerate(CONTRACT.sentinels)
            if name != f"sentinel-{i}"
        ]
        known = flat(ip=replica.host, port=replica.port, flags="slave", master_link_status="ok", slave_priority=100)
        return [
            json.dumps([master.host, str(master.port)]),
            flat(flags="master", quorum=2, config_epoch=3),
            f"[{known}]",
            f"[{','.join(peers)}]",
            f'error:"{self.refusal}"' if self.refusal and name == "sentinel-2" else '"OK 3 usable Sentinels."',
        ]


def test_nodes_that_are_asked_inside_agree_by_the_same_crosscheck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "observe", None)  # nobody is asked over the network
    steps: list[str] = []
    convergence.converge(ENV, all_alive, lambda: steps.append("finish"), Inside())
    assert steps == ["finish"]
    assert convergence.is_converged(ENV, Inside())


def test_a_sentinel_that_has_lost_sight_of_a_peer_is_waited_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not, on Kubernetes: `up` ended while one Sentinel saw another as disconnected."""
    inside = Inside()
    inside.peer_flags = "sentinel,disconnected"

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now >= 2:
            inside.peer_flags = "sentinel"

    monkeypatch.setattr(clock, "sleep", sleep)
    convergence.converge(ENV, all_alive, lambda: None, inside)
    assert 2 <= clock.now < 2.2


def test_what_the_last_steps_disturb_is_waited_for_too(clock: Clock) -> None:
    inside = Inside()

    def finish() -> None:
        inside.peer_flags = "sentinel,disconnected"

    with pytest.raises(convergence.NotConverged, match=r"180 s:\n- sentinel-1 sees 127.0.0.1:27380 as sentinel,disc"):
        convergence.converge(ENV, all_alive, finish, inside)
    assert clock.now >= 90


def test_a_node_that_gives_no_answer_inside_and_a_refusal_are_findings(clock: Clock) -> None:
    inside = Inside()
    inside.silent, inside.refusal = "data-1", "NOQUORUM 1 usable Sentinels."
    said_ = "\n".join(findings(CONTRACT, convergence._look(CONTRACT, inside)))
    assert "data-1 (127.0.0.1:7381) does not answer: ConnectionError: INFO replication: no answer within 1 s" in said_
    assert "sentinel-2 fails CKQUORUM: NOQUORUM 1 usable Sentinels." in said_
    assert convergence.is_converged(ENV, inside) is False
    assert clock.now == 0, "a look does not wait for a dead node"


def test_an_answer_that_breaks_off_is_none(clock: Clock) -> None:
    def half(name: str, commands: Sequence[str]) -> tuple[int, str]:
        code, output = Inside()(name, commands)
        return code, output.rpartition(".\n")[0].rpartition(".\n")[0] if name == "sentinel-0" else output

    assert convergence.is_converged(ENV, half) is False
    assert clock.now == 0


def test_the_variables_for_nodes_asked_inside_name_no_file_of_this_machine() -> None:
    from_a_clone = CONTRACT.model_copy(update={"tls": True, "tls_ca_file": Path("/home/me/.state/ca.crt")})
    assert convergence.asked_inside(from_a_clone) == convergence.asked_inside(CONTRACT) == ENV


def test_what_a_nodes_log_knows_is_in_the_error(clock: Clock) -> None:
    inside = Inside()
    inside.peer_flags = "sentinel,disconnected"
    logs = {"sentinel-1": "1:X 29 Nov 2026 21:18:33.958 # Write failed: No space left on device"}
    with pytest.raises(TimeoutError) as caught:
        convergence.converge(ENV, all_alive, lambda: None, inside, lambda name: logs.get(name, ""))
    said_ = str(caught.value)
    assert "\nsentinel-1: its disk is full: Write failed: No space left on device\n  fix: free space" in said_
    assert clock.now >= 90


class Api:
    """Stands for a connection to a cluster that answers."""

    def close(self) -> None:
        pass


def test_on_kubernetes_findings_are_not_taken_for_a_cluster_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TimeoutError is an OSError, as a connection's are."""

    def never(*_: object) -> None:
        raise convergence.NotConverged("not converged within 180 s:\n- data-1 follows nobody")

    monkeypatch.setattr(convergence, "converge", never)
    monkeypatch.setattr("infra.targets.cluster.config.load_kube_config", lambda *_, **__: None)
    monkeypatch.setattr("infra.targets.cluster.client.ApiClient", lambda _settings: Api())
    monkeypatch.setattr(rollouts, "Watch", lambda _api, _namespace: None)
    props = {"kubeconfig": "", "context": "", "namespace": "redis", "contract": ENV, "sentinels": []}
    with pytest.raises(cluster.ClusterError, match="- data-1 follows nobody"):
        ConvergenceProvider().create(props)
