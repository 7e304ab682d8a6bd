"""The official release of the engine, where the internet is reachable. Touches neither PATH nor the home folder."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

from tools.engine_parts import CLI, HELPERS, VERSION, EngineRefused
from tools.progress import Say, heartbeat

RELEASES = "https://get.pulumi.com/releases/sdk"
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0

_SYSTEMS = {"linux": "linux", "darwin": "darwin"}
_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def download_engine(folder: Path, say: Say, releases: str = RELEASES) -> None:
    """Fill `folder/bin` from the release for this machine, its checksum verified. Raises EngineRefused.

    The release server's own list vouches for nothing but the transfer. Whoever has the checksum from elsewhere gives it
    in $ENGINE_SHA256: then that counts.
    """
    archive_name = f"pulumi-v{VERSION}-{_platform()}.tar.gz"
    listed = _expected_checksum(releases, archive_name)
    given = os.environ.get("ENGINE_SHA256", "").strip().lower()
    expected, by = (given, "ENGINE_SHA256") if given else (listed, "the release")
    say(f"downloading the official release {archive_name} ...")
    archive = folder / archive_name
    with heartbeat(say, "still downloading"):
        _fetch(f"{releases}/{archive_name}", archive)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != expected:
        raise EngineRefused(f"{archive_name} has the SHA-256 {found}, {by} says {expected}")
    _unpack(archive, folder / "bin")
    archive.unlink()


def _platform() -> str:
    system = _SYSTEMS.get(sys.platform)
    machine = _MACHINES.get(platform.machine().lower())
    if not system or not machine:
        raise EngineRefused(f"there is no release for {sys.platform} on {platform.machine()}")
    return f"{system}-{machine}"


def _expected_checksum(releases: str, archive_name: str) -> str:
    """Small, so it doubles as the check that the internet is reachable at all."""
    url = f"{releases}/pulumi-{VERSION}-checksums.txt"
    for line in _text_within(url, CONNECT_SECONDS).splitlines():
        checksum, _, name = line.partition(" ")
        if name.strip() == archive_name:
            return checksum
    raise EngineRefused(f"{url} does not name {archive_name}")


def _text_within(url: str, seconds: float) -> str:
    """In a thread, because a resolver without an answer blocks far longer than any socket timeout."""
    answer: list[str] = []
    trouble: list[str] = [f"no answer within {seconds:.0f} s"]

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=seconds) as response:  # noqa: S310 (a constant https address)
                answer.append(response.read().decode())
        except (OSError, ValueError) as error:
            trouble[0] = str(getattr(error, "reason", error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answer:
        raise EngineRefused(f"the release server cannot be reached: {trouble[0]}")
    return answer[0]


def _fetch(url: str, target: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=READ_SECONDS) as response, target.open("wb") as out:  # noqa: S310
            shutil.copyfileobj(response, out)
    except OSError as error:
        raise EngineRefused(f"the download broke off: {error}") from None


def _unpack(archive: Path, target: Path) -> None:
    """Only the programs we need, by base name: nothing in the archive can choose where it lands."""
    target.mkdir()
    try:
        with tarfile.open(archive) as members:
            for member in members:
                name = Path(member.name).name
                content = members.extractfile(member) if name in (CLI, *HELPERS) and member.isfile() else None
                if content:
                    with (target / name).open("wb") as out:
                        shutil.copyfileobj(content, out)
                    (target / name).chmod(0o755)
    except (tarfile.TarError, OSError) as error:
        raise EngineRefused(f"{archive.name} cannot be unpacked: {error}") from None
