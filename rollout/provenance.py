"""PURE  Whether evidence names another stack or release than its step's: then it is somebody else's.

What names none is left to whoever reads it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from xml.etree import ElementTree

from prober.samples import Sample

# A property of a test run's JUnit file: the commit that was tested.
RELEASE = "release"
# What the smoke suite calls the JUnit rendering of its evidence.
_SUITE = "smoke."


def foreign(files: Mapping[str, bytes], stack: str, release: str) -> str:
    """The first file that is of something else, and of what; '' when there is none."""
    return next(_foreign(files, stack, release), "")


def foreign_tests(name: str, content: bytes, release: str) -> str:
    """Which other release a JUnit file names; '' when it names none."""
    suite = _suite(content)
    others = tested(suite) - {release} if suite is not None else set()
    return f"{name} has tests of {', '.join(sorted(others))}, wanted {release}" if others else ""


def foreign_sample(samples: Sequence[Sample], stack: str) -> str:
    """The first sample whose prober went by another stack's contract; '' when there is none."""
    others = (each for each in samples if each.stack not in (None, stack))
    return next((f"sample {each.sequence} is of stack {each.stack}, not of {stack}" for each in others), "")


def tested(suite: ElementTree.Element) -> set[str]:
    """The releases that a JUnit file names."""
    return {str(each.get("value")) for each in suite.iter("property") if each.get("name") == RELEASE}


def _foreign(files: Mapping[str, bytes], stack: str, release: str) -> Iterator[str]:
    for name, content in sorted(files.items()):
        reader = _READERS.get(PurePosixPath(name).suffix)
        stacks = reader(content) if reader else set()
        yield from (f"{name} is of stack {other}, not of {stack}" for other in sorted(stacks - {stack}))
        if problem := foreign_tests(name, content, release) if name.endswith(".xml") else "":
            yield problem


def _stack(content: bytes) -> set[str]:
    """Of the smoke suite's evidence, and of what `make faults` writes."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return set()
    stack = told.get("stack") if isinstance(told, dict) else None
    return {stack} if isinstance(stack, str) else set()


def _stacks(content: bytes) -> set[str]:
    suite = _suite(content)
    names = [each.get("name", "") for each in suite.iter("testsuite")] if suite is not None else []
    return {name.removeprefix(_SUITE) for name in names if name.startswith(_SUITE)}


def _suite(content: bytes) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(content)  # noqa: S314 - parsed without fetching anything
    except ElementTree.ParseError:
        return None


_READERS: Mapping[str, Callable[[bytes], set[str]]] = {".json": _stack, ".xml": _stacks}
