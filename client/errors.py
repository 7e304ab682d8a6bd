"""PURE  What an error means for the client: try again elsewhere, or tell the application at once."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from redis import exceptions

from infra.contract import Endpoint


@dataclass(frozen=True)
class Meaning:
    """`leave`: the node may be the wrong one by now, so the link is dropped. `again`: the operation is tried again."""

    leave: bool
    again: bool


_ELSEWHERE = Meaning(leave=True, again=True)
_REFUSED = Meaning(leave=True, again=False)
_THE_OPERATION = Meaning(leave=False, again=False)

# Every code that a server says to an application, by what it means. One that is not here is the operation's.
REPLIES: Mapping[str, Meaning] = {
    # The node has stopped being useful: Sentinels are replacing it, or it has been replaced. The command was not run.
    "READONLY": _ELSEWHERE,  # a replica: demoted
    "REDIRECT": _ELSEWHERE,  # Valkey's word for the same
    "LOADING": _ELSEWHERE,  # restarted, reads its data
    "MASTERDOWN": _ELSEWHERE,  # a replica without its master, which may not serve old data
    "NOREPLICAS": _ELSEWHERE,  # too few replicas (min-replicas-to-write): perhaps cut off from everybody else
    "MISCONF": _ELSEWHERE,  # cannot write to its disk; it says so to the Sentinels' PING too, and they replace it
    "BUSY": _ELSEWHERE,  # a script has run for longer than busy-reply-threshold
    "UNBLOCKED": _ELSEWHERE,  # demoted during a blocking command
    "CLUSTERDOWN": _ELSEWHERE,  # a managed service whose slots are being moved; ours are no cluster
    "TRYAGAIN": _ELSEWHERE,  # the same
    "NOMASTERLINK": _ELSEWHERE,  # a replica that has not synced
    # It does not let us in. Another node may, the next time; this time nobody is helped by waiting.
    "NOAUTH": _REFUSED,
    "WRONGPASS": _REFUSED,
    "DENIED": _REFUSED,  # protected mode
    # The node is well, the operation is wrong, or right and answered in the negative. Said at once; the link stays.
    "NOPERM": _THE_OPERATION,
    "OOM": _THE_OPERATION,  # every node holds the same data: no other has more room
    "EXECABORT": _THE_OPERATION,  # unless a reason with a code of its own follows
    "NOSCRIPT": _THE_OPERATION,
    "WRONGTYPE": _THE_OPERATION,
    "BUSYGROUP": _THE_OPERATION,
    "BUSYKEY": _THE_OPERATION,
    "NOGROUP": _THE_OPERATION,
    "NOTBUSY": _THE_OPERATION,  # SCRIPT KILL: nothing runs
    "UNKILLABLE": _THE_OPERATION,  # SCRIPT KILL: it has written already
    "CROSSSLOT": _THE_OPERATION,
    "MOVED": _THE_OPERATION,  # a cluster: not what the contract describes
    "ASK": _THE_OPERATION,
    "NOPROTO": _THE_OPERATION,
    "IOERR": _THE_OPERATION,
    "INPROG": _THE_OPERATION,
    "ERR": _THE_OPERATION,
}

# redis-py takes the code off where it has a class for it.
_CODE_OF_CLASS: Mapping[type[Exception], str] = {
    exceptions.ReadOnlyError: "READONLY",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.TryAgainError: "TRYAGAIN",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.NoScriptError: "NOSCRIPT",
    exceptions.MovedError: "MOVED",
    exceptions.AskError: "ASK",
    exceptions.ClusterCrossSlotError: "CROSSSLOT",
}
# redis-py quotes the command, with its values, in errors of a pipeline: application data has no place in a message.
# Greedy: a value may look like the end of it.
_QUOTED_COMMAND = re.compile(r"^Command # (\d+) \(.*\) of pipeline caused error: ", re.DOTALL)
# EXEC tells why the server discarded the transaction.
_CODE = re.compile(r"^(?:(?:EXECABORT )?Transaction discarded because of: )?-?([A-Z]+)\b")

_LOST = (exceptions.ConnectionError, exceptions.TimeoutError)
# In a reply that came another way than through redis-py.
_REFUSING_REPLY = re.compile(r"(?:WRONGPASS|NOAUTH|NOPERM)\b")
_REFUSALS = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)


class RedisUnavailable(exceptions.ConnectionError):
    """Redis could not be reached within the deadline. The message says what was last seen, without any password."""


class AccessRefused(exceptions.AuthenticationError):
    """Every server that answered refused our credentials or showed a certificate that we do not trust."""


class NotMaster(exceptions.ReadOnlyError):
    """The node is a replica by now. Nothing was sent to it."""


class NoReply(exceptions.TimeoutError):
    """The node was sent a command and did not answer in time. It may have run it, and may be running it still.

    `run_id`: the server process's, '' where it is not known. `heavy`: the command may be what keeps the node busy.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float, block_s: float, heavy: bool, run_id: str) -> None:
        own = f"its own {block_s:g} s and " if block_s else ""
        super().__init__(
            f"{endpoint} did not answer within {own}timeout_s = {timeout_s:g} s; it may have run the command, which was"
            " not sent again. An operation that takes longer needs a client with a longer Options.timeout_s"
        )
        self.endpoint, self.heavy, self.run_id = endpoint, heavy, run_id


class ChangesConnection(exceptions.DataError):
    """The command would change a connection that others share. It was not sent; the message names the way."""


def is_refusal(error: BaseException) -> bool:
    """Whether trying again is pointless: wrong credentials, missing rights, a certificate that does not verify."""
    if isinstance(error, _REFUSALS) or (
        isinstance(error, exceptions.ResponseError) and _REFUSING_REPLY.match(str(error))
    ):
        return True
    cause = error.__cause__ or error.__context__
    return isinstance(cause, ssl.SSLCertVerificationError)


def meaning(error: BaseException) -> Meaning:
    """What to do about an error of an operation."""
    if isinstance(error, NoReply):
        return _REFUSED  # whether to repeat it is for who knows what has become of the node
    if is_refusal(error):
        return _THE_OPERATION if isinstance(error, exceptions.NoPermissionError) else _REFUSED
    if isinstance(error, exceptions.ResponseError):
        return REPLIES.get(_code(error), _THE_OPERATION)
    if isinstance(error, _LOST):
        return _ELSEWHERE
    return _THE_OPERATION


def is_transient(error: BaseException) -> bool:
    """Whether the same operation can succeed later or on another node: a failover, a restart, a lost connection."""
    return meaning(error).again


def kind_of(error: BaseException) -> str:
    """What to count an error as: its class, or for a reply that has none of its own, the reply's code: `NOREPLICAS`."""
    plain = type(error) is exceptions.ResponseError
    code = _code(error) if plain else ""
    return code if code in REPLIES and code != "ERR" else type(error).__name__


def describe(error: BaseException) -> str:
    """One line for a message or a log: class and text, without the command's values."""
    text = _QUOTED_COMMAND.sub(r"command \1 of the pipeline: ", str(error)).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _code(error: BaseException) -> str:
    for known, code in _CODE_OF_CLASS.items():
        if isinstance(error, known):
            return code
    found = _CODE.match(_QUOTED_COMMAND.sub("", str(error)))
    return found.group(1) if found else ""
