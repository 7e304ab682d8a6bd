"""The contract says what is: it survives its own text form, and both ways that it names lead to a node."""

from __future__ import annotations

import shlex
import time
from contextlib import closing

from client.connect import Client, connect
from client.links import open_as
from infra.contract import Contract, OperatorContract, render_env
from smoke_tests.catalogue import check
from smoke_tests.evidence import at_most, exactly
from smoke_tests.result import Result

# Fault 13 of the fault matrix holds for a black-holed Sentinel, so it does for healthy ones.
DISCOVERY_MS = 1000
DEADLINE_S = 2.0


@check("contract.round-trip", "REDIS_* lines read back give the same contract", exactly(0, "differences"))
def test_round_trip(contract: OperatorContract, result: Result) -> None:
    env = contract.to_env()
    lines = shlex.split(render_env(env))
    again = OperatorContract.from_env(dict(line.partition("=")[::2] for line in lines))
    # Names only: the values include passwords.
    different = [name for name in OperatorContract.model_fields if getattr(again, name) != getattr(contract, name)]
    result.measure(len(different), ", ".join(different) or f"{len(env)} variables")


@check(
    "contract.sentinel-path",
    "a new client finds the master through the Sentinels",
    at_most(DISCOVERY_MS, "ms"),
    sentinel_only=True,
)
def test_sentinel_path(contract: OperatorContract, app: Contract, result: Result) -> None:
    with connect(app) as client:
        ms = reach(client)
        assert client.mode == "sentinel", f"the client's mode is {client.mode}"
        assert client.master is not None, "the client does not know the master"
        with closing(open_as(contract, "monitor", client.master, 1.0)) as link:
            role = link.execute_command("ROLE")[0]  # type: ignore[no-untyped-call]
        assert role == "master", f"{client.master} says role:{role}"
        result.measure(ms, f"master {client.master}")


@check(
    "contract.standalone-path",
    "the standalone address answers the application",
    at_most(DISCOVERY_MS, "ms"),
)
def test_standalone_path(app: Contract, result: Result) -> None:
    alone = app.model_copy(update={"sentinel_enabled": False})
    with connect(alone) as client:
        ms = reach(client)
        assert client.mode == "standalone", f"the client's mode is {client.mode}"
        result.measure(ms, f"{alone.standalone}")


def reach(client: Client) -> float:
    """Milliseconds until the first answer, everything included."""
    begin = time.monotonic()
    client.call(lambda node: node.ping(), deadline_s=DEADLINE_S)
    return (time.monotonic() - begin) * 1000
