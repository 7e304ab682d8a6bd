"""A claim is earned or it is no pass; a raw file is what was hashed or it is not believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rollout.evidence import (
    Claim,
    EvidenceChanged,
    EvidenceError,
    EvidenceMissing,
    RawFile,
    load,
    not_measured,
    recheck,
    seal,
)
from smoke_tests.evidence import Measured, exactly
from smoke_tests.verdict import Verdict
from tests.rollout.test_gate import claim


@pytest.mark.parametrize(
    "without",
    [
        {"measured": None},
        {"measured": Measured(value=1, unit="faults")},
        {"measured": Measured(value=0, unit="ms")},
        {"raw": ()},
        {"when": None},
        {"command": ""},
    ],
    ids=str,
)
def test_no_pass_without(without: dict[str, Any]) -> None:
    good = claim("a")
    with pytest.raises(ValidationError):
        Claim.model_validate(dict(good) | without)
    assert Claim.model_validate(dict(good)) == good


def test_what_nobody_measured_is_inconclusive_and_says_so() -> None:
    nothing = not_measured("a", "b", exactly(0, "c"))
    assert (nothing.verdict, nothing.reason, nothing.has_evidence) == (Verdict.INCONCLUSIVE, "not measured", False)


@pytest.fixture
def raw(tmp_path: Path) -> RawFile:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.json").write_bytes(b"[1]")
    return seal(tmp_path, tmp_path / "in" / "x.json")


def test_a_file_is_loaded_by_its_hash(tmp_path: Path, raw: RawFile) -> None:
    assert raw.path == "in/x.json"
    assert load(tmp_path, raw) == b"[1]"


def test_one_byte_changed_is_seen(tmp_path: Path, raw: RawFile) -> None:
    (tmp_path / raw.path).write_bytes(b"[2]")
    with pytest.raises(EvidenceChanged, match=r"in/x\.json was changed"):
        load(tmp_path, raw)
    assert recheck(_on(raw), tmp_path).verdict is Verdict.FAIL


def test_a_missing_file_is_seen(tmp_path: Path, raw: RawFile) -> None:
    (tmp_path / raw.path).unlink()
    with pytest.raises(EvidenceMissing, match=r"in/x\.json is missing"):
        load(tmp_path, raw)
    assert recheck(_on(raw), tmp_path).verdict is Verdict.INCONCLUSIVE


def test_an_intact_file_changes_nothing(tmp_path: Path, raw: RawFile) -> None:
    assert recheck(_on(raw), tmp_path) == _on(raw)


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "in/../../outside"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path.parent / "outside").write_bytes(b"x")
    with pytest.raises(EvidenceError, match="leads out"):
        load(tmp_path, RawFile(path=path, sha256="0" * 64))


def test_only_what_is_below_the_root_is_sealed(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="is not below"):
        seal(tmp_path / "in", tmp_path / "x")


def _on(raw: RawFile) -> Claim:
    return claim("a").model_copy(update={"raw": (raw,)})
