"""The host's firewall around a stack's containers: loads, checks and removes its nftables tables through Docker.

Whoever runs `pulumi up` needs no root: a container with the host's network and CAP_NET_ADMIN, and no other right, loads
the tables, and whoever may use Docker may start one. That the group `docker` amounts to root on its host is Docker's
doing, not ours; this asks for nothing more. It works alike for a remote engine: the container runs there.

After the host's start, `guard` (a container that the engine's restart policy starts) loads the tables again. What
remains open: the moments between the engine's start of the nodes and of the guard. The kernel has no tables then, and
passwords and TLS are what stands. Whoever needs that closed too has the host load the same text (`nft -f`) before its
Docker service. And addresses can be forged by a container on the stack's network that has CAP_NET_RAW: put none there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docker.errors import DockerException, ImageNotFound
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, ResourceProvider, UpdateResult

from infra.targets import docker_control, nftables
from infra.targets.changes import DRIFT, as_seen
from infra.targets.docker_archive import archive

GUARD = Path(__file__).with_name("firewall_guard.sh")
TIMEOUT_S = 30
RIGHTS = {"cap_drop": ["ALL"], "cap_add": ["NET_ADMIN"], "security_opt": ["no-new-privileges"]}


class FirewallError(Exception):
    """The engine or nft refused. The message is complete: no traceback is needed to understand it."""


class FirewallProvider(ResourceProvider):
    """Inputs: host ('': the environment's engine), image (has nft), table, script (nftables.script), rules (words)."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        load(props)
        return CreateResult(id_=props["table"], outs=props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_=id_, outs=as_seen(props, "" if is_loaded(props) else "not as loaded"))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        # The image only lends its nft: another one changes no rule. The words say what the script says.
        changed = [key for key in ("host", "table", "script") if olds.get(key) != news.get(key)]
        replaces = [key for key in changed if key != "script"]
        return DiffResult(changes=bool(changed) or DRIFT in olds, replaces=replaces, delete_before_replace=True)

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        load(news)
        return UpdateResult(outs=news)

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        remove(props)


def load(props: dict[str, Any]) -> None:
    """Replace the stack's tables, in one transaction. Raises FirewallError unless they are then as declared."""
    _nft(props, "host", props["script"])
    if not is_loaded(props):
        raise FirewallError(f"table {props['table']} is not as it was loaded: something else on the host changes it")


def is_loaded(props: dict[str, Any]) -> bool:
    """Whether the host's tables are exactly the declared ones.

    Compared with what nft lists after loading the same text in an empty network namespace of the same kernel: the one
    spelling that holds for every version of nft.
    """
    return _listing(props, "host", "") == _listing(props, "none", props["script"])


def remove(props: dict[str, Any]) -> None:
    """Leave nothing of the stack's tables behind. No error when they are gone already."""
    _nft(props, "host", nftables.removal(props["table"]))


def guard(script: str, table: str) -> dict[str, Any]:
    """Arguments of pulumi-docker's Container: it loads the tables at the engine's start, and heals them.

    To be declared after the firewall's own resource (depends_on), so that it is gone before the tables are removed.
    Its root has CAP_NET_ADMIN and nothing else. Its file system is writable, because the engine uploads files into no
    other. The health check fails when nft does: without rules, or without the right to see them.
    """
    return {
        "entrypoints": ["/bin/sh", "/guard.sh"],
        "command": ["/rules.nft", table, nftables.version(script)],
        "uploads": [
            {"file": "/guard.sh", "content": GUARD.read_text(encoding="utf-8")},
            {"file": "/rules.nft", "content": script},
        ],
        "network_mode": "host",
        "userns_mode": "host",
        "restart": "always",
        "must_run": False,  # brought back by its `Ready`
        "user": "0:0",
        "capabilities": {"drops": ["ALL"], "adds": ["CAP_NET_ADMIN"]},
        "security_opts": ["no-new-privileges"],
        "memory": 32,
        "memory_swap": 32,
        "log_driver": "json-file",
        "log_opts": {"max-size": "1m", "max-file": "2"},
        "destroy_grace_seconds": 5,
        "healthcheck": {
            "tests": ["CMD", "nft", "list", "chain", "inet", table, f"version_{nftables.version(script)}"],
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
        },
    }


def _listing(props: dict[str, Any], network: str, script: str) -> list[Any]:
    """Both tables as nft lists them, without what differs from load to load: handles and counts."""
    each = (f"nft -j list table {family} {props['table']} 2>/dev/null || echo '{{}}'" for family in nftables.FAMILIES)
    # A table that is absent is an answer. An nft that cannot load or list anything is none.
    able = "nft -f /rules.nft && nft list tables >/dev/null || exit 1"
    lines = _run(props, network, script, f"{able}; {'; '.join(each)}").splitlines()
    return [_lasting(json.loads(line)) for line in lines]


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(item) for key, item in value.items() if key not in ("handle", "packets", "bytes")}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


def _nft(props: dict[str, Any], network: str, script: str) -> None:
    _run(props, network, script, "nft -f /rules.nft")


def _run(props: dict[str, Any], network: str, script: str, command: str) -> str:
    """Run `command` in a container of its own, on `network`, with `script` in a file, not in an argument."""
    try:
        with docker_control.engine(props["host"]) as client:
            container = client.containers.create(
                props["image"],
                entrypoint=["/bin/sh", "-c", command],
                network_mode=network,
                userns_mode="host",
                user="0:0",
                **RIGHTS,
            )
            try:
                container.put_archive("/", archive({"rules.nft": script}))
                container.start()
                code = container.wait(timeout=TIMEOUT_S)["StatusCode"]
                output: str = container.logs(stdout=True, stderr=False).decode()
                complaint = container.logs(stdout=False, stderr=True).decode()
            finally:
                container.remove(force=True, v=True)
    except ImageNotFound:
        remedy = f"docker build --tag {props['image']} images/firewall"
        raise FirewallError(f"the engine has no image {props['image']} to run nft in; fix: {remedy}") from None
    except (DockerException, OSError) as error:
        raise FirewallError(f"the firewall's tables cannot be reached through Docker: {error}") from None
    if code:
        raise FirewallError(f"nft refused table {props['table']}:\n{complaint.strip()}")
    return output
