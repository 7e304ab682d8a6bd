"""What is declared follows from the settings alone: how many nodes of which kind, with which names and addresses."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from infra.topology import Kind, plan
from tests.unit.samples import address, declared, planned

# settings, names of the data nodes, names of the Sentinels, quorum
SIZES: list[tuple[dict[str, str], str, str, int]] = [
    ({}, "data-0 data-1 data-2", "sentinel-0 sentinel-1 sentinel-2", 2),
    ({"replicas": "3"}, "data-0 data-1 data-2 data-3", "sentinel-0 sentinel-1 sentinel-2", 2),
    (
        {"sentinels": "5"},
        "data-0 data-1 data-2",
        "sentinel-0 sentinel-1 sentinel-2 sentinel-3 sentinel-4",
        3,
    ),
    ({"quorum": "3"}, "data-0 data-1 data-2", "sentinel-0 sentinel-1 sentinel-2", 3),
    ({"mode": "standalone"}, "data-0", "", 2),
    ({"mode": "standalone", "replicas": "8", "sentinels": "7"}, "data-0", "", 4),
]


@pytest.mark.parametrize(("overrides", "data", "sentinels", "quorum"), SIZES, ids=lambda value: str(value)[:30])
def test_sizes_are_as_declared(overrides: dict[str, str], data: str, sentinels: str, quorum: int) -> None:
    topology = planned(**overrides)
    assert [node.name for node in topology.data] == data.split()
    assert [node.name for node in topology.sentinels] == sentinels.split()
    assert topology.nodes == (*topology.data, *topology.sentinels)
    assert topology.quorum == quorum


def test_nodes_listen_where_the_target_says() -> None:
    topology = planned()
    assert [str(node.endpoint) for node in topology.data] == ["10.0.0.10:7380", "10.0.0.11:7381", "10.0.0.12:7382"]
    assert [node.endpoint for node in topology.sentinels] == [address(Kind.SENTINEL, index) for index in range(3)]


def test_a_first_boot_makes_node_0_the_master() -> None:
    assert planned().first_master.name == "data-0"


def test_the_stack_and_the_master_name_are_the_settings() -> None:
    topology = plan("qa", declared("qa", masterName="orders"), address)
    assert (topology.stack, topology.master_name) == ("qa", "orders")


def test_a_topology_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        planned().quorum = 1  # type: ignore[misc]


SETTINGS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["sentinel", "standalone"]),
        "replicas": st.integers(2, 8).map(str),
        "sentinels": st.sampled_from(["3", "5", "7"]),
    }
)


@hypothesis_settings(max_examples=50, deadline=None)
@given(overrides=SETTINGS)
def test_every_declared_size_is_sound(overrides: dict[str, str]) -> None:
    settings = declared(**overrides)
    topology = plan("dev", settings, address)
    names = [node.name for node in topology.nodes]
    endpoints = [node.endpoint for node in topology.nodes]
    assert len(set(names)) == len(set(endpoints)) == len(names)
    assert topology.first_master in topology.data
    assert [node.index for node in topology.data] == list(range(len(topology.data)))
    assert {node.kind for node in topology.data} == {Kind.DATA}
    if overrides["mode"] == "standalone":
        assert names == ["data-0"]
    else:
        assert len(topology.data) == 1 + settings.replicas
        assert {node.kind for node in topology.sentinels} == {Kind.SENTINEL}
        assert len(topology.sentinels) // 2 < topology.quorum <= len(topology.sentinels)


@hypothesis_settings(max_examples=50, deadline=None)
@given(overrides=SETTINGS)
def test_the_same_settings_give_the_same_topology(overrides: dict[str, str]) -> None:
    assert planned(**overrides) == planned(**overrides)
