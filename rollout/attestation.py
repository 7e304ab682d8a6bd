"""PURE  An entry <-> an in-toto statement about the release's commit, in a signed DSSE envelope.

Other tools read the standard part: the commit is the subject, and a step that leaves evidence is a test result. Nothing
here says whose signature counts; rollout/signatures.py does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signer

from rollout.entries import Entry, canonical

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
ENTRY = "urn:redis-sentinel-provisioned:rollout-entry:v1"
# A step's evidence is a test's result; to deploy or to move clients is none.
_TESTS = ("preflight", "preview", "smoke", "teeth", "faults", "rehearsal", "failover", "soak", "monitoring")
_RESULTS = {"pass": "PASSED", "inconclusive": "WARNED"}
_LISTS = {"PASSED": "passedTests", "WARNED": "warnedTests", "FAILED": "failedTests"}
# What parsing somebody's JSON as an envelope or a statement may raise, ValueErrors besides.
_NONSENSE = (KeyError, TypeError, AttributeError, RecursionError)

Subject = dict[str, Any]


def subject_of(entry: Entry, release: str) -> Subject:
    """The commit; of an entry that is of no rollout, the journal so far."""
    if release:
        return {"name": "release", "digest": {"gitCommit": release}}
    return {"name": "journal", "digest": {"sha256": entry.previous}}


def statement(entry: Entry, subject: Subject) -> dict[str, Any]:
    """The in-toto Statement of an entry."""
    type, predicate = _predicate(entry, subject)
    said = entry.model_dump(mode="json")
    return {
        "_type": STATEMENT,
        "subject": [subject],
        "predicateType": type,
        "predicate": {**predicate, "entry": said},
    }


def sealed(entry: Entry, subject: Subject, signer: Signer) -> Entry:
    """The entry in its envelope. Raises whatever the signer raises."""
    envelope = Envelope(canonical(statement(entry, subject)), PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return entry.in_envelope(_spelled(envelope))


def is_envelope(content: bytes) -> bool:
    """Whether the bytes are meant as an envelope, well made or not."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "payload" in found


def opened(content: bytes) -> Entry:
    """The entry of an envelope, its signature not looked at. Raises ValueError saying what is wrong with it."""
    try:
        envelope = Envelope.from_dict(json.loads(content))
        spelled = _spelled(envelope)
    except (ValueError, *_NONSENSE):
        raise ValueError("is in no envelope that a rollout writes") from None
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ValueError(f"is in an envelope of {envelope.payload_type!r}, expected {PAYLOAD_TYPE!r}")
    if len(envelope.signatures) != 1:
        raise ValueError(f"has {len(envelope.signatures)} signatures, expected 1")
    # What is beside the signature is signed by nobody.
    if spelled != content or any(each.unrecognized_fields for each in envelope.signatures.values()):
        raise ValueError("is in an envelope that no rollout spells so")
    try:
        told = json.loads(envelope.payload)
        entry = Entry.model_validate(told["predicate"]["entry"])
        wanted = canonical(statement(entry, *told["subject"]))
    except (ValueError, *_NONSENSE):
        raise ValueError("is in an envelope without a rollout's statement") from None
    if wanted != envelope.payload:
        raise ValueError("has a statement that says something else than its entry")
    return entry.in_envelope(content)


def attested_subject(entry: Entry) -> Subject:
    """What an opened entry is stated about."""
    (subject,) = json.loads(_envelope(entry).payload)["subject"]
    return dict(subject)


def key_id(entry: Entry) -> str:
    """Which key an opened entry claims to be signed by."""
    return next(iter(_envelope(entry).signatures))


def signed_by(entry: Entry, keys: Mapping[str, Key]) -> str:
    """Which of these keys, by its name, signed exactly this envelope; '' when none did."""
    envelope = _envelope(entry)
    (signature,) = envelope.signatures.values()
    for name, key in keys.items():
        try:
            if key.keyid == signature.keyid:
                key.verify_signature(signature, envelope.pae())
                return name
        except UnverifiedSignatureError:
            continue
    return ""


def _envelope(entry: Entry) -> Envelope:
    return Envelope.from_dict(json.loads(entry.content))


def _spelled(envelope: Envelope) -> bytes:
    return canonical(envelope.to_dict()) + b"\n"


def _predicate(entry: Entry, subject: Subject) -> tuple[str, dict[str, Any]]:
    step = str(entry.data.get("step", ""))
    if entry.kind != "done" or step.partition("-")[2] not in _TESTS:
        return ENTRY, {}
    result = _RESULTS.get(str(entry.data.get("verdict")), "FAILED")
    tests = {name: [step] if result == each else [] for each, name in _LISTS.items()}
    configuration = [{"name": "rollout.yaml", "digest": subject["digest"]}]
    return TEST_RESULT, {"result": result, "configuration": configuration, **tests}
