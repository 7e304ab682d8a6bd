"""A small repository that releases are made of: a plan, stack files, one setting, lock files."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.rollout.fakes import UNATTENDED

LOCKS = ("pyproject.toml", "uv.lock", "requirements.lock")
STACK = "config:\n  redis-sentinel:target: process\n  redis-sentinel:maxmemory: {}mb\n"


class Repository:
    """`root` with the branch main and one commit."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.git("init", "--quiet", "--initial-branch", "main")
        self.write(".gitignore", ".venv/\n.state/\n")
        self.write("rollout.yaml", UNATTENDED)
        self.write("setting", "A")
        self.write("run.sh", "#!/bin/sh\n")
        (root / "run.sh").chmod(0o755)
        for name in LOCKS:
            self.write(name, "one")
        for stack in ("staging", "canary", "prod"):
            self.write(f"Pulumi.{stack}.yaml", STACK.format(64))
        self.first = self.commit("A")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *who, *arguments], cwd=self.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout
