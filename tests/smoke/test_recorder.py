"""Whose fault it is when a check raises, what a check may hand in, and that no password comes along."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError, ResponseError

from client.errors import RedisUnavailable
from client.handover import HandoverError
from infra.contract import Endpoint
from smoke_tests.evidence import at_most
from smoke_tests.recorder import classify
from smoke_tests.result import NotAsClaimed, Result, SampleFolder, listing
from smoke_tests.scrub import Scrubber
from smoke_tests.verdict import Verdict
from tests.smoke.samples import CONTRACT
from tests.unit.samples import MARKER, PASSWORDS


@pytest.mark.parametrize(
    ("raised", "verdict"),
    [
        (None, Verdict.PASS),
        (NotAsClaimed("2 of 3"), Verdict.FAIL),
        (ConnectionError("refused"), Verdict.FAIL),
        (ResponseError("MISCONF"), Verdict.FAIL),
        (RedisUnavailable("no master"), Verdict.FAIL),
        (HandoverError("no quorum"), Verdict.FAIL),
        (TimeoutError("200 writes missing"), Verdict.FAIL),
        (pytest.skip.Exception("not today"), Verdict.INCONCLUSIVE),
        (KeyError("role"), Verdict.ERROR),
        (PermissionError("the evidence folder"), Verdict.ERROR),
    ],
)
def test_the_deployment_fails_and_the_suite_errs(raised: BaseException | None, verdict: Verdict) -> None:
    assert classify(raised)[0] is verdict


def test_the_reason_is_one_line_without_a_traceback() -> None:
    assert classify(NotAsClaimed("2 of 3"))[1] == "2 of 3"
    assert classify(KeyError("role"))[1] == "KeyError: 'role'"


def test_a_figure_above_its_threshold_is_kept_and_raises() -> None:
    result = Result(at_most(300, "ms"))
    with pytest.raises(NotAsClaimed, match="301 ms, wanted <= 300"):
        result.measure(301)
    assert result.measured is not None
    assert result.measured.value == 301


def test_a_second_figure_is_a_defect() -> None:
    result = Result(at_most(300, "ms"))
    result.measure(1)
    with pytest.raises(RuntimeError):
        result.measure(2)


def test_a_long_list_is_cut_for_the_reader() -> None:
    assert listing(["a", "b"], most=2) == "a; b"
    assert listing(["a", "b", "c", "d"], most=2) == "a; b; and 2 more"


def test_samples_are_named_with_their_digest(tmp_path: Path) -> None:
    samples = SampleFolder(tmp_path / "run", Scrubber(CONTRACT)).lines(
        "topology", [{"up": True, "peers": {Endpoint("a", 1): "sentinel"}, "attached": frozenset({Endpoint("b", 2)})}]
    )
    content = (tmp_path / samples.path).read_bytes()
    assert samples.path == "run/topology.jsonl"
    assert samples.sha256 == hashlib.sha256(content).hexdigest()
    assert json.loads(content) == {"up": True, "peers": {"a:1": "sentinel"}, "attached": ["b:2"]}


def test_every_password_is_masked_and_nothing_else() -> None:
    scrub = Scrubber(CONTRACT)
    for password in PASSWORDS.values():
        assert scrub(f"AUTH app {password}!") == "AUTH app ***!"
    assert scrub("nothing to hide") == "nothing to hide"


def test_samples_hold_no_password(tmp_path: Path) -> None:
    samples = SampleFolder(tmp_path / "run", Scrubber(CONTRACT)).lines("raw", [{"said": PASSWORDS["app"]}])
    assert MARKER not in (tmp_path / samples.path).read_text()
