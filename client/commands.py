"""PURE  What a request means for its connection: how long it may block, how heavy it is, what it would change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Command = Sequence[Any]


def _text(argument: Any) -> str:
    return argument.decode(errors="replace") if isinstance(argument, bytes) else str(argument)


def _time(argument: Any) -> float:
    """0 waits for ever. What is no number is the server's to refuse."""
    try:
        return float(_text(argument)) or math.inf
    except ValueError:
        return 0.0


def _last_s(command: Command) -> float:
    return _time(command[-1])


def _first_s(command: Command) -> float:
    return _time(command[1]) if len(command) > 1 else 0.0


def _last_ms(command: Command) -> float:
    return _time(command[-1]) / 1000


def _block_option_ms(command: Command) -> float:
    """XREAD and XREADGROUP: BLOCK stands before STREAMS; what follows are keys, which may be called anything."""
    words = [_text(argument).upper() for argument in command]
    options = words[: words.index("STREAMS")] if "STREAMS" in words else words
    return _time(options[options.index("BLOCK") + 1]) / 1000 if "BLOCK" in options[:-1] else 0.0


# Commands that wait, and how many seconds the server may hold back the reply.
_BLOCKING: Mapping[str, Callable[[Command], float]] = {
    **dict.fromkeys(("BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BZPOPMIN", "BZPOPMAX"), _last_s),
    **dict.fromkeys(("BLMPOP", "BZMPOP"), _first_s),
    **dict.fromkeys(("WAIT", "WAITAOF"), _last_ms),
    **dict.fromkeys(("XREAD", "XREADGROUP"), _block_option_ms),
}

# What runs for as long as its author likes, and stops everybody else meanwhile.
_SCRIPTS = frozenset({"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"})
# So many bytes can by themselves keep a server busy for longer than any time-out.
_HEAVY_BYTES = 16 * 1024 * 1024

# Connections are shared, by threads at once and by operations in turn. What changes one is refused, with what to do.
MOVES: Mapping[str, str] = {
    "SELECT": "name the database in the contract (REDIS_DB) or in Options(db=...)",
    "AUTH": "name the user in the contract; each user has a client of its own",
    "HELLO": "the client speaks RESP2, and the contract names the user",
    "RESET": "nothing needs it: a connection that fails is replaced",
    "MULTI": "use pipeline() or transaction() inside the operation",
    "CLIENT REPLY": "the client awaits every reply",
}
_SPECIAL = frozenset({*_BLOCKING, *_SCRIPTS, *MOVES})


@dataclass(frozen=True)
class Request:
    """What is sent at once. `block_s`: how long the server may wait before it answers; `moves`: a key of MOVES."""

    block_s: float = 0.0
    heavy: bool = False
    moves: str = ""


_LIGHT, _HEAVY = Request(), Request(heavy=True)


def request_of(commands: Sequence[Command]) -> Request:
    """The request that these commands make together."""
    if len(commands) == 1 and _is_plain(commands[0][0]):  # nearly all of them: it has to cost next to nothing
        return _HEAVY if _size(commands[0]) >= _HEAVY_BYTES else _LIGHT
    heavy = sum(_size(command) for command in commands) >= _HEAVY_BYTES
    names = [_name(command) for command in commands]
    if _SPECIAL.isdisjoint(names):
        return _HEAVY if heavy else _LIGHT
    if len(names) > 1 and names[0] == "MULTI":
        names = names[1:]
        waits = 0.0  # nothing blocks in a transaction
    else:
        waits = sum(
            _BLOCKING[name](command) for name, command in zip(names, commands, strict=True) if name in _BLOCKING
        )
    return Request(waits, heavy or not _SCRIPTS.isdisjoint(names), next((name for name in names if name in MOVES), ""))


@lru_cache(maxsize=1024)
def _is_plain(first_word: Any) -> bool:
    """Whether nothing is special about a command, whatever its arguments."""
    word = _text(first_word).upper()
    return word not in _SPECIAL and word != "CLIENT"


def _name(command: Command) -> str:
    name = _text(command[0]).upper()
    return f"CLIENT {_text(command[1]).upper()}" if name == "CLIENT" and len(command) > 1 else name


def _size(command: Command) -> int:
    size = 0
    for argument in command:
        if isinstance(argument, (str, bytes)):  # half the time of str | bytes
            size += len(argument)
    return size
