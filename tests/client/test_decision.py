"""Who is the master, for every way in which Sentinels and nodes can contradict each other."""

from __future__ import annotations

import pytest

from client.decision import (
    ReplicaView,
    RoleView,
    SentinelView,
    candidates,
    choose_master,
    explain,
    healthy_replicas,
    is_reported_down,
)
from infra.contract import Endpoint

A, B, C = (Endpoint("10.0.0.1", 6379), Endpoint("10.0.0.2", 6379), Endpoint("10.0.0.3", 6379))
MASTER, SLAVE, DEAD = RoleView("master"), RoleView("slave", linked=True), RoleView(error="refused connection")
SILENT = SentinelView(error="did not answer in time")


def names(node: Endpoint | None, epoch: int = 0, flags: str = "", promoted: Endpoint | None = None) -> SentinelView:
    """A Sentinel that names `node`, and flags `promoted` among the replicas."""
    replicas = tuple(
        ReplicaView(each, frozenset({"slave", "promoted"} if each == promoted else {"slave"}))
        for each in (A, B, C)
        if each != node
    )
    return SentinelView(node, epoch, frozenset(f"master,{flags}".strip(",").split(",")), replicas)


FAILING_OVER = "s_down,o_down,failover_in_progress"

CASES = {
    "all is well": ([names(A)] * 3, {A: MASTER, B: SLAVE}, A),
    "one Sentinel is silent": ([SILENT, names(A), names(A)], {A: MASTER}, A),
    "one Sentinel is left, and a minority still serves a healthy master": ([SILENT, SILENT, names(A)], {A: MASTER}, A),
    "no Sentinel answers": ([SILENT] * 3, {A: MASTER}, None),
    "no Sentinel knows the master": ([names(None)] * 3, {A: MASTER}, None),
    "the named node says slave": ([names(A)] * 3, {A: SLAVE}, None),
    "the named node is dead": ([names(A)] * 3, {A: DEAD, B: SLAVE}, None),
    "a stale Sentinel names the old master, which still says master": (
        [names(A, 4), names(B, 5), names(B, 5)],
        {A: MASTER, B: MASTER},
        B,
    ),
    "a stale majority loses against one newer Sentinel": (
        [names(A, 4), names(A, 4), names(B, 5)],
        {A: MASTER, B: MASTER},
        B,
    ),
    "the new master died: the stale Sentinel's old one is not an answer": (
        [names(A, 4), names(B, 5)],
        {A: MASTER, B: DEAD},
        None,
    ),
    "an orphan says master while the master lives": ([names(A)] * 3, {A: MASTER, B: MASTER}, A),
    "an orphan says master while the master is down": (
        [names(A, flags="s_down,o_down")] * 3,
        {A: DEAD, B: MASTER},
        None,
    ),
    "an orphan says master during the failover, another is being promoted": (
        [names(A, 0, FAILING_OVER, promoted=C), names(A), names(A)],
        {A: DEAD, B: MASTER, C: SLAVE},
        None,
    ),
    "the promoted one says master before any Sentinel names it": (
        [names(A, 0, FAILING_OVER, promoted=C), names(A), names(A)],
        {A: DEAD, B: SLAVE, C: MASTER},
        C,
    ),
    "handover: the promoted one is preferred to the old master": (
        [names(A, 0, "failover_in_progress", promoted=B), names(A), names(A)],
        {A: MASTER, B: MASTER},
        B,
    ),
    "handover not done yet: the old master still serves": (
        [names(A, 0, "failover_in_progress", promoted=B), names(A), names(A)],
        {A: MASTER, B: SLAVE},
        A,
    ),
    "a promoted flag without a failover under way means nothing": (
        [names(A, 0, "s_down", promoted=B)] * 3,
        {A: DEAD, B: MASTER},
        None,
    ),
    "a stale Sentinel fails over on its own": (
        [names(A, 4, FAILING_OVER, promoted=C), names(B, 5), names(B, 5)],
        {B: MASTER, C: MASTER},
        B,
    ),
    "equals disagree two to one": ([names(A), names(A), names(B)], {A: MASTER, B: MASTER}, A),
    "equals disagree evenly": ([SILENT, names(A), names(B)], {A: MASTER, B: MASTER}, None),
}


@pytest.mark.parametrize(("views", "roles", "expected"), CASES.values(), ids=CASES.keys())
def test_master_is(views: list[SentinelView], roles: dict[Endpoint, RoleView], expected: Endpoint | None) -> None:
    assert choose_master(views, roles) == expected


def test_the_promoted_one_is_asked_first() -> None:
    assert candidates([names(A, 0, FAILING_OVER, promoted=C), names(A), names(A)]) == (C, A)


def test_an_answer_does_not_depend_on_the_order_of_the_sentinels() -> None:
    for views, roles, expected in CASES.values():
        assert choose_master(views[::-1], roles) == expected


def test_replicas_that_a_sentinel_has_lost_are_not_offered() -> None:
    lost = ReplicaView(B, frozenset({"slave", "s_down"}))
    view = SentinelView(A, 0, frozenset({"master"}), (lost, ReplicaView(C, frozenset({"slave"}))))
    assert healthy_replicas([view]) == (C,)


@pytest.mark.parametrize(("flags", "down"), [("", False), ("s_down", True), ("o_down", True)])
def test_master_is_reported_down(flags: str, down: bool) -> None:
    assert is_reported_down([names(A, flags=flags), names(A)]) is down


def test_explanation_names_every_answer() -> None:
    text = explain({C: names(A, 7), B: SILENT}, {A: DEAD})
    assert "10.0.0.2:6379 did not answer in time" in text
    assert "10.0.0.3:6379 names 10.0.0.1:6379 (epoch 7, master)" in text
    assert "node 10.0.0.1:6379 refused connection" in text
