"""The dynamic providers of the stack's certificates, the same for every target.

Why dynamic resources: a certificate must be the same at every `up` until a third of its life is left, so it has to be
remembered, and its private key must be remembered nowhere but encrypted in Pulumi's state. The engine asks `diff` at
every `up`, and `diff` looks at the clock; nothing else depends on it, so an `up` in between does nothing.

The outputs `key`, `successor_key` have no input of their name and would be stored in the clear: whoever declares these
resources must list SECRET_OUTPUTS in `additional_secret_outputs`. During a preview an input may be unknown.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pulumi.dynamic import CreateResult, DiffResult, ReadResult, ResourceProvider, UpdateResult

from infra import certificates
from infra.certificates import Authority, KeyPair
from infra.private_folders import private_folder

SECRET_OUTPUTS = ["key", "successor_key"]


class AuthorityProvider(ResourceProvider):
    """Inputs: stack, own_certificate, own_key (secret; both empty: one is made), generation.

    Outputs: certificate, key, own, successor_certificate, successor_key, own_successor, retired, made (the generation),
    settled (no step is left), trust. States from before some of them were there lack them.
    """

    def create(self, props: dict[str, Any]) -> CreateResult:
        made = certificates.first_authority(props["stack"], _own(props), certificates.utc_now(), _generation(props))
        return CreateResult(id_="authority", outs=_inputs(props) | _outputs(made))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=_next(olds, news) != _authority(olds))

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(outs=_inputs(news) | _outputs(_next(olds, news)))


class CertificateProvider(ResourceProvider):
    """Inputs: names, days, ca_certificate, ca_key (secret). Outputs: certificate, key (PEM)."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(id_=props["names"][0], outs=self._issue(props))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        other = any(olds.get(key) != news.get(key) for key in ("names", "days"))
        # An authority that was renewed with its key vouches for what it signed before.
        signer = not certificates.same_key(olds["ca_certificate"], news["ca_certificate"])
        return DiffResult(changes=other or signer or certificates.is_due(olds["certificate"], certificates.utc_now()))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(outs=self._issue(news))

    def _issue(self, props: dict[str, Any]) -> dict[str, Any]:
        authority = KeyPair(props["ca_certificate"], props["ca_key"])
        issued = certificates.issue(authority, props["names"], int(props["days"]), certificates.utc_now())
        return _inputs(props) | {"certificate": issued.certificate, "key": issued.key}


class CaFileProvider(ResourceProvider):
    """The trusted certificates as a file of this machine, for its clients. Inputs: path, text."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        self._write(props)
        return CreateResult(id_=props["path"], outs=props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        # On another machine, or where somebody deleted it, the next `up --refresh` writes it.
        return ReadResult(id_=id_ if Path(id_).is_file() else "", outs=props)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = [key for key in ("path", "text") if olds.get(key) != news.get(key)]
        return DiffResult(changes=bool(changed), replaces=[key for key in changed if key == "path"])

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        self._write(news)
        return UpdateResult(outs=news)

    def delete(self, id_: str, _props: dict[str, Any]) -> None:
        Path(id_).unlink(missing_ok=True)

    def _write(self, props: dict[str, Any]) -> None:
        path = Path(props["path"])
        private_folder(path.parent)
        new = path.with_name(path.name + ".new")
        new.unlink(missing_ok=True)
        # Whoever could write it would decide whom clients trust.
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(props["text"])
        new.replace(path)


def _next(olds: dict[str, Any], news: dict[str, Any]) -> Authority:
    now = certificates.utc_now()
    return certificates.next_authority(_authority(olds), news["stack"], _own(news), now, _generation(news))


def _own(props: dict[str, Any]) -> KeyPair | None:
    return KeyPair(props["own_certificate"], props["own_key"]) if props["own_certificate"] else None


def _generation(props: dict[str, Any]) -> int:
    return int(props.get("generation") or 0)  # the engine has floats


def _authority(outs: dict[str, Any]) -> Authority:
    successor = KeyPair(outs["successor_certificate"], outs["successor_key"]) if outs["successor_certificate"] else None
    return Authority(
        KeyPair(outs["certificate"], outs["key"]),
        outs["own"],
        successor,
        outs["retired"],
        bool(outs.get("own_successor")),
        int(outs.get("made") or 0),
    )


def _outputs(authority: Authority) -> dict[str, Any]:
    return {
        "certificate": authority.signer.certificate,
        "key": authority.signer.key,
        "own": authority.own,
        "successor_certificate": authority.successor.certificate if authority.successor else "",
        "successor_key": authority.successor.key if authority.successor else "",
        "own_successor": authority.own_successor,
        "retired": authority.retired,
        "made": authority.generation,
        "settled": not (authority.successor or authority.retired),
        "trust": authority.trust,
    }


def _inputs(props: dict[str, Any]) -> dict[str, Any]:
    names = ("stack", "own_certificate", "own_key", "generation", "names", "days", "ca_certificate", "ca_key")
    return {name: props[name] for name in names if name in props}
