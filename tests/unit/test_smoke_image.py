"""What the smoke suite's image gets: the locked libraries and nothing of the project that it does not import."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from smoke_tests.transfer import BEGIN, END, Damaged, pack, unpack
from tools.cluster_jobs import Place, stranger, suite
from tools.paths import ROOT

PLACE = Place("kt", "redis-kt", "sha256:0", "abc", tls=True)


def pins(file: str) -> set[str]:
    return set(re.findall(r"(?m)^[a-z].*(?:\n    .*)*", (ROOT / file).read_text()))


def test_the_image_has_the_libraries_of_the_lock() -> None:
    wanted = pins("images/smoke/requirements.txt")
    assert wanted
    assert wanted - pins("requirements.lock") == set()


def test_a_folder_arrives_as_it_was_sent(tmp_path: Path) -> None:
    (tmp_path / "from" / "kt").mkdir(parents=True)
    (tmp_path / "from" / "kt" / "a.json").write_bytes(bytes(range(256)) * 100)
    first, *lines, last = pack(tmp_path / "from")
    assert last == END
    (file,) = unpack(first.removeprefix(BEGIN), lines, tmp_path / "to")
    assert file == tmp_path / "to" / "kt" / "a.json"
    assert file.read_bytes() == bytes(range(256)) * 100


def test_a_line_that_was_lost_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    first, *lines, _ = pack(tmp_path)
    with pytest.raises(Damaged):
        unpack(first.removeprefix(BEGIN), [lines[0][:-4]], tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_the_stranger_has_neither_the_label_of_clients_nor_a_secret() -> None:
    allowed, denied = (job["spec"]["template"] for job in (suite(PLACE, ["a:1"], []), stranger(PLACE, ["a:1"])))
    assert allowed["metadata"]["labels"]["redis-sentinel/client"] == "true"
    assert "redis-sentinel/client" not in denied["metadata"]["labels"]
    assert denied["spec"]["volumes"] == []
    assert not any("env" in container for pod in (allowed, denied) for container in pod["spec"]["containers"])
