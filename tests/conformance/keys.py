"""Keys as an application writes and reads them, through the contract's client."""

from __future__ import annotations

from client.connect import connect
from infra.contract import Contract


def write(contract: Contract, key: str, value: str) -> None:
    with connect(contract) as client:
        client.set(key, value)


def read(contract: Contract, key: str) -> str | None:
    with connect(contract) as client:
        value = client.get(key)
        return None if value is None else str(value)
