"""PURE  What one setting may be: each rule reads a text strictly, or refuses it and says what it expects.

A rule is the only place that knows its type's spelling; the settings model attaches rules to its fields, and the
configuration table in the documentation prints what `describe` says.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

from pydantic import SecretStr

from infra.contract import HOST, SAFE_MASTER_NAME, Endpoint
from infra.password_strength import ENOUGH_BITS, guessing_bits

# Longer runs of digits are out of every range; int() itself refuses a text of thousands of digits.
WHOLE_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
SIZE = re.compile(r"([1-9][0-9]{0,8})(kb|mb|gb)")
UNIT_BYTES = {"kb": 1024, "mb": 1024**2, "gb": 1024**3}


class Refused(Exception):
    """A text breaks a rule. `suggestion` is the nearest text that the rule accepts, where there is one."""

    def __init__(self, expected: str, suggestion: str | None = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.suggestion = suggestion


class Guessable(Refused):
    """A password that may have been good enough once: it may stay until the one that replaces it is in use."""


class Rule(Protocol):
    """Reads one kind of value."""

    kind: str
    """The type's name in the documentation."""

    def read(self, text: str) -> object:
        """The value that `text` spells. Raises Refused; never shows `text`, which may be a secret."""

    def describe(self) -> str:
        """What the rule accepts, for the documentation."""


@dataclass(frozen=True)
class Whole:
    """A whole number in plain decimal digits. `reason` is shown when the range itself is what surprises."""

    minimum: int
    maximum: int
    reason: str = ""
    kind = "whole number"

    def read(self, text: str) -> int:
        if not WHOLE_NUMBER.fullmatch(text):
            raise Refused(self._expected())
        value = int(text)
        if not self.minimum <= value <= self.maximum:
            raise Refused(self._expected(), str(max(self.minimum, min(value, self.maximum))))
        return value

    def describe(self) -> str:
        return f"{self.minimum} to {self.maximum}" + (f"; {self.reason}" if self.reason else "")

    def _expected(self) -> str:
        return f"a whole number from {self.describe()}"


@dataclass(frozen=True)
class SentinelCount:
    """How many Sentinels: an odd number that can form a majority after a loss."""

    kind = "whole number"
    allowed = (3, 5, 7)

    def read(self, text: str) -> int:
        if not WHOLE_NUMBER.fullmatch(text):
            raise Refused("3, 5 or 7")
        value = int(text)
        if value < 3:
            raise Refused("at least 3 Sentinels (3, 5 or 7): fewer have no majority left once one is lost", "3")
        if value > 7:
            raise Refused("at most 7 Sentinels (3, 5 or 7): more only slow the vote down", "7")
        if value % 2 == 0:
            odd = "an odd number of Sentinels (3, 5 or 7): an even one survives no more losses and can split in halves"
            raise Refused(odd, str(value - 1))
        return value

    def describe(self) -> str:
        return "3, 5 or 7"


@dataclass(frozen=True)
class OneOf:
    """One of a few words, spelled exactly."""

    words: tuple[str, ...]
    kind = "word"

    def read(self, text: str) -> str:
        if text in self.words:
            return text
        raise Refused(self.describe())

    def describe(self) -> str:
        return "one of " + ", ".join(self.words) if len(self.words) > 1 else self.words[0]


@dataclass(frozen=True)
class Flag:
    """true or false, nothing else: `yes`, `on` and `1` mean different things to different YAML readers."""

    kind = "boolean"

    def read(self, text: str) -> bool:
        if text in ("true", "false"):
            return text == "true"
        raise Refused(self.describe())

    def describe(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class MemorySize:
    """A size as Redis spells it (kb, mb and gb are powers of 1024), kept as text. The bounds are sizes too."""

    minimum: str
    maximum: str
    kind = "size"

    def read(self, text: str) -> str:
        if not SIZE.fullmatch(text):
            raise Refused(self.describe())
        if bytes_of(text) < bytes_of(self.minimum):
            raise Refused(self.describe(), self.minimum)
        if bytes_of(text) > bytes_of(self.maximum):
            raise Refused(self.describe())
        return text

    def describe(self) -> str:
        return f"a whole number and kb, mb or gb, at least {self.minimum}, at most {self.maximum}"


def bytes_of(size: str) -> int:
    """Bytes of a text that SIZE matches."""
    return int(size[:-2]) * UNIT_BYTES[size[-2:]]


@dataclass(frozen=True)
class BufferLimits:
    """What Redis' client-output-buffer-limit says, for some kinds of client or all; kept whole, in one spelling."""

    kind = "limits"
    defaults = "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60"
    spelling = re.compile(
        r"(normal|replica|pubsub) (0|[1-9][0-9]{0,8}(?:kb|mb|gb)?) (0|[1-9][0-9]{0,8}(?:kb|mb|gb)?) (0|[1-9][0-9]{0,5})"
    )

    def read(self, text: str) -> str:
        found = [match.groups() for match in self.spelling.finditer(text)]
        given = {kind: limits for kind, *limits in found}
        if not found or " ".join(" ".join(each) for each in found) != text or len(given) < len(found):
            raise Refused(self.describe())
        whole = {kind: limits for kind, *limits in self.spelling.findall(self.defaults)} | given
        return " ".join(f"{kind} {' '.join(limits)}" for kind, limits in whole.items())

    def describe(self) -> str:
        return f"normal, replica, pubsub, each once: its hard limit, soft limit and soft seconds; {self.defaults}"


@dataclass(frozen=True)
class KeyspaceEvents:
    """Redis' letters for notify-keyspace-events; empty for none."""

    kind = "letters"
    channels, classes = "KE", "g$lshzxetdmnA"

    def read(self, text: str) -> str:
        known = len(set(text)) == len(text) and not set(text) - set(self.channels + self.classes)
        if text and not (known and set(text) & set(self.channels) and set(text) & set(self.classes)):
            raise Refused(self.describe())
        return text

    def describe(self) -> str:
        return f"K (by key), E (by event) or both, and what is told of {self.classes}, each once: Ex; empty for none"


@dataclass(frozen=True)
class PinnedImage:
    """A container image that cannot change behind our back: by digest, or the id of one that the engine has."""

    kind = "image"
    spelling = re.compile(r"([A-Za-z0-9][\w./:-]*@)?sha256:[0-9a-f]{64}", re.ASCII)

    def read(self, text: str) -> str:
        if text and not self.spelling.fullmatch(text):
            raise Refused(self.describe())
        return text

    def describe(self) -> str:
        return "name@sha256:<digest>, or sha256:<id> of an image that the engine has (docker images --no-trunc)"


@dataclass(frozen=True)
class Subnet:
    """A private IPv4 network with room for every node in its lower half and for clients in its upper half."""

    kind = "network"

    def read(self, text: str) -> str:
        try:
            network = IPv4Network(text)
        except ValueError:
            raise Refused(self.describe()) from None
        if not network.is_private or not 16 <= network.prefixlen <= 24:
            raise Refused(self.describe())
        if str(network) != text:  # with a netmask, which the engine does not take
            raise Refused(self.describe(), str(network))
        return text

    def describe(self) -> str:
        return "a private IPv4 network of /16 to /24 without host bits, such as 10.201.7.0/24"


@dataclass(frozen=True)
class HostPort:
    """An address of the Docker host and a port of it; empty for none.

    Not every address at once: a certificate has to name it, and nobody should publish on a network by oversight.
    """

    kind = "address and port"

    def read(self, text: str) -> str:
        if not text:
            return text
        try:
            endpoint = Endpoint.parse(text)
            address = IPv4Address(endpoint.host)
        except ValueError:
            raise Refused(self.describe()) from None
        if str(endpoint) != text or address.is_unspecified or address.is_multicast or address.is_reserved:
            raise Refused(self.describe())
        return text

    def describe(self) -> str:
        return "an IPv4 address of the Docker host (not 0.0.0.0) and a port, such as 192.168.7.5:6379; empty for none"


@dataclass(frozen=True)
class GatewayAddress:
    """Another stack's gateway; empty for none. An address, since no name is resolved where connections pass."""

    kind = "address and port"

    def read(self, text: str) -> str:
        if not text:
            return text
        try:
            endpoint = Endpoint.parse(text)
            address = IPv4Address(endpoint.host)
        except ValueError:
            raise Refused(self.describe()) from None
        if str(endpoint) != text or address.is_unspecified or address.is_multicast:
            raise Refused(self.describe())
        return text

    def describe(self) -> str:
        return "an IPv4 address and a port, such as 10.0.0.5:6379; empty for none"


@dataclass(frozen=True)
class HostNames:
    """A list of host names and addresses, as JSON, for certificates."""

    kind = "list of names"

    def read(self, text: str) -> tuple[str, ...]:
        try:
            items = json.loads(text)
        except (ValueError, RecursionError):
            raise Refused(self.describe()) from None
        if not isinstance(items, list) or not all(isinstance(item, str) and HOST.fullmatch(item) for item in items):
            raise Refused(self.describe())
        if len(set(items)) < len(items):
            raise Refused(f"{self.describe()}, each once", json.dumps(list(dict.fromkeys(items))))
        return tuple(items)

    def describe(self) -> str:
        return 'a list of host names or addresses, such as ["redis.example.com", "10.0.0.5"]'


@dataclass(frozen=True)
class EngineAddress:
    """Where a Docker engine listens; empty for this machine's."""

    kind = "address"

    def read(self, text: str) -> str:
        if text and not re.fullmatch(r"(unix:///|ssh://|tcp://)[\w@.:/\[\]-]+", text, re.ASCII):
            raise Refused(self.describe())
        return text

    def describe(self) -> str:
        return "unix:///path, ssh://user@host or tcp://host:port; empty for what DOCKER_HOST or the default says"


@dataclass(frozen=True)
class Word:
    """A name in some other system, which knows whether it exists; empty for none."""

    kind = "name"

    def read(self, text: str) -> str:
        if text and not re.fullmatch(r"[A-Za-z0-9][\w.@:/-]{0,252}", text, re.ASCII):
            raise Refused(self.describe())
        return text

    def describe(self) -> str:
        return "letters, digits and . @ : / _ -, a letter or digit first; empty for none"


@dataclass(frozen=True)
class FilePath:
    """A file of this machine; empty for none. Whether it is there shows when it is read."""

    kind = "path"

    def read(self, text: str) -> str:
        if text and not re.fullmatch(r"[/~.\w][^\x00-\x1f]{0,1023}", text):
            raise Refused(self.describe())
        return text

    def describe(self) -> str:
        return "a path; empty for the default"


def kubernetes_label(text: str) -> str:
    """The text as a label that Kubernetes takes."""
    return re.sub("[^a-z0-9-]+", "-", text.lower()).strip("-")[:63].strip("-")


@dataclass(frozen=True)
class KubernetesName:
    """A name as Kubernetes takes it for a namespace (RFC 1123 label)."""

    kind = "name"
    spelling = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

    def read(self, text: str) -> str:
        if not self.spelling.fullmatch(text):
            raise Refused(self.describe(), kubernetes_label(text) or None)
        return text

    def describe(self) -> str:
        return "lower case letters, digits and '-', a letter or digit first and last, at most 63"


@dataclass(frozen=True)
class StorageSize:
    """A volume's size as Kubernetes spells it."""

    kind = "size"

    def read(self, text: str) -> str:
        if not re.fullmatch(r"[1-9][0-9]{0,5}(Mi|Gi|Ti)", text):
            raise Refused(self.describe())
        return text

    def describe(self) -> str:
        return "a whole number and Mi, Gi or Ti, such as 10Gi"


@dataclass(frozen=True)
class Pods:
    """A list of namespaces, each with labels where only some of its pods are meant, as JSON."""

    kind = "list of pods"
    label = r"[A-Za-z0-9][\w./-]{0,252}=[A-Za-z0-9][\w.-]{0,62}"
    spelling = re.compile(rf"[a-z0-9]([a-z0-9-]{{0,61}}[a-z0-9])?(:{label}(,{label})*)?", re.ASCII)

    def read(self, text: str) -> tuple[str, ...]:
        try:
            items = json.loads(text)
        except (ValueError, RecursionError):
            raise Refused(self.describe()) from None
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise Refused(self.describe())
        for item in items:
            if not self.spelling.fullmatch(item):
                raise Refused(f"{self.describe()}; {item[:60]!r} is none")
        return tuple(dict.fromkeys(items))

    def describe(self) -> str:
        return 'a list of namespaces, with labels if only some pods are meant: ["shop", "tools:app=cron,tier=batch"]'


@dataclass(frozen=True)
class Namespaces(Pods):
    """A list of namespaces, as JSON."""

    kind = "list of namespaces"
    spelling = KubernetesName.spelling

    def describe(self) -> str:
        return 'a list of namespaces, such as ["shop", "billing"]'


@dataclass(frozen=True)
class MasterName:
    """A name that is safe in every file, command and variable it ends up in."""

    kind = "name"

    def read(self, text: str) -> str:
        if not SAFE_MASTER_NAME.fullmatch(text):
            raise Refused(self.describe())
        return text

    def describe(self) -> str:
        return "letters, digits, '.', '_' or '-', a letter or digit first, at most 63, no white space"


@dataclass(frozen=True)
class Networks:
    """A list of IPv4 networks, as JSON: what Pulumi makes of a YAML list. Kept as canonical texts."""

    kind = "list of networks"

    def read(self, text: str) -> tuple[str, ...]:
        items = self._items(text)
        networks = [self._network(item) for item in items]
        meant = json.dumps(list(dict.fromkeys(str(network) for network in networks if network)))
        for item, network in zip(items, networks, strict=True):
            if network is None:
                hint = ": nodes have no IPv6 address" if ":" in item else ""
                raise Refused(f"{self.describe()}; {item[:40]!r} is none{hint}")
            if str(network) != item:
                raise Refused(f"{self.describe()}; for {item[:40]!r} write {network}", meant)
        if len(set(items)) < len(items):
            raise Refused(f"{self.describe()}, each once", meant)
        return tuple(items)

    def describe(self) -> str:
        return 'a list of IPv4 networks without host bits, such as ["10.0.0.0/8", "192.168.7.5/32"]'

    def _items(self, text: str) -> list[str]:
        try:
            items = json.loads(text)
        except (ValueError, RecursionError):
            raise Refused(self.describe()) from None
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise Refused(self.describe())
        return items

    def _network(self, item: str) -> IPv4Network | None:
        try:
            return IPv4Network(item, strict=False)
        except ValueError:
            return None


@dataclass(frozen=True)
class Pem:
    """A text in PEM form; empty when there is none. `label`: what it holds. Whether it serves shows later."""

    label: str
    kind = "PEM"

    def read(self, text: str) -> str:
        body = text.strip()
        begin, end = rf"-----BEGIN ([A-Z]+ )?{self.label}-----", rf"-----END ([A-Z]+ )?{self.label}-----"
        if body and not re.fullmatch(rf"{begin}[\sA-Za-z0-9+/=]+{end}", body):
            raise Refused(self.describe())
        return body and body + "\n"

    def describe(self) -> str:
        return f"one {self.label.lower()} in PEM form; empty for none"


@dataclass(frozen=True)
class PrivateKey:
    """A private key in PEM form, a secret; empty when there is none."""

    kind = "secret"
    pem = Pem("PRIVATE KEY")

    def read(self, text: str) -> SecretStr:
        return SecretStr(self.pem.read(text))

    def describe(self) -> str:
        return self.pem.describe()


@dataclass(frozen=True)
class Password:
    """A password that passes unchanged through shells and configuration files, and that is not a known default."""

    strong: bool = True
    """Whether it has to be hard to guess; not the one that is on its way out."""

    kind = "secret"
    shortest = 16
    longest = 128
    spelling = "printable ASCII without white space, quotes, backticks, backslash, '#' or '$'"
    # What is left out means something in a shell, in redis.conf or in users.acl.
    allowed = re.compile(r"""[!%&()*+,\-./0-9:;<=>?@A-Z\[\]^_a-z{|}~]*""")
    known = re.compile(
        r"(?:password|passw|passwd|pass|change|me|redis|sentinel|valkey|secret|default|admin|foobared"
        r"|letmein|welcome|master|replica|operator|monitor|example|test|qwerty|qwertyuiop|abcdefghijklmnopqrstuvwxyz"
        r"|abcdef|app|user|my|the|dev|staging|prod)+"
    )
    longest_pattern = 10

    def read(self, text: str) -> SecretStr:
        if not self.shortest <= len(text) <= self.longest:
            raise Refused(f"{self.shortest} to {self.longest} characters")
        if not self.allowed.fullmatch(text):
            raise Refused(self.spelling)
        hard = "a password that nobody guesses: no known default, no word or pattern repeated"
        if self._known_or_repeated(text):
            raise Refused(hard)
        if self.strong and guessing_bits(text) < ENOUGH_BITS:
            raise Guessable(f"{hard}, no words, names and dates alone; best a generated one")
        return SecretStr(text)

    def describe(self) -> str:
        return (
            f"{self.shortest} to {self.longest} characters of {self.spelling}; no known default, no word or pattern "
            "repeated, no words, names and dates alone; different from the others"
        )

    def _known_or_repeated(self, text: str) -> bool:
        repeated = any(text == (text[:n] * len(text))[: len(text)] for n in range(1, self.longest_pattern + 1))
        letters = re.sub("[^a-z]", "", text.lower())
        return repeated or text.lower() in "0123456789abcdef" * 2 or bool(self.known.fullmatch(letters))


@dataclass(frozen=True)
class SecondPassword(Password):
    """A password like the others, or none."""

    def read(self, text: str) -> SecretStr:
        return super().read(text) if text else SecretStr("")

    def describe(self) -> str:
        return "like the user's password, or absent"
