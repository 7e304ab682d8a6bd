"""The prober against real nodes."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from client.connect import connect
from prober.samples import Sample, read_samples, sample_files
from tests.deployment import PASSWORDS, Deployment, await_that
from tests.prober.running import prober
from tests.waiting import SLACK

pytestmark = pytest.mark.deployment


def samples(folder: Path) -> list[Sample]:
    return list(read_samples(folder / "samples"))


def longest_write_gap_s(seen: list[Sample]) -> float:
    at = [sample.monotonic_s for sample in seen if sample.ok and sample.operation == "write"]
    return max(later - earlier for earlier, later in pairwise(at))


def assert_clean(folder: Path) -> None:
    """No password in anything that the prober wrote."""
    for path in (folder / "samples").iterdir():
        for password in PASSWORDS.values():
            assert password not in path.read_text(), f"{path.name} has a password"


def test_a_failover_is_a_gap_and_no_lost_ack(deployment: Deployment, tmp_path: Path) -> None:
    old = deployment.master()
    with prober(deployment.contract, tmp_path, "--rate", "50") as process:
        await_that(lambda: len(samples(tmp_path)) > 50, 10, "the first samples")
        deployment.kill(old)
        killed = time.monotonic()
        await_that(
            lambda: (
                sum(each.ok and each.operation == "write" and each.monotonic_s > killed for each in samples(tmp_path))
                > 50
            ),
            15,
            "writes after the failover",
        )
        process.terminate()
        assert process.wait(10) == 0
    seen = samples(tmp_path)
    gap = longest_write_gap_s(seen)
    print(f"{len(seen)} samples, {sum(not each.ok for each in seen)} errors, longest gap between writes {gap:.2f} s")
    assert 1 < gap < 10 * SLACK
    assert sum(each.lost_acks for each in seen) == 0
    assert [each.sequence for each in seen] == list(range(len(seen)))
    assert len({each.master for each in seen if each.ok}) == 2
    epochs = [each.epoch for each in seen if each.epoch is not None]
    assert epochs == sorted(epochs)
    assert epochs[-1] > epochs[0]  # beside others it may take more than one election
    timed = [each for each in seen if each.latency_ms is not None]
    assert all(each.latency_ms and each.latency_ms > 0 for each in timed)
    assert {each.operation for each in timed} == {"write", "read"}
    assert [each for each in timed if each.operation == "write"] == [
        each for each in seen if each.ok and each.operation == "write"
    ]
    assert all(each.latency_ms is None for each in seen if not each.ok)
    assert all(each.error for each in seen if not each.ok)
    assert {each.release for each in seen} == {"r1"}
    assert all(file.sha256 for file in sample_files(tmp_path / "samples")), "a stop closes every file"
    assert_clean(tmp_path)


def test_a_killed_prober_leaves_its_samples_and_the_next_one_goes_on(deployment: Deployment, tmp_path: Path) -> None:
    with prober(deployment.contract, tmp_path, "--rate", "100") as process:
        await_that(lambda: len(samples(tmp_path)) > 100, 10, "the first samples")
        process.kill()
        process.wait(10)
    before = samples(tmp_path)
    assert [file.sha256 for file in sample_files(tmp_path / "samples")] == [None]
    with prober(deployment.contract, tmp_path, "--rate", "50", "--for", "1s") as process:
        assert process.wait(15) == 0
    after = samples(tmp_path)
    assert after[: len(before)] == before
    assert [each.sequence for each in after] == list(range(len(after)))
    assert len(after) - len(before) >= 40
    assert all(file.sha256 for file in sample_files(tmp_path / "samples"))


def test_a_write_that_vanished_is_a_lost_ack(deployment: Deployment, tmp_path: Path) -> None:
    with connect(deployment.contract) as client:
        others = client.call(lambda master: set(master.scan_iter("prober:*")))
        with prober(deployment.contract, tmp_path, "--rate", "50") as process:
            await_that(lambda: len(samples(tmp_path)) > 50, 10, "the first samples")
            ours = client.call(lambda master: set(master.scan_iter("prober:*"))) - others
            one = min(ours)
            assert client.call(lambda master: master.ttl(one)) > 500
            client.delete(one)
            process.terminate()
            assert process.wait(10) == 0
    assert sum(each.lost_acks for each in samples(tmp_path)) == 1


def test_refused_credentials_are_samples_without_the_password(deployment: Deployment, tmp_path: Path) -> None:
    wrong = deployment.contract.model_copy(update={"username": PASSWORDS["app"]})  # pasted into the wrong variable
    with prober(wrong, tmp_path, "--for", "1s") as process:
        assert process.wait(15) == 0
    assert {each.ok for each in samples(tmp_path)} == {False}
    assert_clean(tmp_path)


def test_what_cannot_start_is_one_line(deployment: Deployment, tmp_path: Path) -> None:
    with prober(deployment.contract, tmp_path) as first:
        await_that(lambda: len(samples(tmp_path)) > 1, 10, "the first samples")
        with prober(deployment.contract, tmp_path) as second:
            assert second.wait(15) == 2
            assert second.stderr
            assert second.stderr.read().startswith("prober: another prober writes into ")
        assert first.poll() is None
