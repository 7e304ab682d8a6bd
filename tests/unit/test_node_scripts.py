"""The node scripts as texts: what one of them sources must not bring a function of a name that it has itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.targets.base import node_scripts

SCRIPTS = {Path(name).name: text for name, text in node_scripts().items() if str(name).endswith(".sh")}
SOURCED = re.compile(r'^\s*\. "\$here/([a-z-]+\.sh)"', re.MULTILINE)
FUNCTION = re.compile(r"^([a-z_]+)\(\)", re.MULTILINE)


def with_all_it_sources(name: str) -> set[str]:
    found = {name}
    for each in SOURCED.findall(SCRIPTS[name]):
        found |= with_all_it_sources(each)
    return found


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_no_function_takes_the_name_of_another_ones(name: str) -> None:
    """A shell takes the last definition: the other script's would call itself without end, a process each time."""
    places: dict[str, list[str]] = {}
    for script in sorted(with_all_it_sources(name)):
        for function in FUNCTION.findall(SCRIPTS[script]):
            places.setdefault(function, []).append(script)
    assert {function: where for function, where in places.items() if len(where) > 1} == {}
