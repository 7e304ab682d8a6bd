"""The topology as it is: roles, offsets, the Sentinels' views, quorum, and what does not fit.

python -m client.status --contract FILE     exit 0: as declared; 1: not
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from client.contract_file import read_operator_contract
from client.crosscheck import NodeView, Observation, SentinelView, findings, observe
from infra.contract import Endpoint, OperatorContract
from infra.problems import ConfigurationError


def show(console: Console, contract: OperatorContract, seen: Observation, found: tuple[str, ...]) -> None:
    """Print one observation and its findings."""
    console.print(_node_table(contract, seen))
    if contract.sentinel_enabled:
        console.print(_sentinel_table(contract, seen))
    if found:
        console.print("[bold red]not as declared[/]")
        for each in found:
            console.print(f"  - {each}", markup=False, highlight=False)
    else:
        console.print("[bold green]as declared[/]: one master, every node and Sentinel agrees")


def _node_table(contract: OperatorContract, seen: Observation) -> Table:
    table = Table(
        "node", "address", "role", "offset", "behind", "link", title=f"stack {contract.stack}", title_justify="left"
    )
    newest = max((node.offset for node in seen.masters), default=0)
    for node in seen.nodes:
        table.add_row(node.name, str(node.endpoint), *_node_cells(contract, node, newest))
    return table


def _name(contract: OperatorContract, endpoint: Endpoint | None) -> str:
    """A declared node by its name; a stranger by its address."""
    names = {node.endpoint: node.name for node in contract.nodes}
    return names.get(endpoint, str(endpoint)) if endpoint else "nobody"


def _absent(view: NodeView | SentinelView) -> str:
    return f"[red]{'refuses the login' if view.refused else 'down'}[/]: {view.error}"


def _node_cells(contract: OperatorContract, node: NodeView, newest: int) -> tuple[str, ...]:
    if node.error:
        return (_absent(node), "", "", "")
    if node.role == "master":
        return ("[bold]master[/]", str(node.offset), "", f"{len(node.attached)} replicas in sync")
    link = f"{'up' if node.link_up else '[red]down[/]'}, follows {_name(contract, node.follows)}"
    return ("replica", str(node.offset), f"{max(newest - node.offset, 0)} bytes", link)


def _sentinel_table(contract: OperatorContract, seen: Observation) -> Table:
    title = f"master '{contract.master_name}', quorum {contract.quorum} of {len(contract.sentinels)}"
    table = Table("sentinel", "address", "names", "epoch", "sees", "quorum", title=title, title_justify="left")
    for view in seen.sentinels:
        table.add_row(view.name, str(view.endpoint), *_sentinel_cells(contract, view))
    return table


def _sentinel_cells(contract: OperatorContract, view: SentinelView) -> tuple[str, ...]:
    if view.error:
        return (_absent(view), "", "", "")
    known = f"{len(view.replicas or {})} replicas, {len(view.peers or {})} peers"
    quorum = "[green]reached[/]" if view.ckquorum.startswith("OK") else f"[red]{view.ckquorum}[/]"
    return (_name(contract, view.master), str(view.config_epoch), known, quorum)


def main() -> int:
    parser = argparse.ArgumentParser(description="Show the topology as it is.")
    parser.add_argument("--contract", type=Path, required=True, help="file with the operator's contract")
    try:
        contract = read_operator_contract(parser.parse_args().contract)
    except ConfigurationError as error:
        print(f"status: {error}", file=sys.stderr)
        return 1
    seen = observe(contract)
    found = findings(contract, seen)
    show(Console(), contract, seen, found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
