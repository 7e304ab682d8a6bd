"""What a request means for its connection, by its words alone."""

from __future__ import annotations

import math
from typing import Any

import pytest

from client.commands import MOVES, Request, request_of

BIG = b"x" * (16 * 1024 * 1024)


@pytest.mark.parametrize(
    ("command", "block_s"),
    [
        (("BLPOP", "a", "b", 3), 3),
        (("blpop", "a", "0.5"), 0.5),
        ((b"BRPOP", b"a", b"2"), 2),
        (("BRPOPLPUSH", "a", "b", 2), 2),
        (("BLMOVE", "a", "b", "LEFT", "RIGHT", 2), 2),
        (("BZPOPMIN", "a", 2), 2),
        (("BZPOPMAX", "a", 2), 2),
        (("BLMPOP", 2.5, 1, "a", "LEFT"), 2.5),
        (("BZMPOP", 2.5, 1, "a", "MIN"), 2.5),
        (("BLPOP", "a", 0), math.inf),
        (("WAIT", 1, 500), 0.5),
        (("WAIT", 1, 0), math.inf),
        (("WAITAOF", 1, 1, 500), 0.5),
        (("XREAD", b"BLOCK", b"1500", b"STREAMS", "a", "$"), 1.5),
        (("XREAD", "COUNT", 1, "BLOCK", 0, "STREAMS", "a", "$"), math.inf),
        (("XREADGROUP", "GROUP", "g", "c", "BLOCK", 1500, "STREAMS", "a", ">"), 1.5),
        (("XREAD", "STREAMS", "BLOCK", "1500"), 0),
        (("XREAD", "STREAMS", "a", "0"), 0),
        (("LPOP", "BLPOP", "3"), 0),
        (("BLPOP", "a", "soon"), 0),
        (("BLPOP",), 0),
        (("BLMPOP",), 0),
        (("XREAD", "BLOCK"), 0),
    ],
    ids=str,
)
def test_how_long_the_server_may_hold_back_its_reply(command: tuple[Any, ...], block_s: float) -> None:
    assert request_of([command]).block_s == block_s


def test_what_is_sent_together_blocks_one_after_the_other_but_in_a_transaction_not_at_all() -> None:
    waits = [("SET", "a", "1"), ("WAIT", 1, 500), ("BLPOP", "q", 2)]
    assert request_of(waits).block_s == 2.5
    assert request_of([("MULTI",), *waits, ("EXEC",)]) == Request()


@pytest.mark.parametrize(
    ("commands", "heavy"),
    [
        ([("SET", "a", "1")], False),
        ([("EVAL", "return 1", 0)], True),
        ([("evalsha_ro", "0123", 0)], True),
        ([("FCALL", "f", 0)], True),
        ([("MULTI",), ("EVAL", "return 1", 0), ("EXEC",)], True),
        ([("SET", "a", BIG)], True),
        ([("SET", "a", BIG[100:])], False),
        ([("SET", "a", BIG[: len(BIG) // 2])] * 2, True),
    ],
    ids=range(8),
)
def test_what_may_keep_a_server_busy_by_itself(commands: list[tuple[Any, ...]], heavy: bool) -> None:
    assert request_of(commands).heavy is heavy


@pytest.mark.parametrize("name", MOVES)
def test_what_would_change_the_connection_is_found_in_any_spelling(name: str) -> None:
    words = name.split()
    assert request_of([(name.lower(), "x")]).moves == name
    assert request_of([(*words, "x")]).moves == name
    assert request_of([("SET", "a", "b"), (*words, "x")]).moves == name


def test_a_pipeline_s_own_transaction_is_no_change() -> None:
    assert request_of([("MULTI",), ("SET", "a", "b"), ("EXEC",)]).moves == ""
    assert request_of([("MULTI",), ("SELECT", 1), ("EXEC",)]).moves == "SELECT"
    assert request_of([("CLIENT", "ID")]).moves == ""
