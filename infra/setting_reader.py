"""PURE  Reads one stack's texts by the rules of its options; keeps the good values and every problem."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from infra.problems import Problem
from infra.setting_checks import CHECKS, Conflict
from infra.setting_rules import Guessable, Password, Pem, PrivateKey, Refused, Rule

PROJECT = "redis-sentinel"
# The stack whose passphrase and secrets `make` owns; its plain settings are edited in its committed file.
DEV_STACK = "dev"


@dataclass(frozen=True)
class Derived:
    """A default that depends on the stack or on other settings. `text` says how; None when those are themselves bad."""

    text: str
    compute: Callable[[str, Mapping[str, Any]], str | None]


@dataclass(frozen=True)
class Option:
    """One setting as its user sees it."""

    field: str
    key: str
    rule: Rule
    description: str
    default: str | None
    derived: Derived | None
    example: str | None

    @property
    def secret(self) -> bool:
        return isinstance(self.rule, Password | PrivateKey)

    @property
    def from_file(self) -> bool:
        """Whether its value has lines, so that it is set from a file."""
        return isinstance(self.rule, Pem | PrivateKey)


@dataclass(frozen=True)
class DevFiles:
    """Where the dev stack's settings are: a file that its user edits, with these keys, and make's own copy of it, which
    has the secrets besides."""

    edited: str = f"Pulumi.{DEV_STACK}.yaml"
    copy: str = f".state/{DEV_STACK}/Pulumi.{DEV_STACK}.yaml"
    edited_keys: frozenset[str] = frozenset()


class Reader:
    """`values` (by field) and `problems` of one stack after `read_all`."""

    def __init__(
        self,
        stack: str,
        raw: Mapping[str, str],
        secret_keys: Collection[str] | None,
        options: Sequence[Option],
        dev_files: DevFiles,
    ) -> None:
        self._stack = stack
        self._raw = raw
        self._secret_keys = secret_keys
        self._options = options
        self._remedy = _Remedy(stack, dev_files)
        self.values: dict[str, Any] = {}
        self.problems: list[Problem] = []

    def read_all(self) -> None:
        """Read every option in order (a derived default may use those before it), then what only shows across them."""
        for option in self._options:
            self._read(option)
        self._check_passwords_differ()
        self._check_conflicts()
        self._check_unknown_keys()

    def _read(self, option: Option) -> None:
        text = self._raw.get(option.key, self._default(option))
        if text is None:
            self._missing(option)
            return
        if text and option.key in self._raw and option.secret and not self._encrypted(option.key):
            found = f"a secret of {len(text)} characters, stored in the clear"
            self._problem(option.key, found, "an encrypted value", self._remedy.encrypt(option.key))
        try:
            self.values[option.field] = option.rule.read(text)
        except Guessable as guessable:
            if self._raw.get(f"{option.key}Next"):
                self.values[option.field] = SecretStr(text)  # a rotation is what replaces it
            else:
                self._refused(option, text, guessable)
        except Refused as refused:
            self._refused(option, text, refused)

    def _check_passwords_differ(self) -> None:
        first: dict[str, str] = {}
        for option in self._options:
            if isinstance(option.rule, Password) and option.field in self.values:
                password = self.values[option.field].get_secret_value()
                other = first.setdefault(password, option.key)
                if password and other != option.key:
                    found = f"the same secret as {other}"
                    self._problem(option.key, found, "a password of its own", self._remedy.secret(option.key))

    def _check_conflicts(self) -> None:
        for fields, check in CHECKS:
            if all(field in self.values for field in fields):
                conflict = check(**{field: self.values[field] for field in fields})
                if conflict:
                    self._conflict(next(each for each in self._options if each.field == conflict.field), conflict)

    def _conflict(self, option: Option, conflict: Conflict) -> None:
        text = self._raw.get(option.key, "")
        if option.from_file:
            found, remedy = _size(text), self._remedy.from_file(option)
        else:
            found = self._found(option.key, str(self.values[option.field]))
            remedy = self._remedy.set(option.key, conflict.suggestion)
        self._problem(option.key, found, conflict.expected, remedy)

    def _check_unknown_keys(self) -> None:
        known = {option.key.lower(): option for option in self._options}
        for key in sorted(self._raw.keys() - {option.key for option in self._options}):
            near = difflib.get_close_matches(key.lower(), known, n=1)
            if near:
                meant = known[near[0]]
                expected, remedy = f"a known key; did you mean {meant.key}?", self._remedy.rename(key, meant)
            else:
                names = ", ".join(option.key for option in self._options)
                expected, remedy = f"one of {names}", self._remedy.remove(key)
            # The value stays unseen: under a misspelled key it may be a password.
            self._problem(_printable(key), "an unknown key", expected, remedy)

    def _default(self, option: Option) -> str | None:
        return option.derived.compute(self._stack, self.values) if option.derived else option.default

    def _missing(self, option: Option) -> None:
        if option.secret:
            self._problem(option.key, "nothing", "an encrypted password", self._remedy.missing_secret())
        elif not option.derived:
            remedy = self._remedy.set(option.key, option.example)
            self._problem(option.key, "nothing", option.rule.describe(), remedy)

    def _refused(self, option: Option, text: str, refused: Refused) -> None:
        if option.from_file:
            found, remedy = _size(text), self._remedy.from_file(option)
        elif option.secret:
            found, remedy = f"a secret of {len(text)} characters", self._remedy.secret(option.key)
            if isinstance(refused, Guessable):
                remedy += f"; of a deployment that is up: {self._remedy.rotate()}"
        else:
            found, remedy = self._found(option.key, text), self._remedy.set(option.key, self._suggest(option, refused))
        surrounded = text != text.strip() and not option.secret and "white space" not in refused.expected
        expected = refused.expected + (", without white space around it" if surrounded else "")
        self._problem(option.key, found, expected, remedy)

    def _suggest(self, option: Option, refused: Refused) -> str | None:
        """A text that the rule accepts, as near as possible to what the user wrote."""
        written = self._raw.get(option.key, "").strip().lower()
        derived = self._default(option) if option.derived else None
        candidates = (derived, refused.suggestion, written, option.default)
        return next((text for text in candidates if text is not None and _accepts(option.rule, text)), option.example)

    def _found(self, key: str, text: str) -> str:
        if self._secret_keys and key in self._secret_keys:
            return f"a secret of {len(text)} characters"
        return _short(text) if key in self._raw else f"the default {_short(text)}"

    def _encrypted(self, key: str) -> bool:
        return self._secret_keys is None or key in self._secret_keys

    def _problem(self, key: str, found: str, expected: str, remedy: str) -> None:
        self.problems.append(Problem(key, found, expected, remedy))


def _accepts(rule: Rule, text: str) -> bool:
    try:
        rule.read(text)
    except Refused:
        return False
    return True


def _short(text: str, longest: int = 60) -> str:
    """A text as the user can see it, white space and control characters included."""
    return repr(text if len(text) <= longest else text[:longest] + "...")


def _size(text: str) -> str:
    return f"a text of {len(text)} characters" if text else "nothing"


def _printable(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9._-]+", key) else repr(key)


class _Remedy:
    """The command or edit that fixes a setting of one stack."""

    def __init__(self, stack: str, dev_files: DevFiles) -> None:
        self._stack = shlex.quote(stack)
        self._dev = dev_files
        self._file = dev_files.edited if stack == DEV_STACK else None

    def set(self, key: str, value: str | None) -> str:
        if self._file:
            return f"set `{PROJECT}:{key}: {value or '...'}` in {self._file}"
        return f"`pulumi config set {key} {shlex.quote(value or '...')} --stack {self._stack}`"

    def missing_secret(self) -> str:
        return f"`make secrets STACK={self._stack}`"

    def secret(self, key: str) -> str:
        """Another password for a key that has one. Pulumi asks for it: a password never goes on a command line."""
        if self._file and key in self._dev.edited_keys:
            return f"{self.remove(key)}, then {self.missing_secret()}"
        if self._file:
            return f"`make pulumi ARGS='config rm {key}'` (it is in {self._dev.copy}), then {self.missing_secret()}"
        return f"`pulumi config set --secret {key} --stack {self._stack}`"

    def rotate(self) -> str:
        """The way to other passwords of a deployment that runs."""
        return f"`make rotate STACK={self._stack}`"

    def from_file(self, option: Option) -> str:
        secret = "--secret " if option.secret else ""
        if self._file:
            if not option.secret:
                return f"set `{PROJECT}:{option.key}: |`, the text indented below it, in {self._file}"
            return f"`make pulumi ARGS='config set {secret}{option.key}' <FILE`"
        return f"`pulumi config set {secret}{option.key} --stack {self._stack} <FILE`"

    def encrypt(self, key: str) -> str:
        return f"{self.secret(key)}; choose a new password, the stored one has been seen"

    def remove(self, key: str) -> str:
        if self._file:
            return f"remove `{PROJECT}:{_printable(key)}` from {self._file}"
        return f"`pulumi config rm {shlex.quote(key)} --stack {self._stack}`"

    def rename(self, key: str, meant: Option) -> str:
        """Secrets are set anew: the one under the wrong key may be stored in the clear."""
        return f"{self.remove(key)}, then {self.missing_secret() if meant.secret else self.set(meant.key, None)}"
