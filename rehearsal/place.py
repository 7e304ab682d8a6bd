"""A place of its own for a rehearsal: a clone of the project, with its own stacks, state, backend and probers."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # comes with pulumi, without types
from securesystemslib.signer import CryptoSigner

from rollout.keys import public_pem
from rollout.signing import VARIABLE as SIGNING_KEY
from tools.paths import ROOT

PHASES = ("staging", "canary", "prod")
COMMAND_S = 1800
PROBES_A_SECOND = 100
# Of the clone, whatever is checked out here.
BRANCH = "rehearsal"
# Who runs commands: the first signs the journal, the second its approvals.
STARTER, APPROVER = "starter", "approver"


class RehearsalError(Exception):
    """It cannot go on. The message says what was seen."""


class Place:
    """The clone's folder and what is done in it. Commands run there as a person would run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Short and of its own: it is in the names of containers, networks and rules.
        self.mark = f"r{secrets.token_hex(2)}"
        # For this rehearsal only: they are in no file.
        self._signers = {name: CryptoSigner.generate_ed25519() for name in (STARTER, APPROVER)}
        self._probers: dict[str, subprocess.Popen[bytes]] = {}

    def stack(self, phase: str) -> str:
        return f"{self.mark}{phase}"

    def public_key(self, name: str) -> str:
        """Of the starter or the approver, as PEM."""
        return public_pem(self._signers[name])

    @property
    def environment(self) -> dict[str, str]:
        ours = {
            "PULUMI_BACKEND_URL": f"file://{self.folder / '.state' / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.folder / ".state" / "passphrase"),
            "REDIS_STATE_DIR": str(self.folder / ".state"),
            "ROLLOUT_PLAN": str(self.folder / "rollout.yaml"),
        }
        left = ("STACK_CONFIG_FILE", "PULUMI_CONFIG_PASSPHRASE", "ROLLOUT_JOURNAL", "PULUMI_ACCESS_TOKEN", SIGNING_KEY)
        return {name: value for name, value in os.environ.items() if name not in left} | ours

    def git(self, *arguments: str) -> str:
        """Raises RehearsalError."""
        who = ["-c", "user.name=rehearsal", "-c", "user.email=rehearsal@localhost"]
        return self._checked(["git", *who, *arguments])

    def configure(self, phase: str, settings: Mapping[str, str]) -> None:
        """The stack's settings; its salt and passwords stay."""
        file = self.folder / f"Pulumi.{self.stack(phase)}.yaml"
        content = (yaml.safe_load(file.read_text()) if file.exists() else None) or {}
        kept = {key: value for key, value in (content.get("config") or {}).items() if isinstance(value, dict)}
        ours = {f"redis-sentinel:{key}": value for key, value in settings.items()}
        file.write_text(yaml.safe_dump(content | {"config": kept | ours}))

    def release(self, plan: str) -> str:
        """What lies here with this plan, as a commit of the branch that releases come from. Raises RehearsalError."""
        (self.folder / "rollout.yaml").write_text(plan)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "A release of the rehearsal")
        return self.git("rev-parse", "HEAD").strip()

    def tool(self, *arguments: str) -> str:
        """`python -m tools.stack ...`; what it printed. Raises RehearsalError."""
        return self.module("tools.stack", *arguments)

    def module(self, *arguments: str) -> str:
        """`python -m ...`; what it printed. Raises RehearsalError."""
        return self._checked([sys.executable, "-m", *arguments])

    def secret(self, phase: str, key: str, value: str) -> None:
        """Set a secret; it goes through standard input. Raises RehearsalError."""
        arguments = ["pulumi", "--stack", self.stack(phase), "--", "config", "set", "--secret", key]
        self._checked([sys.executable, "-m", "tools.stack", *arguments], value)

    def rollout(
        self, *arguments: str, say: Callable[[str], None] = lambda _line: None, actor: str = STARTER
    ) -> tuple[int, list[str]]:
        """`python -m rollout ...`: its exit code and its lines, each told to `say` when it comes."""
        lines = []
        ours = {"ROLLOUT_ACTOR": actor, SIGNING_KEY: self._signers[actor].private_bytes.decode()}
        with subprocess.Popen(
            [sys.executable, "-u", "-m", "rollout", *arguments],
            cwd=self.folder,
            env=self.environment | ours,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            for line in process.stdout or ():
                if line.strip():
                    lines.append(line.rstrip())
                    say(lines[-1])
        return process.returncode, lines

    def contract(self, phase: str) -> Path:
        """The operator's contract as a file that only we can read. Raises RehearsalError."""
        file = self.folder / ".state" / f"{phase}.contract"
        self.tool("operator-env", "--stack", self.stack(phase), "--out", str(file))
        return file

    def probe(self, phase: str, release: str) -> None:
        """The prober beside the phase's stack, its samples labelled with the release; replaces an earlier one."""
        self.stop_prober(phase)
        command = [sys.executable, "-m", "prober", "--contract", str(self.contract(phase))]
        options = ["--out", f".state/samples/{phase}", "--release", release, "--rate", str(PROBES_A_SECOND)]
        with (self.folder / ".state" / f"{phase}.prober.log").open("ab") as log:
            self._probers[phase] = subprocess.Popen(
                [*command, *options], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )

    def stop_prober(self, phase: str) -> None:
        prober = self._probers.pop(phase, None)
        if prober:
            prober.send_signal(signal.SIGTERM)
            try:
                prober.wait(60)
            except subprocess.TimeoutExpired:
                prober.kill()
                prober.wait()

    def remove(self) -> list[str]:
        """End every stack that there is. What could not be removed."""
        for phase in PHASES:
            self.stop_prober(phase)
        problems = []
        for phase in reversed(PHASES):
            stack = self.stack(phase)
            if (self.folder / f"Pulumi.{stack}.yaml").exists():
                try:
                    self.tool("down", "--stack", stack, "--confirm", stack)
                except RehearsalError as error:
                    problems.append(str(error))
        return problems

    def _checked(self, command: Sequence[str], said: str | None = None) -> str:
        done = self._run(command, said)
        if done.returncode != 0:
            raise RehearsalError(f"`{' '.join(command[:6])} ...` ended with {done.returncode}: {done.stdout[-1500:]}")
        return done.stdout

    def _run(self, command: Sequence[str], said: str | None = None) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment,
                input=said or "",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=COMMAND_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RehearsalError(f"`{' '.join(command[:6])} ...` had not ended after {COMMAND_S} s") from None


@contextmanager
def made() -> Iterator[Place]:
    """A place, its stacks and folder removed at the end. Raises RehearsalError, also when something was left."""
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-"))
    place = Place(folder / "project")
    try:
        subprocess.run(
            ["git", "clone", "--quiet", "--shared", str(ROOT), str(place.folder)], check=True, capture_output=True
        )
        (place.folder / ".git/info/exclude").write_text("/.venv\n")
        place.git("checkout", "--quiet", "-B", BRANCH)
        (place.folder / ".venv").symlink_to(ROOT / ".venv")
        (place.folder / ".state" / "backend").mkdir(parents=True)
        passphrase = place.folder / ".state" / "passphrase"
        passphrase.touch(mode=0o600)
        passphrase.write_text(secrets.token_urlsafe(32))
        yield place
    finally:
        try:
            problems = place.remove()
        except KeyboardInterrupt:
            problems = ["interrupted again, while the stacks were being removed"]
        if problems:
            raise RehearsalError(f"left behind, its state is in {folder}: {'; '.join(problems)}")
        shutil.rmtree(folder, ignore_errors=True)
