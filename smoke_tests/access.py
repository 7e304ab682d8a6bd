"""Tries commands on many nodes as many users, and says of each whether it was let in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

from pydantic import SecretStr
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

from client.errors import describe
from client.links import open_node
from client.options import Options
from infra.contract import Endpoint, OperatorContract

_REFUSALS = (AuthenticationError, AuthorizationError, NoPermissionError)
UNANSWERED = "no answer"


@dataclass(frozen=True)
class Account:
    """Who one says to be. Both empty: nobody, no AUTH is sent."""

    user: str
    password: SecretStr


NOBODY = Account("", SecretStr(""))


@dataclass(frozen=True)
class Attempt:
    """One command as one user at one node."""

    endpoint: Endpoint
    account: Account
    command: str


@dataclass(frozen=True)
class Answer:
    """What came of an attempt: `refused` for want of rights, or `allowed`, even if only to fail later; else neither."""

    node: str
    user: str
    command: str
    outcome: str
    said: str

    def __str__(self) -> str:
        return (
            f"{self.user or 'nobody'} at {self.node}: {self.command}: {self.outcome}{self.said and f' ({self.said})'}"
        )


def accounts(contract: OperatorContract, *, sentinel: bool) -> dict[str, Account]:
    """Every user's own account, at data nodes or at Sentinels; `app` is the contract's user, whatever its name."""
    app = (
        Account(contract.sentinel_username, contract.sentinel_password)
        if sentinel
        else Account(contract.username, contract.password)
    )
    return {"app": app} | {user: Account(user, secret) for user, secret in contract.users.items()}


def attempts(
    contract: OperatorContract, endpoints: Iterable[Endpoint], commands: Mapping[str, Iterable[str]], *, sentinel: bool
) -> list[Attempt]:
    """Each user's commands at each of `endpoints`."""
    known = accounts(contract, sentinel=sentinel)
    return [
        Attempt(endpoint, known[user], command)
        for endpoint in endpoints
        for user, its in commands.items()
        for command in its
    ]


def try_all(contract: OperatorContract, wanted: Iterable[Attempt]) -> list[Answer]:
    """Make every attempt, all nodes at once, each attempt on a connection of its own; a silent node is left alone."""
    by_node = [list(group) for _, group in groupby(wanted, key=lambda attempt: attempt.endpoint)]
    with ThreadPoolExecutor(max_workers=len(by_node) or 1) as pool:
        answers = pool.map(lambda group: _try_one_by_one(contract, group), by_node)
        return [answer for group in answers for answer in group]


def _try_one_by_one(contract: OperatorContract, wanted: Iterable[Attempt]) -> list[Answer]:
    answers: list[Answer] = []
    for attempt in wanted:
        answers.append(_try(contract, attempt))
        if answers[-1].outcome == UNANSWERED:
            break
    return answers


def _try(contract: OperatorContract, attempt: Attempt) -> Answer:
    account = attempt.account
    disguised = contract.model_copy(update={"username": account.user, "password": account.password})
    outcome, said = "allowed", ""
    try:
        with closing(open_node(disguised, Options(), attempt.endpoint)) as link:
            link.execute_command(*attempt.command.split())  # type: ignore[no-untyped-call]
    except _REFUSALS as error:
        outcome, said = "refused", describe(error)
    except RedisError as error:
        said = describe(error)
        if not said.startswith("ResponseError"):
            outcome = UNANSWERED
    return Answer(str(attempt.endpoint), account.user, attempt.command, outcome, said)
