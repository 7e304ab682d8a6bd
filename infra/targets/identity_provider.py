"""What a running stack keeps, or changes in steps only: asked before anything of it is touched, on every target."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ResourceProvider, UpdateResult

from infra.data_format import Engine
from infra.targets import running_server
from infra.targets.changes import changed_keys


class IdentityProvider(ResourceProvider):
    """Everything else of the stack depends on this resource, so what `check` refuses, nobody has begun.

    Inputs: what tells the server, `engine` (such as `valkey 8.1.4`), or `image` and either `host` of a Docker engine or
    kubeconfig, context and namespace of a cluster; stack, mode, master_name, passwords {user: the one in use}, accepted
    {user: all that let in}; both secret.
    """

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        found = [*_refused_engine(olds, news)]  # also where the state was lost, or is an earlier version's
        if olds.get("passwords"):
            found += [*_refused_name(olds, news), *_refused_passwords(olds, news)]
        return CheckResult(inputs=news, failures=found)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(id_=props["stack"], outs=props)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=bool(changed_keys(olds, news)))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(outs=news)


def _refused_name(olds: dict[str, Any], news: dict[str, Any]) -> tuple[CheckFailure, ...]:
    old, new = olds["master_name"], news["master_name"]
    if old == new or "standalone" in (olds["mode"], news["mode"]):
        return ()
    return (
        CheckFailure(
            "masterName",
            f"stack '{news['stack']}': masterName: found {new!r}; expected {old!r}, by which the running Sentinels and "
            f"their clients know the master; nothing was changed\n"
            f"  fix: set masterName back to {old!r}, or deploy a new stack and move to it",
        ),
    )


def _refused_engine(olds: dict[str, Any], news: dict[str, Any]) -> tuple[CheckFailure, ...]:
    """A node with another server than before must read what that one has written: the first one down would stay so."""
    if all(olds.get(key) == news.get(key) for key in ("engine", "image")):
        return ()
    # The last `up` may have failed before a node had what it declared.
    old = running_server.running(news["stack"], news) or _declared(olds)
    new = old and _declared(news)
    if old is None or new is None or new.reads(old):
        return ()
    what, fix = (
        ("image", "an image of that server, or of a newer one of its kind")
        if "image" in news
        else ("server", "name that server and its CLI in REDIS_SERVER_BINARY and REDIS_CLI_BINARY")
    )
    return (
        CheckFailure(
            what,
            f"stack '{news['stack']}': {what}: found {new}, which cannot read the data of {old}; expected one that "
            f"can; nothing was changed\n  fix: {fix}; or a new stack, and the data moved by a client",
        ),
    )


def _declared(props: dict[str, Any]) -> Engine | None:
    """The server that is to run; None where nobody can tell."""
    # A client of a cluster or of an engine is imported where it is wanted: it takes a third of a second.
    if "namespace" in props:
        from infra.targets import cluster, image_version

        with suppress(cluster.ClusterError), cluster.connected(props["kubeconfig"], props["context"]) as api:
            return Engine.parse(image_version.in_image(api, props["namespace"], props["image"]))
        return None
    if "image" in props:
        from infra.targets import docker_control

        return Engine.parse(docker_control.version_in(props["host"], props["image"]))
    return Engine.parse(props.get("engine", ""))


def _refused_passwords(olds: dict[str, Any], news: dict[str, Any]) -> tuple[CheckFailure, ...]:
    """Nodes change one after the other: each must let the others in, by the old password and by the new one."""
    changed = [
        f"{user}Password"
        for user, new in news["passwords"].items()
        if (old := olds["passwords"].get(user)) not in (None, new)
        and (new not in olds["accepted"][user] or old not in news["accepted"][user])
    ]
    if not changed:
        return ()
    stack = news["stack"]
    return (
        CheckFailure(
            changed[0],
            f"stack '{stack}': {', '.join(changed)}: found another password than the running nodes let in; expected "
            f"one that every node was told of before it is used; nothing was changed\n"
            f"  fix: make rotate STACK={stack}, which goes on from here, the changed password included",
        ),
    )
