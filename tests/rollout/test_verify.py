"""A report holds only as long as not one byte of it or of its raw files was changed."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from rollout.report.verify import contents as verify
from rollout.report.write import write
from tests.rollout.report_sample import good_rollout


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write(good_rollout(folder).manifest, folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(written, tmp_path / "report"))


def test_an_untouched_report_holds(written: Path) -> None:
    assert verify(written / "report.json") == []


def test_one_byte_of_any_raw_file(folder: Path) -> None:
    chance = random.Random(7)  # noqa: S311
    files = [
        Path(each["raw"]["path"]) for each in json.loads((folder / "report.json").read_text())["manifest"]["inputs"]
    ]
    assert len(files) > 10
    for file in (chance.choice(files), files[0], files[-1]):
        good = (folder / file).read_bytes()
        bad = bytearray(good)
        bad[chance.randrange(len(bad))] ^= 1
        (folder / file).write_bytes(bad)
        assert any(f"{file.as_posix()} was changed" in problem for problem in verify(folder / "report.json"))
        (folder / file).write_bytes(good)


def test_a_raw_file_that_is_gone(folder: Path) -> None:
    (folder / "teeth.json").unlink()
    assert "teeth.json is missing" in verify(folder / "report.json")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"value": 7.4', '"value": 7.3', "rollback.seconds: the evidence says otherwise"),
        ('"score": 9', '"score": 8', "the report scores"),
    ],
)
def test_an_edited_claim(folder: Path, old: str, new: str, said: str) -> None:
    path = folder / "report.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert any(said in problem for problem in verify(path))


def test_an_edited_verdict(folder: Path) -> None:
    path = folder / "report.json"
    path.write_text(path.read_text().replace('"verdict": "pass"', '"verdict": "fail"', 1))
    assert "the report says fail, its evidence says pass" in verify(path)


def test_any_byte_of_the_json_even_white_space(folder: Path) -> None:
    path = folder / "report.json"
    good = path.read_bytes()
    path.write_bytes(good + b"\n")
    assert "report.json was changed: it is not what the evidence says" in verify(path)
    chance = random.Random(11)  # noqa: S311
    for _ in range(3):
        bad = bytearray(good)
        bad[chance.randrange(len(bad))] ^= 1
        path.write_bytes(bad)
        assert verify(path)


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_an_edited_picture_of_it(folder: Path, name: str) -> None:
    path = folder / name
    path.write_text(path.read_text().replace("pass", "PASS", 1))
    assert verify(folder / "report.json") == [f"{name} was changed: it is not what the evidence says"]


def test_what_is_no_report_is_said_and_not_raised(folder: Path) -> None:
    (folder / "report.json").write_text("{}")
    assert len(verify(folder / "report.json")) == 1
    assert "cannot be read" in verify(folder / "none.json")[0]
