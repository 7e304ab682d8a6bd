"""The planned handover, for operators: runs infra/node/handover.sh, the one implementation that all targets share.

python -m client.handover --contract FILE
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import infra
from client.contract_file import read_operator_contract
from infra.contract import Endpoint, OperatorContract
from infra.problems import ConfigurationError

SCRIPT = Path(infra.__file__).parent / "node" / "handover.sh"
# What the script needs at most: 20 s until the deployment is fit, 20 s until all agree, and its own steps.
TIMEOUT_S = 60.0


class HandoverError(Exception):
    """The master did not move, or not as planned. The message says which step failed and what was undone."""


class MissingCli(Exception):
    """This machine has no CLI to hand over with: says nothing about the deployment."""


@dataclass(frozen=True)
class Handover:
    """A handover that was done. Times in ms: writers were paused for `fenced_ms`, the whole took `total_ms`."""

    old: Endpoint
    new: Endpoint
    fenced_ms: int
    total_ms: int
    epoch_before: int
    epoch: int


def hand_over(contract: OperatorContract) -> Handover:
    """Move the master to a replica, fenced.

    Raises HandoverError, which says so when the master moved all the same; MissingCli when nothing was tried.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "CLI": _cli(),
        "CLI_FLAGS": f"--tls --cacert {contract.tls_ca_file}" if contract.tls else "",
        "MASTER_NAME": contract.master_name,
        "SENTINELS": " ".join(map(str, contract.sentinels)),
        # Nobody else is asked, whoever a Sentinel names: the password goes with each question.
        "DATA_NODES": " ".join(str(node.endpoint) for node in contract.nodes),
        "DOWN_AFTER_MS": str(contract.down_after_ms),
        "MIN_REPLICAS": "" if contract.min_replicas_to_write is None else str(contract.min_replicas_to_write),
        # The CLI takes the password from here, so that it is in no argument list.
        "REDISCLI_AUTH": contract.users["operator"].get_secret_value(),
    }
    try:
        done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise HandoverError(f"no end within {TIMEOUT_S:.0f} s; the fence, if any, ended by itself") from None
    if done.returncode != 0:
        raise HandoverError(done.stderr.strip().rpartition("handover.sh: ")[2] or f"status {done.returncode}")
    return _parse(done.stdout)


def _parse(output: str) -> Handover:
    fields = dict(item.split("=", 1) for item in output.splitlines()[-1].split())
    return Handover(
        old=Endpoint.parse(fields["old"]),
        new=Endpoint.parse(fields["new"]),
        fenced_ms=int(fields["fenced_ms"]),
        total_ms=int(fields["total_ms"]),
        epoch_before=int(fields["epoch_before"]),
        epoch=int(fields["epoch"]),
    )


def _cli() -> str:
    found = os.environ.get("REDIS_CLI_BINARY") or shutil.which("valkey-cli") or shutil.which("redis-cli")
    if not found:
        raise MissingCli("no valkey-cli or redis-cli on PATH: install one or name it in REDIS_CLI_BINARY")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Hand the master over to a replica without losing a write.")
    parser.add_argument("--contract", type=Path, required=True, help="file with the operator's contract")
    try:
        contract = read_operator_contract(parser.parse_args().contract)
        if not contract.sentinel_enabled:
            raise HandoverError("a standalone deployment has no replica to hand over to")
        done = hand_over(contract)
    except (ConfigurationError, HandoverError, MissingCli) as error:
        print(f"failover: {error}", file=sys.stderr)
        return 1
    names = {node.endpoint: node.name for node in contract.nodes}
    print(f"old master  {names.get(done.old, '?')} ({done.old})")
    print(f"new master  {names.get(done.new, '?')} ({done.new})")
    print(f"writes paused for {done.fenced_ms / 1000:.2f} s; all agreed and in sync after {done.total_ms / 1000:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
