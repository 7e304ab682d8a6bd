"""Start A, commit B, leave dirt in the tree, advance to the end: every node of every phase has A's settings."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from rollout.journal import Journal
from rollout.keys import public_pem
from rollout.plan import PHASES
from rollout.signing import VARIABLE
from rollout.store import FolderStore
from tests.deployment import free_ports
from tests.engine.stack import ROOT
from tests.rollout.signers import CI
from tools.engine import find_engine
from tools.passwords import PASSWORD_KEYS
from tools.private_files import create_once

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

PROGRAM = "infra/node_config.py"
PLAN = {
    "project": "short",
    "journal": ".state/rollout",
    "signing": {"keys": {"ci": public_pem(CI)}},
    "sampleGap": "2s",
    "rollback": {"contract": "keep"},
    "phases": {
        phase: {
            "stack": phase,
            "samples": phase,
            "steps": ["preflight", "preview", "up", "smoke", {"monitoring" if phase == "prod" else "soak": "1s"}],
        }
        for phase in PHASES
    },
}


class Project:
    """A copy of this project as it lies here, in a repository of its own, with three stacks of one process each."""

    def __init__(self, folder: Path) -> None:
        self.root, self.state = folder / "project", folder / "state"
        left = shutil.ignore_patterns(".git", ".venv", ".state", "evidence", "__pycache__", ".*_cache", ".hypothesis")
        shutil.copytree(ROOT, self.root, ignore=left)
        (self.root / ".venv").symlink_to((ROOT / ".venv").resolve())
        self.git("init", "--quiet", "--initial-branch", "main")
        (self.root / ".git/info/exclude").write_text("/.venv\n")
        first = free_ports(30)
        self.ports = {phase: first + 10 * n for n, phase in enumerate(PHASES)}
        (self.root / "rollout.yaml").write_text(json.dumps(PLAN))
        create_once(folder / "passphrase", secrets.token_urlsafe(16))
        (self.state / "backend").mkdir(parents=True)
        self.environment = {name: value for name, value in os.environ.items() if name != "STACK_CONFIG_FILE"} | {
            "REDIS_STATE_DIR": str(self.state),
            "PULUMI_BACKEND_URL": f"file://{self.state / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(folder / "passphrase"),
            VARIABLE: CI.private_bytes.decode(),
            "PATH": os.pathsep.join([str(find_engine().pulumi.parent), os.environ["PATH"]]),
        }

    def write(self, maxmemory: str, keepalive: int) -> None:
        """The stacks' files without their secrets, and the program."""
        for phase in PHASES:
            settings = {
                "target": "process",
                "mode": "standalone",
                "dataPort": self.ports[phase],
                "maxmemory": maxmemory,
            }
            lines = "".join(f"  redis-sentinel:{key}: '{value}'\n" for key, value in settings.items())
            (self.root / f"Pulumi.{phase}.yaml").write_text(f"config:\n{lines}")
        source = self.root / PROGRAM
        text, count = re.subn(r'"tcp-keepalive \d+"', f'"tcp-keepalive {keepalive}"', source.read_text())
        assert count == 1
        source.write_text(text)

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
        return self.run(["git", *who, *arguments])

    def make_secrets(self, phase: str) -> None:
        """As `make secrets` does, in fewer calls: salt and passwords, in the working copy's file alone."""
        options = ["--stack", phase, "--non-interactive"]
        self.run(["pulumi", "stack", "init", phase, "--no-select", "--non-interactive"])
        given = [word for key in PASSWORD_KEYS for word in ("--secret", f"{key}={secrets.token_urlsafe(24)}")]
        self.run(["pulumi", "config", "set-all", *options, *given])

    def rollout(self, *arguments: str, code: int = 0) -> str:
        return self.run([sys.executable, "-m", "tests.rollout.short_rollout", *arguments], code)

    def run(self, command: list[str], code: int = 0) -> str:
        environment = getattr(self, "environment", None)
        done = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode == code, f"{command[:4]}: {done.stdout}{done.stderr}"
        return done.stdout

    def nodes(self) -> dict[str, str]:
        """Each stack's configuration files, as its node reads them."""
        files = sorted(self.state.glob("nodes/*/*/conf/*.conf"))
        found = dict.fromkeys((file.parts[-4] for file in files), "")
        for file in files:
            found[file.parts[-4]] += file.read_text()
        return found


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Nothing of its stacks survives the test."""
    project = Project(tmp_path)
    try:
        yield project
    finally:
        for file in project.state.glob("nodes/*/*/run/*.pid"):
            with suppress(ProcessLookupError, ValueError):
                os.killpg(os.getpgid(int(file.read_text())), signal.SIGKILL)


def test_every_node_of_every_phase_has_the_release_that_was_started(project: Project, tmp_path: Path) -> None:
    project.write("64mb", 60)
    first = project.commit("A")
    with ThreadPoolExecutor() as pool:
        list(pool.map(project.make_secrets, PHASES))
    project.rollout("start", "--release", "HEAD")
    kept = {phase: (project.root / f"Pulumi.{phase}.yaml").read_text() for phase in PHASES}
    project.write("65mb", 61)
    project.commit("B")
    project.write("66mb", 62)
    for phase, content in kept.items():  # the secrets stay in the working copy's files, its settings are dirt
        (project.root / f"Pulumi.{phase}.yaml").write_text(content.replace("64mb", "66mb"))
    said = project.rollout("advance")
    assert f"{first} serves all clients, proven" in said
    nodes = project.nodes()
    assert sorted(nodes) == sorted(PHASES)
    for stack, content in nodes.items():
        assert "tcp-keepalive 60" in content and "maxmemory 64mb" in content, (stack, content)
    entries = Journal(FolderStore(project.root / ".state" / "rollout")).entries
    bound = [each.data["binding"]["commit"] for each in entries if "binding" in each.data]
    assert bound == [first] * 3
    assert all(each.is_signed for each in entries)
    project.rollout("report", "--out", str(tmp_path / "report"), code=40)  # nobody probed: it shows little
    shutil.rmtree(project.root / ".state")
    elsewhere = Path(shutil.move(tmp_path / "report", tmp_path / "elsewhere"))
    (tmp_path / "ci.pub.pem").write_text(public_pem(CI))
    (head,) = re.findall(r"head ([0-9a-f]{64})", said)
    told = ["--key", str(tmp_path / "ci.pub.pem"), "--head", head]
    assert "the report is what its raw files say" in project.rollout("verify", str(elsewhere / "report.json"), *told)
