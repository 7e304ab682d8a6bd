"""Nobody gets in without a password, and everybody gets as far as they need and no further."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import closing

from pydantic import SecretStr
from redis.exceptions import RedisError

from client.errors import describe
from client.links import open_as
from infra.contract import Endpoint, OperatorContract
from smoke_tests.access import NOBODY, UNANSWERED, Account, Answer, Attempt, accounts, attempts, try_all
from smoke_tests.catalogue import check
from smoke_tests.evidence import exactly
from smoke_tests.result import Result, SampleFolder, listing
from smoke_tests.rights import (
    ANONYMOUS_ON_DATA,
    ANONYMOUS_ON_SENTINELS,
    FORBIDDEN_HELLO,
    FORBIDDEN_ON_DATA,
    FORBIDDEN_ON_SENTINELS,
    NEEDED_ON_DATA,
    NEEDED_ON_SENTINELS,
)


def data(contract: OperatorContract) -> list[Endpoint]:
    return [node.endpoint for node in contract.nodes]


@check("auth.no-password", "without a password, every node and Sentinel refuses everything", exactly(0, "let in"))
def test_no_password(contract: OperatorContract, samples: SampleFolder, result: Result) -> None:
    wanted = [Attempt(node, NOBODY, command) for node in data(contract) for command in ANONYMOUS_ON_DATA]
    wanted += [Attempt(node, NOBODY, command) for node in contract.sentinels for command in ANONYMOUS_ON_SENTINELS]
    expect_refusals(try_all(contract, wanted), "no-password", samples, result)


@check("auth.wrong-password", "with a wrong password, no user gets in anywhere", exactly(0, "let in"))
def test_wrong_password(contract: OperatorContract, samples: SampleFolder, result: Result) -> None:
    wrong = SecretStr(secrets.token_hex(16))
    names = {each.user for kind in (True, False) for each in accounts(contract, sentinel=kind).values()}
    everywhere = (*data(contract), *contract.sentinels)
    # `default` exists on every server, whoever else does.
    users = sorted(names | {"default"})
    wanted = [Attempt(node, Account(user, wrong), "PING") for node in everywhere for user in users]
    expect_refusals(try_all(contract, wanted), "wrong-password", samples, result)


@check("auth.default-off", "the user 'default' is off on every node and Sentinel", exactly(0, "not off"))
def test_default_off(contract: OperatorContract, result: Result) -> None:
    states = {endpoint: default_user(contract, endpoint) for endpoint in (*data(contract), *contract.sentinels)}
    bad = [f"{endpoint}: {state}" for endpoint, state in states.items() if state != "off"]
    result.measure(len(bad), "; ".join(bad) or f"{len(states)} asked")


@check("auth.rights-refused", "each user is refused what it must not do", exactly(0, "allowed"))
def test_rights_refused(contract: OperatorContract, samples: SampleFolder, result: Result) -> None:
    wanted = attempts(contract, data(contract), FORBIDDEN_ON_DATA, sentinel=False)
    wanted += attempts(contract, contract.sentinels, FORBIDDEN_ON_SENTINELS, sentinel=True)
    expect_refusals(try_all(contract, wanted), "rights-refused", samples, result)


@check("auth.hello-channel", "the application is kept off the Sentinels' own channel", exactly(0, "allowed"))
def test_hello_channel(contract: OperatorContract, samples: SampleFolder, result: Result) -> None:
    forbidden = {"app": FORBIDDEN_HELLO}
    wanted = attempts(contract, data(contract), forbidden, sentinel=False)
    # A Sentinel's other channels are for everyone, and its own hellos pass there only as PUBLISH.
    wanted += attempts(contract, contract.sentinels, {"app": FORBIDDEN_HELLO[:1]}, sentinel=True)
    expect_refusals(try_all(contract, wanted), "hello-channel", samples, result)


@check("auth.rights-granted", "each user can do its own work", exactly(0, "refused"))
def test_rights_granted(contract: OperatorContract, samples: SampleFolder, result: Result) -> None:
    named = {
        user: [each.format(name=contract.master_name) for each in its] for user, its in NEEDED_ON_SENTINELS.items()
    }
    wanted = attempts(contract, data(contract), NEEDED_ON_DATA, sentinel=False)
    wanted += attempts(contract, contract.sentinels, named, sentinel=True)
    answers = try_all(contract, wanted)
    result.samples = samples.lines("rights-granted", map(vars, answers))
    refused = [answer for answer in answers if answer.outcome != "allowed" or answer.said]
    result.measure(len(refused), listing(refused) or f"{len(answers)} tried")


def expect_refusals(answers: Iterable[Answer], name: str, samples: SampleFolder, result: Result) -> None:
    """Count what was not refused. A node that does not answer has not refused anything: no figure then."""
    tried = list(answers)
    result.samples = samples.lines(name, map(vars, tried))
    silent = [answer for answer in tried if answer.outcome == UNANSWERED]
    assert not silent, listing(silent)
    allowed = [answer for answer in tried if answer.outcome == "allowed"]
    result.measure(len(allowed), listing(allowed) or f"{len(tried)} tried")


def default_user(contract: OperatorContract, endpoint: Endpoint) -> str:
    """`off`, `on`, or why it is not known."""
    try:
        with closing(open_as(contract, "operator", endpoint, 1.0)) as link:
            lines: list[str] = link.execute_command("ACL", "LIST")  # type: ignore[no-untyped-call]
    except RedisError as error:
        return describe(error)
    (default,) = (line.split() for line in lines if line.startswith("user default "))
    return "off" if "off" in default else "on"
