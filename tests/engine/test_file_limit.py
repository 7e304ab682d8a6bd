"""A user who may open few files: `up` says how many clients fit, and each node serves with room for that many."""

from __future__ import annotations

import re
import resource
from contextlib import closing

import pytest

from client.links import open_as
from infra.targets.process import RESERVED_FILES
from tests.engine.stack import Stack, findings_of

pytestmark = pytest.mark.engine

FILES = 64
FIT = re.compile(r"maxclients (\d+), but (\d+) fit on each node.*open (\d+) files\s+fix: ulimit -n (\d+) ")


def in_a_shell_of(limit: str) -> tuple[str, ...]:
    """Every `make` of the stack is typed into such a shell; nodes inherit its limits."""
    return "bash", "-c", f'{limit} && exec "$@"', "bash"


def room(stack: Stack) -> set[int]:
    """How many clients the data nodes take, by themselves."""
    found = set()
    for node in stack.contract().nodes:
        with closing(open_as(stack.contract(), "operator", node.endpoint, 2.0)) as link:
            found.add(int(str(link.config_get("maxclients")["maxclients"])))
    return found


def test_up_says_how_many_clients_fit_and_so_many_do(new_stack: Stack) -> None:
    new_stack.within = in_a_shell_of(f"ulimit -n {FILES}")
    output = new_stack.make("up")
    said = FIT.search(output)
    assert said, output
    wanted, fit, files, enough = map(int, said.groups())
    assert (wanted, files, enough) == (10_000, FILES, 10_000 + RESERVED_FILES)
    assert room(new_stack) == {fit}, "the nodes themselves say another number"
    assert findings_of(new_stack.contract()) == ()


@pytest.mark.nightly
def test_a_limit_that_may_be_raised_is_raised_and_nothing_is_said(new_stack: Stack) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 10_000 + RESERVED_FILES:
        pytest.skip(f"this user may open {hard} files at most")
    new_stack.within = in_a_shell_of(f"ulimit -S -n {FILES}")
    assert " fit on each node" not in new_stack.make("up")
    assert room(new_stack) == {10_000}
