"""The scripts need no program that the smallest image of a server lacks, and no shell finds fault with them."""

from __future__ import annotations

import re

import pytest

from tests.nodes import Nodes

SHELL_ERROR = re.compile(r"^\S*\.sh: (?:line )?\d+: .*", re.MULTILINE)


@pytest.mark.everywhere
def test_no_shell_complains_while_a_master_is_stopped_and_killed(deployment: Nodes) -> None:
    heard = [deployment.hear(name) for name in deployment.names]
    for end in (deployment.stop_planned, deployment.kill):
        master = deployment.master()
        end(master)
        deployment.heal()
    assert SHELL_ERROR.findall("".join(said() for said in heard)) == []
