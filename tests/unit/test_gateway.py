"""The gateway's configuration, whole, and what must never be in it.

After a change that is meant: UPDATE_GOLDEN=1 python -m pytest tests/unit/test_gateway.py, then read the difference.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.gateway import CONFIGURATION, PASSWORD_FILE, SHARE_FILE, Place, render
from infra.node_config import NodeFiles
from tests.unit.samples import MARKER, PASSWORDS, declared, planned

GOLDEN = Path(__file__).parent / "golden" / "gateway"
PROGRAM = Path(__file__).resolve().parents[2] / "infra" / "node" / "gateway.lua"
PLACE = Place("0.0.0.0", "/node/bin/gateway.lua", "/node/conf", "/node/run", "/node/conf/ca.crt")  # noqa: S104

STACKS: dict[str, dict[str, str]] = {
    "sentinel": {},
    "tls": {"tls": "true", "sentinels": "5", "gatewayPort": "7000"},
    "standalone": {"mode": "standalone"},
}


def rendered(overrides: dict[str, str], place: Place = PLACE) -> NodeFiles:
    return render(planned(**overrides), declared(**overrides), PASSWORDS["monitor"], place)


@pytest.mark.parametrize("stack", STACKS)
def test_the_configuration_is_as_in_the_golden_folder(stack: str) -> None:
    text = rendered(STACKS[stack]).plain[CONFIGURATION]
    golden = GOLDEN / f"{stack}.cfg"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(parents=True, exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("stack", STACKS)
def test_the_only_secret_is_the_monitors_password_in_a_file_of_its_own(stack: str) -> None:
    files = rendered(STACKS[stack])
    assert MARKER not in str(files.plain) + repr(files)
    assert files.secret == {PASSWORD_FILE: PASSWORDS["monitor"] + "\n"}


@pytest.mark.parametrize("stack", STACKS)
def test_no_node_is_served_before_it_is_proven_and_one_that_leaves_loses_its_connections(stack: str) -> None:
    lines = rendered(STACKS[stack]).plain[CONFIGURATION].splitlines()
    served = [line for line in lines if line.startswith("    server ") and " verify " not in line]
    assert len(served) == 2 * len(planned(**STACKS[stack]).data)
    assert all(line.endswith(" disabled on-marked-down shutdown-sessions") for line in served)


def test_under_tls_every_node_that_is_asked_is_verified_by_its_name() -> None:
    text = rendered(STACKS["tls"]).plain[CONFIGURATION]
    for node in planned(**STACKS["tls"]).nodes:
        verified = f"server {node.name} {node.endpoint} ssl verify required ca-file /node/conf/ca.crt"
        assert f"{verified} verifyhost {node.name}\n" in text
    assert text.count(" ssl ") == text.count(" verify required ") == 8


@pytest.mark.skipif(not shutil.which("haproxy"), reason="no haproxy on PATH (apt-get install haproxy)")
@pytest.mark.parametrize("stack", ["sentinel", "standalone"])
def test_haproxy_accepts_it(stack: str, tmp_path: Path) -> None:
    files = rendered(STACKS[stack], Place("127.0.0.1", str(PROGRAM), str(tmp_path), str(tmp_path)))
    for name, text in (files.plain | files.secret).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = ["haproxy", "-c", "-f", str(tmp_path / CONFIGURATION)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "Configuration file is valid"), done.stderr


def with_canary(place: Place = PLACE, **overrides: str) -> NodeFiles:
    """As on a target that runs a gateway."""
    canary = {"canary": "10.9.8.7:6379", "canary_read_port": 6390, "canary_share": 10}
    settings = declared(**overrides).model_copy(update=canary)
    return render(planned(**overrides), settings, PASSWORDS["monitor"], place)


def test_the_canarys_share_is_a_file_of_its_own_so_that_a_change_reloads_nothing() -> None:
    files = with_canary()
    assert files.plain[SHARE_FILE] == "10\n"
    assert SHARE_FILE not in rendered({}).plain
    assert "\n    use_backend canary if { lua.to_canary -m bool }\n" in files.plain[CONFIGURATION]
    assert "\n    server-template bucket 1-100 10.9.8.7:6390 " in files.plain[CONFIGURATION]


def test_under_tls_the_canary_answers_to_the_gateways_name() -> None:
    health = " check-ssl verify required ca-file /node/conf/ca.crt verifyhost gateway\n"
    assert health in with_canary(tls="true").plain[CONFIGURATION]
    assert "check-ssl" not in with_canary().plain[CONFIGURATION]


@pytest.mark.skipif(not shutil.which("haproxy"), reason="no haproxy on PATH (apt-get install haproxy)")
def test_haproxy_accepts_a_canary(tmp_path: Path) -> None:
    files = with_canary(Place("127.0.0.1", str(PROGRAM), str(tmp_path), str(tmp_path)))
    for name, text in (files.plain | files.secret).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = ["haproxy", "-c", "-f", str(tmp_path / CONFIGURATION)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
