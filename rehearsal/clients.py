"""The live load at production's gateway: some 500 clients, each with an address of its own (rehearsal/crowd.py)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from client.connect import connect
from infra.contract import Contract, OperatorContract
from rehearsal.crowd import SIDE_KEY
from rehearsal.place import RehearsalError

SCRIPT = Path(__file__).with_name("crowd.py")
STOP_S = 40
# Between two visits of any of them.
PAUSE_S = 0.05


class Crowd(Protocol):
    """Clients that visit production's gateway in turn."""

    def visiting(self, contract: OperatorContract) -> AbstractContextManager[dict[str, float]]:
        """From now until the context ends; the dictionary then has what they saw. Raises RehearsalError."""

    def where(self) -> dict[str, float]:
        """How many there are, and how many are on the canary. Raises RehearsalError."""

    def gateway(self, contract: OperatorContract) -> Contract:
        """Where one more client, of this machine, finds production's gateway such that its address stays its own."""


def crowd_of(description: Mapping[str, str]) -> Crowd:
    """The crowd that the story wrote down, for whoever asks it. Raises RehearsalError."""
    if "namespace" in description:
        from rehearsal.crowd_pods import PodCrowd

        return PodCrowd(**description)
    from rehearsal.crowd_container import ContainerCrowd

    return ContainerCrowd(**description)


def mark_side(contract: OperatorContract, side: str) -> None:
    """Write into the stack which one it is, for the crowd to read."""
    with connect(contract.application()) as client:
        client.set(SIDE_KEY, side)


@contextmanager
def nobody() -> Iterator[dict[str, float]]:
    """Where there is no gateway."""
    yield {}


def last_line(text: str) -> dict[str, float]:
    """What the crowd said in the end. Raises RehearsalError."""
    lines = text.strip().splitlines()
    try:
        return {str(key): float(value) for key, value in json.loads(lines[-1]).items()}
    except (IndexError, ValueError, AttributeError):
        raise RehearsalError(f"the crowd ended without its figures: {lines[-3:]}") from None


def together(each: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The figures of several parts of a crowd: sums, and the longest gap."""
    found: dict[str, float] = {}
    for part in each:
        for key, value in part.items():
            found[key] = max(found.get(key, 0.0), value) if key.startswith("longest") else found.get(key, 0.0) + value
    return found
