"""What somebody else, or a crash, left in the prober's own folder: one line that names it, or gone on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prober import probe
from prober.__main__ import main
from prober.samples import SamplesDamaged, digest_path, read_samples
from tests.prober.running import contract_file
from tests.prober.test_probe import Server
from tests.prober.test_samples import write
from tests.smoke.samples import CONTRACT

FIRST = "samples-000000000000.jsonl"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With three samples in one closed file."""
    monkeypatch.setattr(probe, "connect", Server)
    write(tmp_path / "out", 3)
    return tmp_path / "out"


def started(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    contract = CONTRACT.model_copy(update={"sentinel_enabled": False})
    arguments = ["--contract", str(contract_file(contract, folder.parent)), "--out", str(folder)]
    code = main([*arguments, "--release", "r", "--for", "0.2s", "--rate", "50"])
    return code, capsys.readouterr().err


def unclosed(folder: Path, more: bytes) -> None:
    """As a killed prober leaves it, with something at its end."""
    digest_path(folder / FIRST).unlink()
    with (folder / FIRST).open("ab") as file:
        file.write(more)


def last(folder: Path) -> bytes:
    return (folder / FIRST).read_bytes().splitlines(keepends=True)[-1]


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no json": (lambda _line: b"hello\n", "line 4 is no sample: Invalid JSON"),
    "no text": (lambda _line: b"\xff\xfe\n", "line 4 is no sample"),
    "an empty line": (lambda _line: b"\n", "line 4 is no sample"),
    "deep": (lambda _line: b"[" * 10_000 + b"\n", "line 4 is no sample"),
    "not a number": (lambda line: line.replace(b"1.5", b"NaN"), "line 4 is no sample"),
    "nothing less": (lambda line: line.replace(b'"lost_acks":0', b'"lost_acks":-9'), "line 4 is no sample: lost_acks"),
    "the same again": (lambda line: line, "line 4 does not follow: sequence 2 after 2"),
    "no number after it": (lambda line: line.replace(b'e":2', b'e":9223372036854775807'), "line 4: no number is left"),
    "a key with lines": (
        lambda line: line.replace(b"}", b',"a\\nfix: all is well \\u001b[2J":1}'),
        "line 4 is no sample: a?fix: all is well ?[2J",
    ),
    "a boot with lines": (lambda line: line.replace(b'"boot"', b'"a\\nb"'), "line 4 is no sample: boot_id"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_last_line_is_named_with_the_fix(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, said = HOSTILE[name]
    unclosed(folder, change(last(folder)))
    before = sorted(folder.iterdir())
    code, told = started(folder, capsys)
    line, fix, end = told.split("\n")
    assert (code, end) == (2, "") and line.startswith(f"prober: {folder / FIRST}, {said}"), told
    assert fix.startswith("  fix: ") and "--out" in fix
    assert sorted(folder.iterdir()) == before, "nothing was closed or removed"
    if "no number" not in said:  # who only reads needs none
        with pytest.raises(SamplesDamaged, match="line 4"):
            list(read_samples(folder))


@pytest.mark.parametrize("cut", [b'{"seq', b"{", b"\xff", b"\0" * 100])
def test_a_cut_last_line_is_left_out_and_gone_on_after(
    cut: bytes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unclosed(folder, cut)
    assert started(folder, capsys) == (0, "")
    sequences = [each.sequence for each in read_samples(folder)]
    assert sequences == list(range(len(sequences))) and len(sequences) > 3


def test_a_file_of_nothing_but_a_cut_line_is_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "samples-000000000003.jsonl").write_bytes(b'{"seq')
    assert started(folder, capsys) == (0, "")
    assert [each.sequence for each in read_samples(folder)][:4] == [0, 1, 2, 3]


def changed(folder: Path) -> None:
    with (folder / FIRST).open("ab") as file:
        file.write(last(folder))


def no_digest(folder: Path) -> None:
    digest_path(folder / FIRST).write_text("")


def a_folder_for_a_digest(folder: Path) -> None:
    digest_path(folder / FIRST).unlink()
    digest_path(folder / FIRST).mkdir()


def a_folder_for_a_file(folder: Path) -> None:
    (folder / "samples-000000000003.jsonl").mkdir()


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (changed, f"{FIRST} has changed since it was closed"),
        (no_digest, f"{FIRST}.sha256 holds no SHA-256"),
        (a_folder_for_a_digest, f"{FIRST}.sha256 is no file"),
        (a_folder_for_a_file, "samples-000000000003.jsonl is no file"),
    ],
)
def test_a_file_that_no_prober_left_is_named_with_the_fix(
    forge: Callable[[Path], None], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forge(folder)
    code, told = started(folder, capsys)
    assert (code, told.count("\n")) == (2, 2) and said in told.splitlines()[0] and "\n  fix: " in told, told
