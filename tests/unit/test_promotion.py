"""CI's promotion: what a push may touch, what gets which secret, and which code runs it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # comes with pulumi, without types

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
JOBS: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/promote.yml").read_text())["jobs"]
PASSPHRASE, SIGNING_KEY = "PULUMI_CONFIG_PASSPHRASE", "ROLLOUT_SIGNING_KEY"


def commands(job: str) -> dict[str, dict[str, str]]:
    """What the job runs, each with its environment."""
    return {step["run"]: step.get("env", {}) for step in JOBS[job]["steps"] if "run" in step}


def test_a_push_goes_no_further_than_staging() -> None:
    pushed = [name for name, job in JOBS.items() if job["if"] == "github.event_name == 'push'"]
    assert pushed == ["staging"]
    assert [each for each in commands("staging") if "advance" in each] == [".ci/promote.sh advance staging"]


def test_everything_beyond_staging_is_in_the_protected_environment() -> None:
    beyond = [name for name in JOBS if ".ci/promote.sh advance" in commands(name)]
    assert [JOBS[name]["environment"] for name in beyond] == ["production"]


def test_only_what_works_on_stacks_gets_the_passphrase() -> None:
    for name, job in JOBS.items():
        assert PASSPHRASE not in job.get("env", {})
        assert all((PASSPHRASE in env) == (" advance" in run) for run, env in commands(name).items())


def test_only_what_writes_the_journal_gets_the_signing_key() -> None:
    for name, job in JOBS.items():
        assert SIGNING_KEY not in job.get("env", {})
        assert all((SIGNING_KEY in env) == (" prepare" not in run) for run, env in commands(name).items())


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_commit(workflow: Path) -> None:
    used = re.findall(r"uses: (.*)", workflow.read_text())
    assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", each) for each in used), used


@pytest.mark.parametrize(
    ("arguments", "asked", "code"),
    [
        (["advance", "staging"], "-m rollout advance --upto staging", 0),
        (["advance"], "-m rollout advance --upto prod", 0),
        (["start"], "-m rollout start", 0),
        ([], "", 2),
        (["stat"], "", 2),
    ],
)
def test_the_script_does_what_it_says(arguments: list[str], asked: str, code: int, tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci/promote.sh"
    script.write_text((ROOT / ".ci/promote.sh").read_text())
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexit 20\n')
    python.chmod(0o755)
    done = subprocess.run(["sh", str(script), *arguments], capture_output=True, text=True, check=False)
    said = tmp_path / "asked"
    assert (done.returncode, said.read_text().strip() if said.exists() else "") == (code, asked)
