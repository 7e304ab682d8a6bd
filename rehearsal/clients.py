"""The live load at production's gateway: a ledger in this process, and a crowd of 500 addresses in a container."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

from client.connect import connect
from client.contract_file import read_operator_contract
from infra.contract import OperatorContract
from rehearsal.crowd import SIDE_KEY
from rehearsal.place import RehearsalError

COUNT = 500
SCRIPT = Path(__file__).with_name("crowd.py")
STOP_S = 40


def mark_side(contract: OperatorContract, side: str) -> None:
    """Write into the stack which one it is, for the crowd to read."""
    with connect(contract.application()) as client:
        client.set(SIDE_KEY, side)


@contextmanager
def crowd(stack: str, contract_file: Path, network: str, image: str) -> Iterator[dict[str, float]]:
    """The clients, from now until the context ends; the dictionary then has what they saw."""
    contract = read_operator_contract(contract_file)
    settings = {
        "host": contract.host,
        "port": contract.port,
        "password": contract.password.get_secret_value(),
        "network": network,
        "count": COUNT,
    }
    found: dict[str, float] = {}
    engine = docker.from_env()
    container = engine.containers.create(
        image,
        name=f"redis-{stack}-crowd",
        entrypoint=["python3", "/tmp/crowd.py", "run"],  # noqa: S108 - inside
        network=f"redis-{stack}",
        cap_add=["NET_ADMIN"],
        user="0",
    )
    try:
        # Through the archive: neither arguments nor variables of a container are secret.
        container.put_archive("/tmp", _archive({"crowd.py": SCRIPT.read_text(), "crowd.json": json.dumps(settings)}))  # noqa: S108
        container.start()
        yield found
        container.stop(timeout=STOP_S)
        found |= _last_line(container)
    finally:
        with suppress(NotFound):
            container.remove(force=True)
        engine.close()


def where(stack: str) -> dict[str, int]:
    """Which side each of the crowd is on. Raises RehearsalError."""
    engine = docker.from_env()
    try:
        done = engine.containers.get(f"redis-{stack}-crowd").exec_run(["python3", "/tmp/crowd.py", "where"], user="0")  # noqa: S108
    except NotFound:
        raise RehearsalError(f"no crowd at stack {stack}") from None
    finally:
        engine.close()
    if done.exit_code != 0:
        raise RehearsalError(f"the crowd does not tell where it is: {done.output.decode()[-300:]}")
    return dict(json.loads(done.output.decode().splitlines()[-1]))


def _last_line(container: Any) -> Mapping[str, float]:
    lines = container.logs().decode(errors="replace").strip().splitlines()
    try:
        return dict(json.loads(lines[-1]))
    except (IndexError, ValueError):
        raise RehearsalError(f"the crowd ended without its figures: {lines[-3:]}") from None


def _archive(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o600
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()
