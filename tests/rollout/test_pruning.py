"""Trees and environments that nobody needs go at the end of a rollout; those that somebody needs or uses stay."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollout.engine import Code, Engine
from rollout.environments import lock_hash
from rollout.plan import read
from rollout.project_releases import ProjectReleases
from rollout.stacks import Outcome
from rollout.store import FolderStore
from smoke_tests.verdict import Verdict
from tests.rollout.fakes import UNATTENDED, FolderStacks
from tests.rollout.repository import Repository

USER = """
import sys
from pathlib import Path
from rollout.trees import working_tree
wanted = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
(working_tree(*wanted) / "setting").write_text("edited")
working_tree(*wanted)  # made anew: another folder, and another lock
print("uses it", flush=True)
sys.stdin.read()
"""


class Bench:
    """Three releases, each with a tree, an environment and a stack's file."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "state" / "releases"
        self.repository = Repository(folder / "project")
        self.releases = ProjectReleases(self.repository.root / "rollout.yaml", "main", self.repository.root)
        self.commits = [self.repository.first]
        for number in ("two", "three"):
            self.repository.write("uv.lock", number)
            self.commits.append(self.repository.commit(number))
        for commit in self.commits:
            self.environment(commit).mkdir(parents=True)
            self.files(commit).mkdir(parents=True)
            (self.files(commit) / "Pulumi.prod.yaml").touch()

    def tree(self, commit: str) -> Path:
        return self.home / "trees" / commit

    def files(self, commit: str) -> Path:
        return self.home / "stack-files" / commit

    def environment(self, commit: str) -> Path:
        return self.home / "environments" / f"{lock_hash(self.releases._tree(commit))}-python3.11"

    def there(self, commit: str) -> list[bool]:
        """Without making it anew."""
        return [each.exists() for each in (self.tree(commit), self.files(commit))]

    @contextmanager
    def used(self, commit: str) -> Iterator[None]:
        """By another process, until the end."""
        command = [sys.executable, "-c", USER, str(self.repository.root), str(self.home / "trees"), commit]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout and process.stdout.readline() == "uses it\n"
            yield
            process.kill()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("REDIS_STATE_DIR", str(tmp_path / "state"))
    return Bench(tmp_path)


def test_what_no_kept_release_needs_is_removed_and_told(bench: Bench) -> None:
    old, *kept = bench.commits
    environments = [bench.environment(commit) for commit in bench.commits]
    told = bench.releases.prune(kept)
    assert [bench.there(commit) for commit in bench.commits] == [[False] * 2, [True] * 2, [True] * 2]
    assert [each.exists() for each in environments] == [False, True, True]
    gone = (f"trees/{old}", f"stack-files/{old}", f"environments/{environments[0].name}")
    assert told == [f"removed {each}, which no release needs any more" for each in gone]
    assert bench.releases.prune(kept) == []


def test_what_another_process_uses_stays_until_it_ends(bench: Bench) -> None:
    old, *kept = bench.commits
    environment = bench.environment(old)
    with bench.used(old):
        assert bench.releases.prune(kept) == []
        assert bench.there(old) == [True, True] and environment.exists()
    assert len(bench.releases.prune(kept)) == 3


def test_releases_with_the_same_packages_share_an_environment(bench: Bench) -> None:
    bench.repository.write("setting", "B")
    same = bench.repository.commit("the packages of three")
    environment = bench.environment(same)
    bench.releases.prune([same])
    assert environment.exists() and list((bench.home / "environments").iterdir()) == [environment]


def test_environments_stay_while_nobody_knows_what_a_kept_release_needs(bench: Bench) -> None:
    told = bench.releases.prune([*bench.commits[1:], "f" * 40])  # its tree was deleted by hand
    assert [each.partition("/")[0] for each in told] == ["removed trees", "removed stack-files"]


def test_no_link_is_followed(bench: Bench, tmp_path: Path) -> None:
    old, *kept = bench.commits
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").touch()
    (bench.tree(old) / "link").symlink_to(outside)
    (bench.home / "trees" / ("e" * 40)).symlink_to(outside)
    (bench.home / "environments" / "abc-python3.11").symlink_to(outside)
    told = bench.releases.prune(kept)
    assert not any("could not" in each for each in told), told
    assert (outside / "mine").exists() and not bench.tree(old).exists()
    assert not (bench.home / "trees" / ("e" * 40)).is_symlink()
    assert not (bench.home / "environments" / "abc-python3.11").is_symlink()


@pytest.mark.parametrize("name", ["stack-files", "environments"])
def test_a_folder_that_is_elsewhere_is_left_alone(name: str, bench: Bench, tmp_path: Path) -> None:
    moved = (bench.home / name).rename(tmp_path / "elsewhere")
    (bench.home / name).symlink_to(moved)
    before = sorted(moved.iterdir())
    bench.releases.prune(bench.commits[1:])
    assert sorted(moved.iterdir()) == before


def test_what_is_not_ours_stays_and_what_a_killed_command_left_does_not(bench: Bench) -> None:
    mine, *half = (bench.home / name for name in ("trees/notes", "trees/.abc123_x", "environments/.abc-python3.11"))
    for folder in (mine, *half):
        folder.mkdir()
    bench.releases.prune(bench.commits)
    assert mine.exists() and not any(each.exists() for each in half)


def test_what_cannot_be_removed_is_told_and_stops_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("rollout.pruning.shutil.rmtree", refused)
    environment = bench.environment(bench.commits[0])
    told = bench.releases.prune(bench.commits[1:])
    assert not environment.exists(), "half of one would look like a whole one"
    assert told[0] == f"trees/{bench.commits[0]} could not be removed: Permission denied"


def test_there_is_nothing_to_remove_before_anything_was_made(bench: Bench, tmp_path: Path) -> None:
    bench.home.rename(tmp_path / "elsewhere")
    assert bench.releases.prune([]) == []


# When.


class Rollouts:
    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.stacks = FolderStacks(folder / "stacks")
        self.engine = Engine(FolderStore(folder / "journal"), self.stacks, self.said.append)

    def begin(self, release: str) -> None:
        self.stacks.release = release
        self.engine.start(read(UNATTENDED), release)


@pytest.fixture
def rollouts(tmp_path: Path) -> Rollouts:
    return Rollouts(tmp_path)


@pytest.mark.usefixtures("no_power_cut")
def test_at_the_end_the_release_and_the_one_to_go_back_to_are_kept(rollouts: Rollouts) -> None:
    for release in ("r1", "r2"):
        rollouts.begin(release)
        assert rollouts.engine.advance().code is Code.DONE
        rollouts.engine.advance()  # nothing more ends
    rollouts.begin("r3")
    rollouts.engine.abort("x")
    rollouts.stacks.answers["smoke canary"] = Outcome(Verdict.FAIL, "broken", files={"a": b"a"})
    rollouts.begin("r4")
    assert rollouts.engine.advance().code is Code.FAILED
    rollouts.stacks.answers = {"smoke staging": Outcome(Verdict.FAIL, "broken", files={"a": b"a"})}
    rollouts.begin("r5")
    assert rollouts.engine.advance().code is Code.FAILED
    assert rollouts.stacks.kept == [["r1"], ["r1", "r2"], ["r2", "r3"], ["r2", "r4"], ["r2", "r5"]]
    assert rollouts.said.count("removed trees/old, which no release needs any more") == 5


@pytest.mark.usefixtures("no_power_cut")
def test_a_rollback_after_the_end_is_an_end_too_and_a_rollout_under_way_is_none(rollouts: Rollouts) -> None:
    rollouts.begin("r1")
    assert rollouts.engine.advance("staging").code is Code.DONE and rollouts.stacks.kept == []
    rollouts.engine.advance()
    rollouts.engine.rollback("x")
    assert rollouts.stacks.kept == [["r1"], ["r1"]]
