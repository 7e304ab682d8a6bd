"""The cross-check sees the same whether nodes are asked over the network or inside themselves, as convergence does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client.crosscheck import Observation, observe_by
from infra.targets import convergence
from tests.nodes import Nodes


@pytest.mark.everywhere
def test_nodes_say_the_same_inside_as_over_the_network(deployment: Nodes) -> None:
    def run(name: str, commands: object) -> tuple[int, str]:
        assert isinstance(commands, list | tuple)
        return deployment.run(name, "answers.sh", *commands)

    def inside() -> Observation:
        return observe_by(deployment.contract, convergence._inside(run))

    assert at_rest(inside()) == at_rest(deployment.observe())
    deployment.stop("sentinel-2")
    assert [view.name for view in inside().everybody if view.error] == ["sentinel-2"]


def at_rest(seen: Observation) -> Observation:
    """Without what moves all the time."""
    return replace(seen, nodes=tuple(replace(node, offset=0) for node in seen.nodes))
