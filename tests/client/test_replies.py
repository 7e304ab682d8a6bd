"""What the client makes of each thing that a server says: one test over the whole table."""

from __future__ import annotations

import pytest
from redis import exceptions
from redis._parsers.base import BaseParser

from client.connect import connect
from client.errors import REPLIES, Meaning, NoReply, is_transient, meaning
from client.options import Options, RetryOptions
from infra.contract import Endpoint
from tests.client.fakes import contract
from tests.client.tiny_redis import TinyRedis

QUICK = Options(retry=RetryOptions(deadline_s=2.0))
LEFT = {"READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS", "MISCONF", "BUSY", "UNBLOCKED", "NOAUTH", "WRONGPASS"}
REPEATED = LEFT - {"NOAUTH", "WRONGPASS"}
WORDS = "3999 127.0.0.1:6381"  # redis-py wants an address in MOVED and ASK
KEPT = {"OOM", "NOPERM", "WRONGTYPE", "NOSCRIPT", "UNKILLABLE", "ERR", "SOMETHINGNEW"}


def reply(text: str) -> Exception:
    """As redis-py raises it: known codes become classes and lose their code."""
    error: Exception = BaseParser.parse_error(text)  # type: ignore[no-untyped-call]
    return error


def in_pipeline(text: str, command: str = "SET a b") -> Exception:
    error = reply(text)
    error.args = (f"Command # 1 ({command}) of pipeline caused error: {error.args[0]}",)
    return error


@pytest.mark.parametrize("code", sorted(REPLIES))
def test_a_reply_means_the_same_however_it_comes(code: str) -> None:
    wanted = REPLIES[code]
    assert meaning(reply(f"{code} {WORDS}")) == wanted
    assert meaning(in_pipeline(f"{code} {WORDS}")) == wanted
    if code not in ("NOAUTH", "WRONGPASS"):  # not said to a command: nobody is logged in
        assert meaning(reply(f"EXECABORT Transaction discarded because of: {code} {WORDS}")) == wanted


def test_the_codes_that_matter_are_decided_as_documented() -> None:
    assert {code for code in LEFT if REPLIES[code].leave} == LEFT
    assert {code for code in LEFT if REPLIES[code].again} == REPEATED
    assert not any(REPLIES.get(code, Meaning(False, False)).leave for code in KEPT)


@pytest.mark.parametrize(
    "error",
    [
        in_pipeline("WRONGTYPE x", 'SET a ") of pipeline caused error: MISCONF'),
        in_pipeline("ERR x", "SET MISCONF READONLY"),
        reply("ERR value NOREPLICAS is not an integer"),
        reply("EXECABORT Transaction discarded because of previous errors."),
        reply("SOMETHINGNEW from a later server"),
    ],
    ids=str,
)
def test_words_of_the_application_are_no_code(error: Exception) -> None:
    assert meaning(error) == Meaning(leave=False, again=False)


def test_no_reply_leaves_the_node_and_is_not_repeated_blindly() -> None:
    lost = NoReply(Endpoint("h", 1), 1.0, 0.0, False, "a1")
    assert meaning(lost) == Meaning(leave=True, again=False)
    assert isinstance(lost, exceptions.TimeoutError)
    assert "timeout_s = 1 s" in str(lost)
    assert "its own 3 s and timeout_s = 1 s" in str(NoReply(Endpoint("h", 1), 1.0, 3.0, False, "a1"))


@pytest.mark.parametrize("code", sorted(REPLIES))
def test_the_client_does_what_the_table_says(server: TinyRedis, code: str) -> None:
    with connect(contract(sentinel=False, port=server.server_address[1]), options=QUICK) as client:
        client.ping()
        server.refusals = [f"{code} {WORDS}"]
        try:
            client.set("a", "1")
            repeated = True
        except exceptions.RedisError as error:
            repeated = False
            assert not is_transient(error)
        client.ping()
        assert repeated == REPLIES[code].again
        # A link that is left makes new connections.
        assert (server.commands.count("AUTH") == 2) == REPLIES[code].leave


@pytest.mark.parametrize("code", sorted(code for code in REPLIES if REPLIES[code].leave))
def test_call_once_leaves_too(server: TinyRedis, code: str) -> None:
    with connect(contract(sentinel=False, port=server.server_address[1]), options=QUICK) as client:
        client.ping()
        server.refusals = [f"{code} {WORDS}"]
        with pytest.raises(exceptions.RedisError):
            client.call_once(lambda master: master.set("a", "1"))
        client.ping()
    assert (server.commands.count("AUTH"), server.commands.count("SET")) == (2, 1)
