"""What a running stack keeps, or changes in steps only: asked before anything of it is touched, on every target."""

from __future__ import annotations

from typing import Any

from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ResourceProvider, UpdateResult

from infra.targets.changes import changed_keys


class IdentityProvider(ResourceProvider):
    """Everything else of the stack depends on this resource, so what `check` refuses, nobody has begun.

    Inputs: stack, mode, master_name, passwords {user: the one in use}, accepted {user: all that let in}; both secret.
    """

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        found = (*_refused_name(olds, news), *_refused_passwords(olds, news)) if olds.get("passwords") else ()
        return CheckResult(inputs=news, failures=list(found))

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
