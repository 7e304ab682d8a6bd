"""Every node is lost three times and created anew: nobody remembers one that is no more."""

from __future__ import annotations

import pytest

from client.crosscheck import observe
from tests.docker.stack import DockerStack
from tests.engine.stack import await_converged

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]


@pytest.mark.nightly
def test_nodes_recreated_three_times_leave_no_ghost(valkey: DockerStack) -> None:
    contract = valkey.contract()
    names = [*(node.name for node in contract.nodes), *(f"sentinel-{i}" for i in range(3))]
    seen = {name: {valkey.container(name).id} for name in names}
    for _ in range(3):
        # A data node and a Sentinel at a time: three Sentinels keep a majority, and nobody is touched in between.
        for pair in zip(names[:3], names[3:], strict=True):
            for name in pair:
                valkey.container(name).remove(force=True)
            valkey.make("up")
            await_converged(contract)
            for name in pair:
                seen[name].add(valkey.container(name).id)
    assert {name: len(ids) for name, ids in seen.items()} == dict.fromkeys(names, 4)
    for view in observe(contract).sentinels:
        # Flags without `s_down`, `o_down` or `disconnected`: reachable, and not taken for down.
        assert view.flags == "master"
        assert list((view.replicas or {}).values()) == ["slave"] * 2
        assert list((view.peers or {}).values()) == ["sentinel"] * 2
    valkey.assert_unchanged()
