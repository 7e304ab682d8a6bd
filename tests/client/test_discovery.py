"""One round of discovery against Sentinels that answer, lie still or refuse."""

from __future__ import annotations

import time

import pytest

from client.decision import ReplicaView, RoleView, SentinelView
from client.discovery import Discovery
from client.errors import AccessRefused, RedisUnavailable
from client.options import Options
from client.probes import role_view, sentinel_view
from infra.contract import Endpoint
from tests.client.fakes import SENTINELS, FakeAsker, contract

A, B = Endpoint("10.0.0.1", 6379), Endpoint("10.0.0.2", 6379)
S1, S2, S3 = SENTINELS
NAMES_A = SentinelView(A, 1, frozenset({"master"}), (ReplicaView(B, frozenset({"slave"})),))
LEADS_TO_B = SentinelView(
    A, 1, frozenset({"master", "failover_in_progress"}), (ReplicaView(B, frozenset({"slave", "promoted"})),)
)
REFUSES = SentinelView(error="AuthenticationError: WRONGPASS", refused=True)
MASTER, SLAVE = RoleView("master"), RoleView("slave", linked=True)
QUICK = Options(probe_timeout_s=0.5, probe_connect_timeout_s=0.5, straggler_s=0.3)


def discovery(asker: FakeAsker) -> Discovery:
    return Discovery(contract(), QUICK, asker)


@pytest.mark.timed
def test_a_black_holed_sentinel_costs_no_more_than_the_straggler_time() -> None:
    asker = FakeAsker(dict.fromkeys(SENTINELS, NAMES_A), {A: MASTER}, slow={S1: 2.0})
    started = time.monotonic()
    assert discovery(asker).master() == A
    assert 0.3 <= time.monotonic() - started < 0.9


@pytest.mark.timed
def test_a_silent_sentinel_is_waited_for_less_in_the_next_round() -> None:
    asker = FakeAsker(dict.fromkeys(SENTINELS, NAMES_A), {A: MASTER}, slow={S1: 2.0})
    found = discovery(asker)
    found.master()
    started = time.monotonic()
    assert found.master() == A
    assert time.monotonic() - started < 0.28


def test_a_majority_is_not_enough_when_the_leader_answers_a_little_later() -> None:
    asker = FakeAsker({S1: NAMES_A, S2: NAMES_A, S3: LEADS_TO_B}, {A: SLAVE, B: MASTER}, slow={S3: 0.02})
    assert discovery(asker).master() == B


def test_two_black_holed_sentinels_leave_the_third_ones_answer() -> None:
    asker = FakeAsker(dict.fromkeys(SENTINELS, NAMES_A), {A: MASTER}, slow={S1: 2.0, S2: 2.0})
    assert discovery(asker).master() == A


@pytest.mark.timed
def test_a_dead_old_master_does_not_delay_the_promoted_one() -> None:
    asker = FakeAsker(dict.fromkeys(SENTINELS, LEADS_TO_B), {A: MASTER, B: MASTER}, slow={A: 2.0})
    started = time.monotonic()
    assert discovery(asker).master() == B
    assert time.monotonic() - started < 0.9


@pytest.mark.timed
def test_a_master_that_the_sentinels_have_lost_gets_little_time_to_answer() -> None:
    lost = SentinelView(A, 1, frozenset({"master", "s_down"}))
    asker = FakeAsker(dict.fromkeys(SENTINELS, lost), {A: MASTER}, slow={A: 2.0})
    started = time.monotonic()
    with pytest.raises(RedisUnavailable, match="did not answer in time"):
        discovery(asker).master()
    assert time.monotonic() - started < 0.9


def test_without_a_master_the_error_says_what_each_one_said() -> None:
    asker = FakeAsker(dict.fromkeys(SENTINELS, NAMES_A), {A: SLAVE})
    with pytest.raises(RedisUnavailable, match=r"no master for 'mymaster' yet: .*names 10\.0\.0\.1:6379.*says slave"):
        discovery(asker).master()


def test_nodes_that_nobody_chose_are_not_even_asked() -> None:
    asker = FakeAsker(dict.fromkeys(SENTINELS, NAMES_A), {A: SLAVE, B: MASTER})
    with pytest.raises(RedisUnavailable):
        discovery(asker).master()
    assert asker.asked == [A]


def test_wrong_credentials_at_the_sentinels_are_said_at_once() -> None:
    asker = FakeAsker(dict.fromkeys(SENTINELS, REFUSES), {})
    with pytest.raises(AccessRefused, match="WRONGPASS"):
        discovery(asker).master()


def test_one_sentinel_that_refuses_does_not_matter() -> None:
    asker = FakeAsker({S1: REFUSES, S2: NAMES_A, S3: NAMES_A}, {A: MASTER})
    assert discovery(asker).master() == A


def test_one_sentinel_that_refuses_does_not_end_the_search_either() -> None:
    asker = FakeAsker({S1: REFUSES, S2: NAMES_A, S3: NAMES_A}, {A: SLAVE})
    with pytest.raises(RedisUnavailable):
        discovery(asker).master()


def test_wrong_credentials_at_the_master_are_said_at_once() -> None:
    asker = FakeAsker(dict.fromkeys(SENTINELS, NAMES_A), {A: RoleView(error="WRONGPASS", refused=True)})
    with pytest.raises(AccessRefused, match="WRONGPASS"):
        discovery(asker).master()


@pytest.mark.parametrize(("role", "expected"), [(SLAVE, (B,)), (RoleView("slave"), ()), (MASTER, ())])
def test_only_linked_replicas_are_offered(role: RoleView, expected: tuple[Endpoint, ...]) -> None:
    asker = FakeAsker(dict.fromkeys(SENTINELS, NAMES_A), {B: role})
    assert discovery(asker).replicas() == expected


def test_raw_replies_of_a_sentinel_are_understood() -> None:
    master = ["name", "mymaster", "ip", "10.0.0.1", "flags", "master,failover_in_progress", "config-epoch", "7"]
    replicas = [["ip", "10.0.0.2", "port", "6379", "flags", "slave,promoted"]]
    view = sentinel_view(["10.0.0.1", "6379"], master, replicas)
    assert (view.named, view.epoch, view.promoted) == (A, 7, (B,))


def test_raw_replies_of_nodes_are_understood() -> None:
    assert role_view(["master", 100, []]) == MASTER
    assert role_view(["slave", "10.0.0.1", 6379, "connected", 100]) == SLAVE
    assert role_view(["slave", "10.0.0.1", 6379, "connect", -1]) == RoleView("slave", linked=False)
