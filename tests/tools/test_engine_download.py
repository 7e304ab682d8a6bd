"""The official release: verified before it is unpacked, and only the programs we need leave the archive."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tools import engine_download
from tools.engine_parts import CLI, HELPERS, EngineRefused


def silent(_message: str) -> None:
    """No progress in tests."""


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    """A release server's folder, good for this machine; the archive also tries to write elsewhere."""
    folder = tmp_path / "releases"
    folder.mkdir()
    archive = folder / f"pulumi-v3.259.0-{engine_download._platform()}.tar.gz"
    with tarfile.open(archive, "w:gz") as out:
        for name in (*(f"pulumi/{name}" for name in (CLI, *HELPERS)), "pulumi/pulumi-language-go", "../../escaped"):
            member = tarfile.TarInfo(name)
            member.size = len(name)
            out.addfile(member, io.BytesIO(name.encode()))
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    (folder / "pulumi-3.259.0-checksums.txt").write_text(f"{checksum}  {archive.name}\n")
    return folder


def target(tmp_path: Path) -> Path:
    folder = tmp_path / "engine"
    folder.mkdir()
    return folder


def test_the_release_gives_exactly_the_programs_we_need(releases: Path, tmp_path: Path) -> None:
    folder = target(tmp_path)
    engine_download.download_engine(folder, silent, releases.as_uri())
    assert sorted(path.name for path in (folder / "bin").iterdir()) == sorted((CLI, *HELPERS))
    assert (folder / "bin" / CLI).stat().st_mode & 0o777 == 0o755
    assert [path.name for path in folder.iterdir()] == ["bin"]


def test_a_changed_archive_is_refused(releases: Path, tmp_path: Path) -> None:
    next(releases.glob("*.tar.gz")).open("ab").write(b"more")
    with pytest.raises(EngineRefused, match="has the SHA-256"):
        engine_download.download_engine(target(tmp_path), silent, releases.as_uri())


def test_a_checksum_from_elsewhere_counts_more_than_the_servers_own(
    releases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_SHA256", "0" * 64)
    with pytest.raises(EngineRefused, match=f"ENGINE_SHA256 says {'0' * 64}"):
        engine_download.download_engine(target(tmp_path), silent, releases.as_uri())
    archive = next(releases.glob("*.tar.gz"))
    monkeypatch.setenv("ENGINE_SHA256", hashlib.sha256(archive.read_bytes()).hexdigest().upper() + "\n")
    engine_download.download_engine(tmp_path / "engine", silent, releases.as_uri())


def test_a_server_out_of_reach_is_a_reason_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(EngineRefused, match="cannot be reached"):
        engine_download.download_engine(target(tmp_path), silent, (tmp_path / "absent").as_uri())
