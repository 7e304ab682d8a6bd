"""Sample files: whole after a kill, bounded, and never read as something that they are not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prober.samples import (
    Sample,
    SamplesDamaged,
    digest_path,
    line_of,
    newest_samples,
    read_samples,
    sample_files,
    samples_in,
    samples_of,
)
from prober.store import Limits, SampleStore


def sample(sequence: int) -> Sample:
    return Sample(
        sequence=sequence,
        boot_id="boot",
        monotonic_s=sequence / 10,
        wall=datetime(2026, 1, 1, tzinfo=UTC),
        operation="write",
        ok=True,
        latency_ms=1.5,
        error=None,
        lost_acks=0,
        master="127.0.0.1:6379",
        epoch=1,
        release="r1",
    )


def write(folder: Path, count: int, limits: Limits | None = None) -> None:
    with SampleStore(folder, limits or Limits()) as store:
        for number in range(store.next_sequence, store.next_sequence + count):
            store.append(sample(number))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, 3)
    write(tmp_path, 2)
    assert list(read_samples(tmp_path)) == [sample(number) for number in range(5)]
    assert list(read_samples(tmp_path / "none")) == []


def test_bytes_and_files_are_bounded_and_the_newest_are_kept(tmp_path: Path) -> None:
    limits = Limits(file_bytes=1000, files=3)
    write(tmp_path, 200, limits)
    files = sample_files(tmp_path)
    assert len(files) == 3
    assert all(file.path.stat().st_size <= 1000 for file in files)
    kept = [each.sequence for each in read_samples(tmp_path)]
    assert kept == list(range(kept[0], 200))
    assert len(list(tmp_path.glob("*.sha256"))) == 3, "digests go with their files"


def test_closed_files_are_checked_by_sha256sum(tmp_path: Path) -> None:
    write(tmp_path, 20, Limits(file_bytes=1000))
    notes = sorted(path.name for path in tmp_path.glob("*.sha256"))
    assert len(notes) == len(sample_files(tmp_path)) > 1
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", *notes], cwd=tmp_path, check=True)


@pytest.mark.parametrize("after", [-1, 0, *range(40, 60), 99, 200])
def test_those_after_a_sample_are_read_and_earlier_files_are_left_alone(tmp_path: Path, after: int) -> None:
    write(tmp_path, 100, Limits(file_bytes=3000, files=1000))
    files = sample_files(tmp_path)
    assert len(files) > 5
    wanted = list(range(after + 1, 100))
    assert [each.sequence for each in read_samples(tmp_path, after)] == wanted
    firsts = [int(file.path.stem.rpartition("-")[2]) for file in files]
    for file, following in zip(files, firsts[1:], strict=False):
        if following <= after + 1:
            file.path.write_text("not to be opened")
    assert [each.sequence for each in read_samples(tmp_path, after)] == wanted


def test_the_newest_are_read_without_opening_earlier_files(tmp_path: Path) -> None:
    write(tmp_path, 100, Limits(file_bytes=3000, files=1000))
    assert [each.sequence for each in newest_samples(tmp_path)] == list(range(99, -1, -1))
    *earlier, last = sample_files(tmp_path)
    for file in earlier:
        file.path.write_text("not to be opened")
    first = int(last.path.stem.rpartition("-")[2])
    newest = newest_samples(tmp_path)
    assert [next(newest).sequence for _ in range(100 - first)] == list(range(99, first - 1, -1))
    with pytest.raises(SamplesDamaged, match="has changed since it was closed"):
        next(newest)
    assert list(newest_samples(tmp_path / "none")) == []


def test_a_file_of_another_name_is_named(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (tmp_path / "samples-copy.jsonl").write_text("")
    with pytest.raises(SamplesDamaged, match=r"samples-copy\.jsonl is not named"):
        list(read_samples(tmp_path))


def test_one_changed_byte_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (file,) = sample_files(tmp_path)
    file.path.write_bytes(file.path.read_bytes().replace(b"1.5", b"1.4", 1))
    with pytest.raises(SamplesDamaged, match="has changed since it was closed"):
        list(read_samples(tmp_path))


def test_a_torn_last_line_is_left_out_and_the_next_prober_goes_on(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (file,) = sample_files(tmp_path)
    file.path.with_name(file.path.name + ".sha256").unlink()  # as after a kill: it was never closed
    file.path.write_bytes(file.path.read_bytes()[:-10])
    assert [each.sequence for each in read_samples(tmp_path)] == [0, 1]
    write(tmp_path, 2)
    assert [each.sequence for each in read_samples(tmp_path)] == [0, 1, 2, 3]


def test_a_file_with_nothing_but_a_torn_line_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "samples-000000000000.jsonl").write_text('{"sequence":0')
    write(tmp_path, 2)
    assert [each.sequence for each in read_samples(tmp_path)] == [0, 1]


def test_a_line_that_is_no_sample_is_named(tmp_path: Path) -> None:
    (tmp_path / "samples-000000000000.jsonl").write_bytes(line_of(sample(0)) + b'{"sequence":1}\n')
    with pytest.raises(SamplesDamaged, match="line 2 is no sample"):
        list(read_samples(tmp_path))


HOSTILE = {
    "lost acks below zero": ('"lost_acks":0', '"lost_acks":-100', "line 1 is no sample: lost_acks"),
    "a latency of NaN": ('"latency_ms":1.5', '"latency_ms":NaN', "line 1 is no sample: latency_ms"),
    "an endless latency": ('"latency_ms":1.5', '"latency_ms":Infinity', "line 1 is no sample: latency_ms"),
    "a latency that is too large": ('"latency_ms":1.5', '"latency_ms":1e400', "line 1 is no sample: latency_ms"),
    "a latency below zero": ('"latency_ms":1.5', '"latency_ms":-1', "line 1 is no sample: latency_ms"),
    "a latency of weeks": ('"latency_ms":1.5', '"latency_ms":1e12', "line 1 is no sample: latency_ms"),
    "more lost acks than can be": ('"lost_acks":0', f'"lost_acks":{2**63}', "line 1 is no sample: lost_acks"),
    "a sequence beyond counting": ('"sequence":3', f'"sequence":{2**63}', "line 4 is no sample: sequence"),
    "an epoch beyond counting": ('"epoch":1', f'"epoch":{2**63}', "line 1 is no sample: epoch"),
    "a clock of ages": ('"monotonic_s":0.3', '"monotonic_s":1e300', "line 4 is no sample: monotonic_s"),
    "a clock that is no number": ('"monotonic_s":0.1', '"monotonic_s":NaN', "line 2 is no sample: monotonic_s"),
    "a clock that goes back": ('"monotonic_s":0.1', '"monotonic_s":-0.1', "line 2 is no sample: monotonic_s"),
    "a clock before the last": ('"monotonic_s":0.2', '"monotonic_s":0.05', "line 3 does not follow: the clock"),
    "a sequence twice": ('"sequence":2', '"sequence":1', "line 3 does not follow: sequence 1 after 1"),
    "a sequence before the last": ('"sequence":2', '"sequence":0', "line 3 does not follow: sequence 0 after 1"),
    "a sequence below zero": ('"sequence":1', '"sequence":-1', "line 2 is no sample: sequence"),
    "an epoch below zero": ('"epoch":1', '"epoch":-1', "line 1 is no sample: epoch"),
    "a wall clock without a zone": ('00:00Z","operation":"write"', '00:00","operation":"write"', "line 1 is no sample"),
    "a release of a million letters": ('"release":"r1"', f'"release":"{"r" * 1_000_000}"', "line 1 is no sample"),
    "a release without a name": ('"release":"r1"', '"release":""', "line 1 is no sample: release"),
    "an error of a million letters": ('"error":null', f'"error":"{"e" * 1_000_000}"', "line 1 is no sample: error"),
    "another operation": ('"operation":"write"', '"operation":"delete"', "line 1 is no sample: operation"),
    "something beside it": ('"lost_acks":0', '"lost_acks":0,"note":"x"', "line 1 is no sample: note"),
    "a boot that comes again": ('"boot_id":"boot","monotonic_s":0.2', '"boot_id":"b","monotonic_s":0.2', "line 4 does"),
}


@pytest.mark.parametrize("forgery", HOSTILE)
def test_what_no_prober_writes_is_named_by_its_line(forgery: str, tmp_path: Path) -> None:
    old, new, said = HOSTILE[forgery]
    content = b"".join(line_of(sample(number)) for number in range(4)).decode()
    assert old in content
    (tmp_path / "samples-000000000000.jsonl").write_text(content.replace(old, new, 1))
    with pytest.raises(SamplesDamaged, match=said):
        list(read_samples(tmp_path))


def loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("of", [lambda path: path, digest_path], ids=["samples", "digest"])
@pytest.mark.parametrize("instead", [Path.mkdir, os.mkfifo, loop])
def test_what_cannot_be_read_is_named(
    tmp_path: Path, of: Callable[[Path], Path], instead: Callable[[Path], None]
) -> None:
    write(tmp_path, 3)
    (file,) = sample_files(tmp_path)
    of(file.path).unlink()
    instead(of(file.path))
    for read in (read_samples, newest_samples):
        with pytest.raises(SamplesDamaged, match=of(file.path).name):
            list(read(tmp_path))


def test_a_file_that_its_prober_removes_meanwhile_is_no_mistake(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (file,) = sample_files(tmp_path)
    file.path.unlink()
    assert list(samples_of(file)) == []


def test_a_file_follows_the_one_before_it(tmp_path: Path) -> None:
    """As if two probers had written into one folder, or somebody had copied a file to count it twice."""
    first, again = (b"".join(line_of(sample(number)) for number in numbers) for numbers in (range(4), range(2, 6)))
    (tmp_path / "samples-000000000000.jsonl").write_bytes(first)
    (tmp_path / "samples-000000000004.jsonl").write_bytes(again)
    with pytest.raises(SamplesDamaged, match=r"4\.jsonl, line 1 does not follow: sequence 2 after 3"):
        list(read_samples(tmp_path))


@given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from(sorted(HOSTILE)))))
def test_whatever_stands_in_a_file_it_is_read_or_refused_in_words(parts: list[bytes | str]) -> None:
    """Whole lines with one thing wrong, and bytes of any kind between them."""
    good = "".join(line_of(sample(number)).decode() for number in range(4))
    content = b"".join(
        part if isinstance(part, bytes) else good.replace(*HOSTILE[part][:2], 1).encode() + b"\n" for part in parts
    )
    with suppress(SamplesDamaged):
        read = list(samples_in(content, "samples.jsonl"))
        assert all(before.sequence < after.sequence for before, after in pairwise(read))
        assert all(each.lost_acks >= 0 for each in read)
