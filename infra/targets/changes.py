"""PURE  What a change of a node's inputs means: nothing, a change of the running node, or its restart."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

# Lines of a node's plain files that a server or its supervisor reads at its start only. A change of any other line,
# of a password or of a certificate is taken over by the running node (infra/node/apply.sh).
START_ONLY = ("bind ", "port ", "tls-port ", "daemonize ", "NODE_", "CLI", "SERVER", "TLS=")

# A property that `read` adds, and no input ever is: what is wrong with what is there. Without an id the engine would
# take it for gone and forget it, and an `up` that fails after that, or a `down`, would leave it behind.
DRIFT = "drift"


def as_seen(props: dict[str, Any], drift: str) -> dict[str, Any]:
    """The properties for `read` to return: with `drift`, in words, the next `up` updates the resource."""
    known = {key: value for key, value in props.items() if key != DRIFT}
    return known | {DRIFT: drift} if drift else known


def changed_keys(olds: dict[str, Any], news: dict[str, Any], ignored: Collection[str] = ()) -> list[str]:
    """The inputs that differ. The engine's own bookkeeping is none."""
    keys = (olds | news).keys() - {"__provider", *ignored}
    return [key for key in sorted(keys) if olds.get(key) != news.get(key)]


def needs_restart(olds: dict[str, Any], news: dict[str, Any]) -> bool:
    """Whether a running node must start again to take over `news`. Its scripts are the program that supervises it."""
    return (
        olds["scripts"] != news["scripts"]
        or _start_lines(olds) != _start_lines(news)
        or bool(_directives(olds) - _directives(news))  # only a start gives it its default again
        or (_is_sentinel(news) and _certificates(olds) != _certificates(news))
    )


class ImpossibleChange(Exception):
    """A change that no running deployment can take over. Nothing was changed."""


def check_possible(olds: dict[str, Any], news: dict[str, Any]) -> None:
    """Raises ImpossibleChange. To be asked before the first file of a node is written."""
    old, new = _variable(olds, "MASTER_NAME"), _variable(news, "MASTER_NAME")
    if old != new and mode(olds) == mode(news) == "sentinel":
        raise ImpossibleChange(
            f"masterName: found {new!r}; expected {old!r}, by which the running Sentinels and their clients know the "
            f"master; nothing was changed\n  fix: set masterName back to {old!r}, or deploy a new stack and move to it"
        )


def mode(props: dict[str, Any]) -> str:
    """`sentinel` or `standalone`, as the node's files say."""
    return _variable(props, "MODE")


def _variable(props: dict[str, Any], name: str) -> str:
    lines: list[str] = props["files"]["node.env"].splitlines()
    return next((line.partition("=")[2] for line in lines if line.startswith(f"{name}=")), "")


def becomes_standalone(olds: dict[str, Any], news: dict[str, Any]) -> bool:
    """Whether this node will be the only one left: then it must be the master before."""
    return mode(olds) == "sentinel" and mode(news) == "standalone"


def _is_sentinel(props: dict[str, Any]) -> bool:
    return "sentinel.conf" in props["secret_files"]


def _certificates(props: dict[str, Any]) -> list[str | None]:
    """A data node loads new ones by CONFIG SET; a Sentinel has no such command (seen on 7.0.15)."""
    return [props["secret_files"].get(name) for name in ("node.crt", "node.key", "ca.crt")]


def _directives(props: dict[str, Any]) -> set[str]:
    return {line.partition(" ")[0] for line in props["files"].get("redis.conf", "").splitlines()}


def _start_lines(props: dict[str, Any]) -> set[str]:
    lines = "\n".join(props["files"].values()).splitlines()
    return {line for line in lines if line.startswith(START_ONLY)}
