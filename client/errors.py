"""PURE  What an error means for the client: try again elsewhere, or tell the application at once."""

from __future__ import annotations

import re
import ssl

from redis import exceptions

# Server replies that redis-py has no class for. Both end when the roles have settled.
#   NOREPLICAS: the master has too few replicas (min-replicas-to-write).
#   UNBLOCKED: the master was demoted during a blocking command.
_TRANSIENT_REPLY = re.compile(r"(?:^|caused error: )(NOREPLICAS|UNBLOCKED)\b")
# redis-py quotes the command, with its values, in errors of a pipeline: application data has no place in a message.
_QUOTED_COMMAND = re.compile(r"Command # (\d+) \(.*\) of pipeline caused error: ", re.DOTALL)

_TRANSIENT = (
    exceptions.ConnectionError,  # LOADING is one of its subclasses
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
)
_REFUSALS = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)


class RedisUnavailable(exceptions.ConnectionError):
    """Redis could not be reached within the deadline. The message says what was last seen, without any password."""


class AccessRefused(exceptions.AuthenticationError):
    """Every server that answered refused our credentials or showed a certificate that we do not trust."""


def is_refusal(error: BaseException) -> bool:
    """Whether trying again is pointless: wrong credentials, missing rights, a certificate that does not verify."""
    if isinstance(error, _REFUSALS):
        return True
    cause = error.__cause__ or error.__context__
    return isinstance(cause, ssl.SSLCertVerificationError)


def is_transient(error: BaseException) -> bool:
    """Whether the same operation can succeed later or on another node: a failover, a restart, a lost connection."""
    if is_refusal(error):
        return False
    if isinstance(error, _TRANSIENT):
        return True
    return isinstance(error, exceptions.ResponseError) and bool(_TRANSIENT_REPLY.search(str(error)))


def kind_of(error: BaseException) -> str:
    """What to count an error as: its class, or for a reply that has none of its own, the reply's code: `NOREPLICAS`."""
    code = _TRANSIENT_REPLY.search(str(error)) if isinstance(error, exceptions.ResponseError) else None
    return code.group(1) if code else type(error).__name__


def describe(error: BaseException) -> str:
    """One line for a message or a log: class and text, without the command's values."""
    text = _QUOTED_COMMAND.sub(r"command \1 of the pipeline: ", str(error)).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
