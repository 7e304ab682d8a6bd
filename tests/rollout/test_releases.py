"""A release is a commit: what may be one, and what its tree, its plan and its stack files hold."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # comes with pulumi, without types
from typer.testing import CliRunner

from rollout import environments, stack_files
from rollout.cli import make_app
from rollout.errors import RolloutError
from rollout.project_releases import ProjectReleases
from rollout.trees import working_tree
from rollout.working_tree import WorkingTree
from tests.rollout.fakes import UNATTENDED
from tests.rollout.repository import STACK, Repository
from tools import bootstrap
from tools.stacks import Stack


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("REDIS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("STACK_CONFIG_FILE", raising=False)
    return Repository(tmp_path / "project")


@pytest.fixture
def releases(repository: Repository) -> ProjectReleases:
    return ProjectReleases(repository.root / "rollout.yaml", "main", repository.root)


def tree_of(releases: ProjectReleases, release: str) -> Path:
    return releases._tree(release)


def test_a_name_stands_for_a_full_commit(repository: Repository, releases: ProjectReleases) -> None:
    repository.git("tag", "v1")
    for name in ("", "HEAD", "main", "v1", repository.first[:10], repository.first):
        assert releases.commit(name) == repository.first


@pytest.mark.parametrize("name", ["-f", "--upload-pack=x", "no such commit", "HEAD:setting", "f" * 40, "a\0b"])
def test_what_is_no_commit_is_refused(releases: ProjectReleases, name: str) -> None:
    with pytest.raises(RolloutError, match=r"is no commit of .*; expected a commit(.|\n)*fix: "):
        releases.commit(name)


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ("-f", "release '-f' is no commit of"),
        ("no such commit", "release 'no such commit' is no commit of"),
        ("mine", "is not on branch main"),
        ("main", "changes that no commit has: setting; nothing was begun"),
    ],
)
def test_nothing_begins_with_what_is_no_release(repository: Repository, release: str, said: str) -> None:
    repository.git("checkout", "--quiet", "-b", "mine")
    repository.write("setting", "mine")
    repository.commit("not merged")
    repository.git("checkout", "--quiet", "main")
    repository.write("setting", "dirt")
    app = make_app(lambda plan, branch: ProjectReleases(plan, branch, repository.root))
    journal = repository.root.parent / "journal"
    where = ["--plan", str(repository.root / "rollout.yaml"), "--journal", str(journal)]
    done = CliRunner().invoke(app, ["start", f"--release={release}", *where])
    assert (done.exit_code, said in " ".join(done.output.split())) == (1, True), done.output
    assert not journal.exists()


@pytest.mark.parametrize("name", ["-f", "--upload-pack=x"])
def test_git_is_never_asked_for_a_name_that_could_be_an_option(
    releases: ProjectReleases, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def git(_root: Path, *arguments: str) -> bytes:
        asked.extend(arguments)
        return b"0" * 40

    monkeypatch.setattr("rollout.git.git", git)
    with pytest.raises(RolloutError, match="is no commit of"):
        releases.commit(name)
    assert asked == []


def test_a_commit_that_the_allowed_branch_lacks_is_refused(repository: Repository, releases: ProjectReleases) -> None:
    repository.git("checkout", "--quiet", "-b", "mine")
    repository.write("setting", "mine")
    mine = repository.commit("not merged")
    for refused in (lambda: releases.commit("mine"), lambda: releases.stacks(mine), lambda: releases.plan(mine)):
        with pytest.raises(RolloutError, match=r"is not on branch main(.|\n)*fix: merge it"):
            refused()
    elsewhere = ProjectReleases(repository.root / "rollout.yaml", "trunk", repository.root)
    with pytest.raises(RolloutError, match=r"'trunk', is not here(.|\n)*fix: "):
        elsewhere.commit("HEAD")


@pytest.mark.parametrize("change", ["edited", "staged", "new"])
def test_a_tree_with_changes_is_refused(repository: Repository, releases: ProjectReleases, change: str) -> None:
    repository.write("new" if change == "new" else "setting", "dirt")
    if change == "staged":
        repository.git("add", "--all")
    with pytest.raises(RolloutError, match=r"changes that no commit has: (new|setting); nothing was begun"):
        releases.commit("HEAD")


def test_secrets_and_what_the_rollout_itself_declares_are_no_change(
    repository: Repository, releases: ProjectReleases
) -> None:
    operated = STACK.format(64) + "  redis-sentinel:canaryShare: '5'\n  redis-sentinel:appPassword:\n    secure: v1:x\n"
    repository.write("Pulumi.prod.yaml", operated + "encryptionsalt: v1:salt\n")
    assert releases.commit("HEAD") == repository.first
    repository.write("Pulumi.prod.yaml", operated.replace("64mb", "65mb"))
    with pytest.raises(RolloutError, match=r"Pulumi\.prod\.yaml"):
        releases.commit("HEAD")


def test_the_tree_is_the_commits_and_private(repository: Repository, releases: ProjectReleases) -> None:
    repository.write("setting", "B")
    repository.write("Pulumi.staging.yaml", STACK.format(65))
    repository.commit("B")
    repository.write("setting", "dirt")
    repository.write("more", "dirt")
    tree = tree_of(releases, repository.first)
    assert sorted(path.name for path in tree.iterdir()) == sorted(
        repository.git("ls-tree", "--name-only", repository.first).split()
    )
    assert ((tree / "setting").read_text(), os.access(tree / "run.sh", os.X_OK)) == ("A", True)
    assert stat.S_IMODE(tree.stat().st_mode) == 0o700


def test_a_tree_that_somebody_changed_is_made_whole_before_it_is_used(
    repository: Repository, releases: ProjectReleases
) -> None:
    tree = tree_of(releases, repository.first)
    (tree / "setting").write_text("somebody's")
    (tree / "sitecustomize.py").write_text("raise SystemExit")
    (tree / "tools").mkdir()
    (tree / "tools" / "x.py").write_text("")
    (tree / "run.sh").chmod(0o644)
    (tree / "uv.lock").unlink()
    (tree / "uv.lock").symlink_to("/etc/hostname")
    assert tree_of(releases, repository.first) == tree
    assert (tree / "setting").read_text() == "A" and os.access(tree / "run.sh", os.X_OK)
    assert not (tree / "uv.lock").is_symlink()
    assert not (tree / "sitecustomize.py").exists() and not (tree / "tools").exists()


def test_attributes_and_links_of_a_commit_are_taken_as_they_are(repository: Repository, tmp_path: Path) -> None:
    repository.write(".gitattributes", "secret export-ignore\nname export-subst\n")
    repository.write("secret", "kept")
    repository.write("name", "$Format:%H$")
    (repository.root / "link").symlink_to("setting")
    commit = repository.commit("attributes")
    tree = working_tree(repository.root, tmp_path / "trees", commit)
    assert ((tree / "secret").read_text(), (tree / "name").read_text()) == ("kept", "$Format:%H$")
    assert (tree / "link").readlink() == Path("setting")


def test_the_plan_is_the_commits(repository: Repository, releases: ProjectReleases, tmp_path: Path) -> None:
    repository.write("rollout.yaml", UNATTENDED.replace("soak: 30s", "soak: 1s"))
    second = repository.commit("a shorter soak")
    repository.write("rollout.yaml", "somebody's")
    soaks = [
        [step.seconds for _, _, step in releases.plan(each).steps() if step.kind == "soak"]
        for each in (repository.first, second)
    ]
    assert soaks == [[30, 30], [1, 1]]
    with pytest.raises(RolloutError, match="is no full commit"):
        releases.plan("main")
    outside = ProjectReleases(tmp_path / "rollout.yaml", "main", repository.root)
    with pytest.raises(RolloutError, match="is in no commit"):
        outside.plan(repository.first)


def test_settings_are_the_commits_and_secrets_those_in_use(repository: Repository, releases: ProjectReleases) -> None:
    old = "  redis-sentinel:appPassword:\n    secure: v1:old\n"
    repository.write("Pulumi.prod.yaml", STACK.format(64) + old + "encryptionsalt: v1:salt\n")
    release = repository.commit("passwords")
    before = releases.bound(release, "prod")
    rotated = old.replace("old", "new") + "  redis-sentinel:contractMode: standalone\n"
    repository.write("Pulumi.prod.yaml", STACK.format(65) + rotated + "encryptionsalt: v1:salt\n")
    files = releases._files(release, tree_of(releases, release))
    found = yaml.safe_load(files.stack("prod").committed_config.read_text())
    assert found == {
        "encryptionsalt": "v1:salt",
        "config": {
            "redis-sentinel:target": "process",
            "redis-sentinel:maxmemory": "64mb",
            "redis-sentinel:contractMode": "standalone",
            "redis-sentinel:appPassword": {"secure": "v1:new"},
        },
    }
    repository.write("Pulumi.prod.yaml", STACK.format(65) + old.replace("old", "new") + "encryptionsalt: v1:salt\n")
    after = releases.bound(release, "prod")
    assert {key for key in after if after[key] != before[key]} == {"secrets"}
    assert before["commit"] == release and before["tree"] == repository.git("rev-parse", f"{release}^{{tree}}").strip()


def test_what_a_command_declares_goes_into_the_projects_file(
    repository: Repository, releases: ProjectReleases, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared: list[tuple[Path, str, str]] = []

    def declare(stack: Stack, key: str, value: str) -> None:
        declared.append((stack.committed_config, key, value))

    monkeypatch.setattr(stack_files, "declare", declare)
    files = releases._files(repository.first, tree_of(releases, repository.first))
    with files.lent("prod"):
        pass
    with files.lent("prod") as file:
        file.write_text(file.read_text() + "  redis-sentinel:canaryShare: '5'\n  redis-sentinel:maxmemory: 9mb\n")
    assert declared == [(repository.root / "Pulumi.prod.yaml", "canaryShare", "5")]


def test_a_release_without_the_stacks_file(repository: Repository, releases: ProjectReleases) -> None:
    with pytest.raises(RolloutError, match=r"has no Pulumi\.other\.yaml(.|\n)*fix: "):
        releases.bound(repository.first, "other")


def environment(venv: Path, lock: str) -> None:
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "lock-stamp").write_text(lock)


def test_the_environment_is_the_projects_own_or_made_once_by_the_lock_files(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(repository.root / ".venv", bootstrap.fingerprint(repository.root))
    same = working_tree(repository.root, tmp_path / "trees", repository.first)
    repository.write("requirements.lock", "two")
    other = working_tree(repository.root, tmp_path / "trees", repository.commit("another package"))
    made: list[Path] = []

    def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        assert not [name for name in env if name.startswith("PULUMI_")]
        folder = Path(command[-1])
        made.append(folder)
        environment(folder / ".venv", bootstrap.fingerprint(folder))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "secret")
    monkeypatch.setattr(subprocess, "run", run)
    home = tmp_path / "environments"
    assert environments.environment_of(same, repository.root, home) == repository.root / ".venv"
    found = {environments.environment_of(other, repository.root, home) for _ in range(2)}
    assert len(found) == len(made) == 1 and found == {made[0] / ".venv"}


def test_an_environment_that_cannot_be_made_is_one_error(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "the index is away")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(RolloutError, match=r"the index is away(.|\n)*fix: "):
        environments.environment_of(repository.root, repository.root / "elsewhere", tmp_path / "environments")


def test_commands_run_in_the_tree_with_its_python_on_the_projects_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONPATH", "STACK_CONFIG_FILE", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/elsewhere")
    environment(tmp_path / "tree" / ".venv", "x")
    (tmp_path / "tree" / "which.py").write_text(
        "import os, sys; print(os.getcwd(), sys.executable, os.environ['REDIS_STATE_DIR'], 'PYTHONPATH' in os.environ)"
    )
    tree = WorkingTree("r", tmp_path / "tree", tmp_path / "state")
    said = tree.python(["-m", "which"]).stdout.split()
    assert said == [str(tree.folder), str(tree.folder / ".venv/bin/python"), str(tree.state), "False"]
