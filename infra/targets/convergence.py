"""The last step of an `up`: waits until what runs is what was declared, by the same cross-check on every target.

A target says how its nodes are asked. Where the network does not lead to them from here (another engine's, a
cluster's), each is asked inside itself, by infra/node/answers.sh.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redis.exceptions import ConnectionError as NoAnswer
from redis.exceptions import ResponseError

from client.crosscheck import Observation, findings, observe, observe_by
from infra.contract import NodeAddress, OperatorContract
from infra.targets import reasons

TIMEOUT_S = 90.0
# Asked inside themselves, nodes take seconds to answer, and on a busy cluster more.
INSIDE_TIMEOUT_S = 180.0
# A look that comes in the middle of a failover waits for its end before it calls it a drift.
LOOK_S = 5.0


class NotConverged(TimeoutError):
    """The last findings, and what the nodes' logs know of them."""


Run = Callable[[str, Sequence[str]], tuple[int, str]]
"""Runs answers.sh with these arguments in the node of this name: its exit code and what it printed."""
Log = Callable[[str], str]
"""The end of the log of the node of this name."""


def asked_inside(contract: OperatorContract) -> dict[str, str]:
    """The variables for nodes that are asked inside themselves: the same on every machine that runs `up`."""
    return contract.model_copy(update={"tls": False, "tls_ca_file": None}).to_env()


def converge(
    variables: Mapping[str, str],
    check_alive: Callable[[], object],
    finish: Callable[[], None] = lambda: None,
    run: Run | None = None,
    log: Log = lambda _name: "",
) -> None:
    """Wait until the cross-check finds nothing but nodes that are declared no longer: those are deleted after this.

    `variables`: an OperatorContract's.

    `check_alive` raises when waiting has become pointless. `finish` is what had to wait for the others; it touches
    nodes, so they must agree again after it. Raises NotConverged after TIMEOUT_S, or INSIDE_TIMEOUT_S where `run`
    asks inside. After an error the resource is not recorded, so the next `up` looks again.
    """
    contract = OperatorContract.from_env(variables)
    timeout_s = TIMEOUT_S if run is None else INSIDE_TIMEOUT_S

    def agree() -> None:
        if found := _await_agreement(contract, timeout_s, check_alive, run, undeclared_too=True):
            said = "\n".join(f"- {each}" for each in found)
            raise NotConverged(f"not converged within {timeout_s:.0f} s:\n{said}{_reasons(contract, found, log)}")

    agree()
    finish()
    agree()


def is_converged(variables: Mapping[str, str], run: Run | None = None) -> bool:
    """Whether the cross-check finds nothing now, or at the end of the changes that are under way (LOOK_S at most)."""
    contract = OperatorContract.from_env(variables)
    if any(node.error for node in _look(contract, run).everybody):
        return False
    return not _await_agreement(contract, LOOK_S, run=run)


def _await_agreement(
    contract: OperatorContract,
    timeout_s: float,
    check_alive: Callable[[], object] = lambda: None,
    run: Run | None = None,
    *,
    undeclared_too: bool = False,
) -> tuple[str, ...]:
    end = time.monotonic() + timeout_s
    while True:
        begun = time.monotonic()
        found = findings(contract, _look(contract, run), undeclared_too=undeclared_too)
        looked = time.monotonic()
        if not found or looked >= end:
            return found
        check_alive()
        # Nodes that are asked inside themselves have to start programs for it, and should be getting on.
        time.sleep(max(0.1, looked - begun))


def _look(contract: OperatorContract, run: Run | None) -> Observation:
    return observe(contract) if run is None else observe_by(contract, _inside(run))


def _inside(run: Run) -> Callable[[NodeAddress, Sequence[str]], list[Any]]:
    def ask(address: NodeAddress, questions: Sequence[str]) -> list[Any]:
        code, output = run(address.name, questions)
        if code:
            raise NoAnswer(output.strip() or f"answers.sh ended with {code}")
        replies = output.replace("\r", "").split("\n.\n")[:-1]
        if len(replies) != len(questions):
            raise NoAnswer(f"{len(replies)} of {len(questions)} answers came")
        return [_read(reply) for reply in replies]

    return ask


def _read(reply: str) -> Any:
    if reply.startswith("error:"):
        return ResponseError(reply.removeprefix("error:").strip('"'))
    # INFO alone is not JSON.
    return reply if reply.startswith("#") else json.loads(reply)


def _reasons(contract: OperatorContract, found: Sequence[str], log: Log) -> str:
    """Of the nodes that the findings are about, those whose log tells a known reason; without any, what they said."""
    names = [node.name for node in contract.nodes] + [f"sentinel-{index}" for index in range(len(contract.sentinels))]
    about = [name for name in names if any(re.search(rf"\b{name}\b", each) for each in found)]
    logs = {name: log(name) for name in about}
    known = [f"\n{name}: {why}" for name, text in logs.items() if (why := reasons.known(text))]
    return "".join(
        known or ("\n" + reasons.of(name, f"the log of {name}", text) for name, text in logs.items() if text)
    )
