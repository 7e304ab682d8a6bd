"""What the journal's files are to other tools: in-toto statements in DSSE envelopes, and nothing beside."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner

from rollout.attestation import ENTRY, PAYLOAD_TYPE, STATEMENT, TEST_RESULT, opened, sealed, signed_by, subject_of
from rollout.entries import Entry, canonical

OURS, THEIRS = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ecdsa()
COMMIT = "c0ffee" * 6 + "c0ff"


def entry(kind: str = "done", **data: Any) -> Entry:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Entry(number=7, previous="0" * 64, at=at, run="r", kind=kind, data=data)


def seal(made: Entry, release: str = COMMIT, signer: CryptoSigner = OURS) -> Entry:
    return sealed(made, subject_of(made, release), signer)


def payload(made: Entry) -> dict[str, Any]:
    found = Envelope.from_dict(json.loads(made.content)).payload
    return dict(json.loads(found))


@pytest.mark.parametrize(
    ("verdict", "result", "listed"),
    [
        ("pass", "PASSED", "passedTests"),
        ("inconclusive", "WARNED", "warnedTests"),
        ("fail", "FAILED", "failedTests"),
        ("error", "FAILED", "failedTests"),
    ],
)
def test_a_step_with_evidence_is_a_test_result_of_the_commit(verdict: str, result: str, listed: str) -> None:
    said = payload(seal(entry(step="staging/04-smoke", verdict=verdict)))
    assert (said["_type"], said["predicateType"]) == (STATEMENT, TEST_RESULT)
    assert [each["digest"] for each in said["subject"]] == [{"gitCommit": COMMIT}]
    tests = {name: said["predicate"][name] for name in ("passedTests", "warnedTests", "failedTests")}
    assert said["predicate"]["result"] == result
    assert tests == {name: [] for name in tests} | {listed: ["staging/04-smoke"]}
    assert [each["name"] for each in said["predicate"]["configuration"]] == ["rollout.yaml"]


@pytest.mark.parametrize(
    ("kind", "step"), [("done", "prod/04-up"), ("begun", "staging/04-smoke"), ("done", "canary/06-share-1")]
)
def test_whatever_else_happened_is_an_entry_of_ours(kind: str, step: str) -> None:
    said = payload(seal(entry(kind, step=step, verdict="pass")))
    assert (said["predicateType"], list(said["predicate"])) == (ENTRY, ["entry"])
    assert said["predicate"]["entry"]["data"]["step"] == step


def test_what_is_of_no_rollout_is_about_the_journal() -> None:
    assert payload(seal(entry("unlocked"), release=""))["subject"][0]["digest"] == {"sha256": "0" * 64}


@pytest.mark.parametrize("signer", [OURS, THEIRS], ids=["ed25519", "ecdsa"])
def test_the_signing_library_itself_verifies_it(signer: CryptoSigner) -> None:
    envelope = Envelope.from_dict(json.loads(seal(entry(step="x"), signer=signer).content))
    assert envelope.payload_type == PAYLOAD_TYPE
    assert envelope.verify([signer.public_key], 1)
    other = THEIRS if signer is OURS else OURS
    with pytest.raises(VerificationError):
        envelope.verify([other.public_key], 1)


def test_what_was_sealed_is_opened_as_it_was() -> None:
    made = seal(entry(step="staging/04-smoke", verdict="pass", figures={"a": 1.5}))
    again = opened(made.content)
    assert (again, again.head, again.plain) == (made, made.head, made.plain)
    keys = {"theirs": THEIRS.public_key, "ours": OURS.public_key}
    assert signed_by(again, keys) == "ours"
    assert signed_by(again, {"theirs": THEIRS.public_key}) == ""


def changed(**fields: Any) -> bytes:
    return canonical(json.loads(seal(entry(step="x")).content) | fields) + b"\n"


def stated(**fields: Any) -> bytes:
    made = seal(entry(step="staging/04-smoke", verdict="fail"))
    envelope = Envelope(canonical(payload(made) | fields), PAYLOAD_TYPE, {})
    envelope.sign(OURS)
    return canonical(envelope.to_dict()) + b"\n"


SIGNATURE = json.loads(seal(entry(step="x")).content)["signatures"][0]
NESTED = json.dumps("[" * 100_000)[1:-1].encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(payloadType="application/json"), "is in an envelope of 'application/json'"),
        (changed(signatures=[]), "has 0 signatures, expected 1"),
        (changed(signatures=[SIGNATURE, SIGNATURE | {"keyid": "another"}]), "has 2 signatures, expected 1"),
        (changed(signatures=[SIGNATURE, SIGNATURE]), "is in no envelope"),
        (changed(signatures=[SIGNATURE | {"more": 1}]), "that no rollout spells so"),
        (changed(signatures="x"), "is in no envelope"),
        (changed(more="beside"), "that no rollout spells so"),
        (seal(entry(step="x")).content.replace(b",", b", ", 1), "that no rollout spells so"),
        (changed(payload="?"), "is in no envelope"),
        (changed(payload="e30="), "without a rollout's statement"),
        (changed(payload=None), "is in no envelope"),
        (stated(predicateType=ENTRY), "says something else than its entry"),
        (stated(_type="https://in-toto.io/Statement/v0.1"), "says something else than its entry"),
        (stated(subject=[]), "without a rollout's statement"),
        (stated(subject=[{"digest": {"gitCommit": COMMIT}}] * 2), "without a rollout's statement"),
        (stated(more="beside"), "says something else than its entry"),
        (b"[]", "is in no envelope"),
        (NESTED, "is in no envelope"),
    ],
)
def test_what_is_no_such_envelope_is_said_and_not_raised(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        opened(content)


def test_a_result_that_the_entry_does_not_have_is_refused_even_if_it_is_signed() -> None:
    made = seal(entry(step="staging/04-smoke", verdict="fail"))
    lied = payload(made)["predicate"] | {"result": "PASSED"}
    with pytest.raises(ValueError, match="says something else than its entry"):
        opened(stated(predicate=lied))
