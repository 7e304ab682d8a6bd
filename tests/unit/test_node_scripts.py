"""The node scripts as text: what reading them one by one does not show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import infra

NODE = Path(infra.__file__).parent / "node"
SCRIPTS = sorted(path.name for path in NODE.glob("*.sh"))


def _functions(script: str) -> set[str]:
    return set(re.findall(r"^([a-z_]+)\(\)", (NODE / script).read_text(), re.MULTILINE))


def _sourced(script: str) -> set[str]:
    return set(re.findall(r'^\s*\. "\$here/(\w+\.sh)"', (NODE / script).read_text(), re.MULTILINE))


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_function_takes_the_name_of_another_one(script: str) -> None:
    """A later one of the same name replaces the first for everybody, who then may call himself without an end."""
    together = [script, *_sourced(script)]
    for name in together:
        others = set().union(*(_functions(other) for other in together if other != name))
        assert not _functions(name) & others, f"{script}: {name} and another one"
