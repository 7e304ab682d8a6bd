"""The last step of an `up`: waits until what runs is what was declared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from client.crosscheck import findings, observe
from infra.contract import OperatorContract

TIMEOUT_S = 90.0
# A look that comes in the middle of a failover waits for its end before it calls it a drift.
LOOK_S = 5.0


def converge(variables: Mapping[str, str], check_alive: Callable[[], None]) -> None:
    """Wait until the cross-check finds nothing but nodes that are declared no longer: those are deleted after this.

    `variables`: an OperatorContract's.

    `check_alive` raises when waiting has become pointless. Raises TimeoutError with the last findings after TIMEOUT_S.
    After an error the resource is not recorded, so the next `up` looks again.
    """
    contract = OperatorContract.from_env(variables)
    if found := _await_agreement(contract, TIMEOUT_S, check_alive, undeclared_too=True):
        raise TimeoutError(f"not converged within {TIMEOUT_S:.0f} s:\n" + "\n".join(f"- {each}" for each in found))


def is_converged(variables: Mapping[str, str]) -> bool:
    """Whether the cross-check finds nothing now, or at the end of the changes that are under way (LOOK_S at most)."""
    contract = OperatorContract.from_env(variables)
    if any(node.error for node in observe(contract).everybody):
        return False
    return not _await_agreement(contract, LOOK_S)


def _await_agreement(
    contract: OperatorContract,
    timeout_s: float,
    check_alive: Callable[[], None] = lambda: None,
    *,
    undeclared_too: bool = False,
) -> tuple[str, ...]:
    end = time.monotonic() + timeout_s
    while (found := findings(contract, observe(contract), undeclared_too=undeclared_too)) and time.monotonic() < end:
        check_alive()
        time.sleep(0.1)
    return found
