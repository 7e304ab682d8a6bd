"""PURE  The contract between a deployment and whoever uses it: Contract <-> REDIS_* variables.

`Contract` is what an application gets. `OperatorContract` adds what operators and the smoke tests need: the declared
nodes and the other users' passwords. Both are plain KEY=VALUE pairs, so that a shell, a container and a stack output
can carry them alike.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, SecretStr

from infra.problems import ConfigurationError, Problem

SAFE_MASTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
# Bounded: int() refuses a text of thousands of digits.
PORT = re.compile(r"[1-9][0-9]{0,4}")
COUNT = re.compile(r"[1-9][0-9]{0,8}")
DATABASE = re.compile(r"0|[1-9][0-9]{0,8}")
MINIMUM_SENTINELS = 3

T = TypeVar("T")

# The users whose passwords the operator's contract carries besides `app`.
OPERATOR_USERS = ("replica", "sentinel", "monitor", "operator")


@dataclass(frozen=True, order=True)
class Endpoint:
    """A TCP address: host (name or address, IPv6 in brackets) and port (1-65535)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """`host:port`, white space around it tolerated. Raises ValueError with what is expected."""
        host, colon, port = text.strip().rpartition(":")
        if not colon or not HOST.fullmatch(host):
            raise ValueError("host:port, such as 10.0.0.5:26379")
        if not PORT.fullmatch(port) or int(port) > 65535:
            raise ValueError("a port from 1 to 65535")
        return cls(host, int(port))


@dataclass(frozen=True)
class NodeAddress:
    """A declared data node: its name in the topology and where it listens."""

    name: str
    endpoint: Endpoint

    def __str__(self) -> str:
        return f"{self.name}={self.endpoint}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """`name=host:port`. Raises ValueError with what is expected."""
        name, equals, endpoint = text.strip().partition("=")
        if not equals or not SAFE_MASTER_NAME.fullmatch(name):
            raise ValueError("name=host:port, such as data-0=10.0.0.5:6379")
        return cls(name, Endpoint.parse(endpoint))


class Contract(BaseModel):
    """How an application reaches this Redis. `host`/`port` is the standalone address, valid in both modes.

    `db` is the application's choice: a deployment always names 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    sentinel_enabled: bool
    master_name: str
    sentinels: tuple[Endpoint, ...]
    username: str
    password: SecretStr
    sentinel_username: str
    sentinel_password: SecretStr
    tls: bool
    tls_ca_file: Path | None
    host: str
    port: int
    db: int = 0

    @property
    def standalone(self) -> Endpoint:
        return Endpoint(self.host, self.port)

    def to_env(self) -> dict[str, str]:
        """The REDIS_* variables, passwords in the clear: for an environment or a 0600 file, never for a log."""
        return {
            "REDIS_SENTINEL_ENABLED": _boolean(self.sentinel_enabled),
            "REDIS_SENTINEL_MASTER_NAME": self.master_name,
            "REDIS_SENTINELS": ",".join(map(str, self.sentinels)),
            "REDIS_USERNAME": self.username,
            "REDIS_PASSWORD": self.password.get_secret_value(),
            "REDIS_SENTINEL_USERNAME": self.sentinel_username,
            "REDIS_SENTINEL_PASSWORD": self.sentinel_password.get_secret_value(),
            "REDIS_TLS": _boolean(self.tls),
            "REDIS_TLS_CA_FILE": str(self.tls_ca_file or ""),
            "REDIS_HOST": self.host,
            "REDIS_PORT": str(self.port),
            "REDIS_DB": str(self.db),
        }

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, stack: str = "") -> Self:
        """Parse and validate REDIS_* variables. Raises ConfigurationError with every problem found."""
        reader = _Reader(env)
        fields = cls._fields(reader)
        if reader.problems:
            raise ConfigurationError(stack or env.get("REDIS_STACK", "unknown"), reader.problems)
        return cls.model_validate(fields)

    @classmethod
    def _fields(cls, reader: _Reader) -> dict[str, object]:
        enabled = reader.boolean("REDIS_SENTINEL_ENABLED")
        tls = reader.boolean("REDIS_TLS", default="false")
        endpoint = Endpoint.parse
        return {
            "sentinel_enabled": enabled,
            "master_name": reader.master_name() if enabled else reader.text("REDIS_SENTINEL_MASTER_NAME", ""),
            "sentinels": reader.sentinels(endpoint) if enabled else (),
            "username": reader.text("REDIS_USERNAME", "default"),
            "password": reader.secret("REDIS_PASSWORD"),
            "sentinel_username": reader.text("REDIS_SENTINEL_USERNAME", "default"),
            "sentinel_password": reader.secret("REDIS_SENTINEL_PASSWORD") if enabled else SecretStr(""),
            "tls": tls,
            "tls_ca_file": reader.ca_file() if tls else None,
            "host": reader.host(),
            "port": reader.port(),
            "db": reader.database(),
        }


class OperatorContract(Contract):
    """The contract of those who run the deployment: declared nodes, quorum, every user's password."""

    stack: str
    nodes: tuple[NodeAddress, ...]
    quorum: int
    down_after_ms: int
    users: dict[str, SecretStr]
    min_replicas_to_write: int | None = None
    """None: made by a release that did not tell."""

    def application(self, *, standalone: bool = False) -> Contract:
        """Only what an application may know. `standalone`: that it shall not ask Sentinels, whatever there is."""
        known = {name: getattr(self, name) for name in Contract.model_fields}
        return Contract(**(known | ({"sentinel_enabled": False} if standalone else {})))

    def to_env(self) -> dict[str, str]:
        known = self.min_replicas_to_write
        return super().to_env() | {
            "REDIS_STACK": self.stack,
            "REDIS_NODES": ",".join(map(str, self.nodes)),
            "REDIS_SENTINEL_QUORUM": str(self.quorum),
            "REDIS_DOWN_AFTER_MS": str(self.down_after_ms),
            **({} if known is None else {"REDIS_MIN_REPLICAS_TO_WRITE": str(known)}),
            **{_user_key(name): secret.get_secret_value() for name, secret in self.users.items()},
        }

    @classmethod
    def _fields(cls, reader: _Reader) -> dict[str, object]:
        return super()._fields(reader) | {
            "stack": reader.text("REDIS_STACK"),
            "nodes": reader.items("REDIS_NODES", NodeAddress.parse, "name=host:port, at least one"),
            "quorum": reader.number("REDIS_SENTINEL_QUORUM"),
            "down_after_ms": reader.number("REDIS_DOWN_AFTER_MS"),
            "min_replicas_to_write": reader.optional_number("REDIS_MIN_REPLICAS_TO_WRITE"),
            "users": {name: reader.secret(_user_key(name)) for name in OPERATOR_USERS},
        }


def render_env(env: Mapping[str, str]) -> str:
    """KEY=VALUE lines that `set -a; . FILE` reads back exactly."""
    return "".join(f"{key}={shlex.quote(value)}\n" for key, value in env.items())


def _user_key(name: str) -> str:
    return f"REDIS_USER_{name.upper()}_PASSWORD"


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _without_credentials(address: str) -> str:
    """An address as it may be shown: whoever pastes a URL into it pastes a password too."""
    _, at, host = address.rpartition("@")
    return repr(f"...@{host}") if at else repr(address)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, a folder that may not be entered
        return False


class _Reader:
    """Reads variables one by one and keeps every problem, so that the user sees them in one go."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.problems: list[Problem] = []

    def _problem(self, key: str, found: str, expected: str) -> None:
        remedy = f"set {key} to what `make -s env STACK=...` prints"
        self.problems.append(Problem(key, found, expected, remedy))

    def text(self, key: str, default: str | None = None) -> str:
        value = self._env.get(key, "").strip()
        if value:
            return value
        if default is None:
            self._problem(key, "nothing", "a value")
        return default or ""

    def secret(self, key: str) -> SecretStr:
        if not self._env.get(key):
            self._problem(key, "nothing", "a password")
        return SecretStr(self._env.get(key, ""))

    def boolean(self, key: str, default: str | None = None) -> bool:
        value = self.text(key, default).lower()
        if value not in ("true", "false", ""):
            self._problem(key, repr(value), "true or false")
        return value == "true"

    def optional_number(self, key: str) -> int | None:
        value = self.text(key, "")
        return int(value) if value == "0" else self.number(key) if value else None

    def number(self, key: str) -> int:
        value = self.text(key)
        if COUNT.fullmatch(value):
            return int(value)
        if value:
            self._problem(key, repr(value), "a whole number above 0")
        return 0

    def master_name(self) -> str:
        key = "REDIS_SENTINEL_MASTER_NAME"
        value = self.text(key)
        if value and not SAFE_MASTER_NAME.fullmatch(value):
            self._problem(key, repr(value), "letters, digits, '.', '_' or '-', at most 63, no white space")
        return value

    def items(self, key: str, parse: Callable[[str], T], expected: str) -> tuple[T, ...]:
        parsed: list[T] = []
        before = len(self.problems)
        for item in self.text(key).split(","):
            if not item.strip():
                continue
            try:
                parsed.append(parse(item))
            except ValueError as error:
                self._problem(key, _without_credentials(item.strip()), str(error))
        if not parsed and self._env.get(key, "").strip() and len(self.problems) == before:
            self._problem(key, repr(self._env[key]), expected)
        return tuple(parsed)

    def sentinels(self, parse: Callable[[str], Endpoint]) -> tuple[Endpoint, ...]:
        key = "REDIS_SENTINELS"
        before = len(self.problems)
        found = self.items(key, parse, f"at least {MINIMUM_SENTINELS} addresses, host:port,host:port,...")
        if len(self.problems) > before:
            return found
        if len(set(found)) < MINIMUM_SENTINELS:
            expected = f"at least {MINIMUM_SENTINELS} different addresses, host:port,host:port,..."
            self._problem(key, f"{len(set(found))} different", expected)
        return found

    def host(self) -> str:
        value = self.text("REDIS_HOST")
        if value and not HOST.fullmatch(value):
            self._problem("REDIS_HOST", _without_credentials(value), "a host name or address, without a port")
        return value

    def port(self) -> int:
        value = self.text("REDIS_PORT")
        if PORT.fullmatch(value) and int(value) <= 65535:
            return int(value)
        if value:
            self._problem("REDIS_PORT", repr(value), "a port from 1 to 65535")
        return 0

    def database(self) -> int:
        value = self.text("REDIS_DB", "0")
        if DATABASE.fullmatch(value):
            return int(value)
        self._problem("REDIS_DB", repr(value), "a database's number, 0 or above")
        return 0

    def ca_file(self) -> Path | None:
        value = self.text("REDIS_TLS_CA_FILE", "")
        if not value:
            # Any of the system's hundred could vouch for a node then, and nobody would have said so.
            expected = "the file with the CA's certificate; the system's own file, if a public CA signed this Redis'"
            self._problem("REDIS_TLS_CA_FILE", "nothing", expected)
        elif not _is_file(Path(value)):
            self._problem("REDIS_TLS_CA_FILE", repr(value), "a readable file with the CA's certificate")
        return Path(value) if value else None
