"""A node's folder and processes, tried on a stand-in: a shell script in place of the node's own scripts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from infra.targets import process_control
from infra.targets.process_control import NodeError, await_settled, check_alive, remove, runs, start, stop, write_files
from tests.deployment import await_that

# Like the real one, it writes its pid before anything else.
BEGIN = "#!/bin/sh\necho $$ >run/supervisor.pid\n"
SLEEP = f"{BEGIN}exec sleep 60\n"
# Its environment is whole once the file has its name.
SLEEP_AND_TELL = f'{BEGIN}env >env.part\necho "args $*" >>env.part\nmv env.part env\nexec sleep 60\n'
DEAF = f"{BEGIN}trap '' TERM\n: >deaf\nexec sleep 60\n"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A node's folder; whatever its pid files name and runs there is killed in the end."""
    node = tmp_path / "data-0"
    yield node
    for which in ("supervisor", "server"):
        with suppress(OSError, TypeError):
            os.kill(process_control._pid(node, which), signal.SIGKILL)  # type: ignore[arg-type]


def installed(folder: Path, start_script: str = SLEEP, **scripts: str) -> Path:
    write_files(
        folder, {"node.env": ""}, {"start.sh": start_script} | {f"{name}.sh": scripts[name] for name in scripts}
    )
    return folder


def pid_of(folder: Path, which: str = "supervisor") -> int:
    return int((folder / "run" / f"{which}.pid").read_text())


@pytest.fixture
def sleeper() -> Iterator[Callable[[Path], int]]:
    """Starts a process with this working folder and gives its pid."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(cwd: Path) -> int:
        started.append(subprocess.Popen(["sleep", "60"], cwd=cwd))
        return started[-1].pid

    yield begin
    for process in started:
        process.kill()
        process.wait()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def alive(pid: int) -> bool:
    """Whether there is such a process and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_are_for_their_owner_alone_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        write_files(folder, {"auth.conf": "secret"}, {"start.sh": SLEEP})
    finally:
        os.umask(before)
    assert mode(folder / "conf" / "auth.conf") == 0o600
    assert mode(folder / "bin" / "start.sh") == 0o700
    assert {mode(folder / name) for name in ("conf", "bin", "data", "run")} == {0o700}


def test_a_file_that_was_open_to_others_is_closed(folder: Path) -> None:
    installed(folder)
    (folder / "conf" / "node.env").chmod(0o644)
    installed(folder)
    assert mode(folder / "conf" / "node.env") == 0o600


@pytest.mark.parametrize("step", ["write", "replace"])
def test_an_interrupted_write_leaves_the_old_file_whole_and_the_next_one_succeeds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_files(folder, {"redis.conf": "old\n"}, {})
    with monkeypatch.context() as interrupted:
        if step == "write":
            interrupted.setattr(os, "fdopen", half_written)
        else:
            interrupted.setattr(Path, "replace", lambda *_: stop_here())
        with pytest.raises(KeyboardInterrupt):
            write_files(folder, {"redis.conf": "new, and longer than the old one\n"}, {})
    assert (folder / "conf" / "redis.conf").read_text() == "old\n"
    write_files(folder, {"redis.conf": "new\n"}, {})
    assert contents(folder / "conf") == {"redis.conf": "new\n"}


def half_written(descriptor: int, _mode: str) -> None:
    os.write(descriptor, b"ne")
    os.close(descriptor)
    stop_here()


def stop_here() -> None:
    raise KeyboardInterrupt


def test_data_and_state_survive_new_files(folder: Path) -> None:
    installed(folder)
    (folder / "data" / "dump.rdb").write_text("data")
    installed(folder)
    assert contents(folder / "data") == {"dump.rdb": "data"}


def test_nothing_runs_in_a_folder_that_is_not_there(folder: Path) -> None:
    assert not runs(folder)
    remove(folder)


def test_a_started_node_runs_until_it_is_stopped(folder: Path) -> None:
    start(installed(folder))
    assert runs(folder)
    stop(folder)
    assert not runs(folder)


def test_starting_twice_starts_one_process(folder: Path) -> None:
    start(installed(folder))
    first = pid_of(folder)
    start(folder)
    assert pid_of(folder) == first
    assert runs(folder)


def test_a_node_has_a_session_of_its_own(folder: Path) -> None:
    """So that it outlives the terminal and the engine that started it."""
    start(installed(folder))
    assert os.getsid(pid_of(folder)) == pid_of(folder) != os.getsid(0)


def test_a_node_gets_no_secret_of_its_starter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG", "PULUMI_ACCESS_TOKEN", "REDISCLI_AUTH", "REDIS_PASSWORD")
    for name in secrets:
        monkeypatch.setenv(name, "MaRkEr-5f0c2")
    start(installed(folder, SLEEP_AND_TELL))
    await_that((folder / "env").exists, 5, "the node's word on its environment")
    told = (folder / "env").read_text()
    assert f"args {folder / 'conf' / 'node.env'}\n" in told
    assert f"PATH={os.environ['PATH']}\n" in told
    assert "MaRkEr-5f0c2" not in told
    assert not [name for name in secrets if name in told]


def test_a_recycled_pid_is_not_the_node(folder: Path, sleeper: Callable[[Path], int], tmp_path: Path) -> None:
    installed(folder)
    stranger = sleeper(tmp_path)
    (folder / "run" / "supervisor.pid").write_text(f"{stranger}\n")
    assert not runs(folder)
    stop(folder)
    assert alive(stranger)


def test_another_nodes_process_is_not_this_one(folder: Path, sleeper: Callable[[Path], int], tmp_path: Path) -> None:
    other = installed(tmp_path / "data-1")
    installed(folder)
    for cwd in (other, other / "data"):
        (folder / "run" / "supervisor.pid").write_text(f"{sleeper(cwd)}\n")
        assert not runs(folder)


@pytest.mark.parametrize("text", ["", "not a pid", "-1", "999999999"])
def test_a_pid_file_without_a_living_process_is_no_node(folder: Path, text: str) -> None:
    installed(folder)
    (folder / "run" / "supervisor.pid").write_text(text)
    assert not runs(folder)


def test_a_process_that_ended_and_was_not_waited_for_is_dead(folder: Path) -> None:
    installed(folder)
    with subprocess.Popen(["sleep", "60"], cwd=folder) as zombie:
        (folder / "run" / "supervisor.pid").write_text(f"{zombie.pid}\n")
        assert runs(folder)
        zombie.kill()
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        assert not runs(folder)


def test_a_node_whose_server_is_dead_does_not_run(folder: Path, sleeper: Callable[[Path], int]) -> None:
    installed(folder)
    (folder / "run" / "supervisor.pid").write_text(f"{sleeper(folder)}\n")
    assert runs(folder), "before its decision who is master a node has no server"
    (folder / "run" / "server.pid").write_text(f"{sleeper(folder / 'data')}\n")
    assert runs(folder), "a server works in the data folder"
    (folder / "run" / "server.pid").write_text("999999999\n")
    assert not runs(folder)


def test_a_server_that_starts_while_one_looks_is_no_dead_node(
    folder: Path, sleeper: Callable[[Path], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pid file appears right after it was looked for."""
    start(installed(folder))
    read, file = Path.read_text, folder / "run" / "server.pid"

    def read_then_appears(path: Path, *arguments: Any, **options: Any) -> str:
        try:
            return read(path, *arguments, **options)
        finally:
            if path == file and not file.exists():
                file.write_text(str(sleeper(folder)))

    monkeypatch.setattr(Path, "read_text", read_then_appears)
    assert runs(folder)
    assert file.exists()
    assert runs(folder)


def test_what_a_folder_has_no_record_of_is_ended_with_it(folder: Path, sleeper: Callable[[Path], int]) -> None:
    """As when somebody deleted the run folder, or the whole folder, under a node that runs."""
    installed(folder)
    unrecorded, deeper = sleeper(folder), sleeper(folder / "data")
    shutil.rmtree(folder / "data")
    remove(folder)
    assert not alive(unrecorded)
    assert not alive(deeper)
    installed(folder)
    orphan = sleeper(folder)
    shutil.rmtree(folder)
    remove(folder)
    assert not alive(orphan)


def test_a_start_ends_what_an_earlier_one_left_without_a_record(folder: Path, sleeper: Callable[[Path], int]) -> None:
    unrecorded = sleeper(installed(folder) / "data")
    start(folder)
    assert not alive(unrecorded)
    assert runs(folder)


def test_a_node_whose_supervisor_is_dead_does_not_run(folder: Path, sleeper: Callable[[Path], int]) -> None:
    installed(folder)
    (folder / "run" / "server.pid").write_text(f"{sleeper(folder / 'data')}\n")
    assert not runs(folder)


def test_a_server_without_its_supervisor_is_stopped_the_planned_way(
    folder: Path, sleeper: Callable[[Path], int]
) -> None:
    installed(folder, stop='#!/bin/sh\necho "stopping by $1"\nkill "$(cat "${1%/conf/*}/run/server.pid")"\n')
    (folder / "run" / "server.pid").write_text(f"{sleeper(folder / 'data')}\n")
    stop(folder)
    assert (folder / "node.log").read_text() == f"stopping by {folder / 'conf' / 'node.env'}\n"
    assert process_control._pid(folder, "server") is None


def test_a_node_that_does_not_stop_in_time_is_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_control, "STOP_TIMEOUT_S", 0.1)
    start(installed(folder, DEAF))
    await_that((folder / "deaf").exists, 5, "the node to close its ears")
    pid = pid_of(folder)
    stop(folder)
    await_that(lambda: not alive(pid), 5, "the end of the node")


def test_remove_stops_the_node_and_takes_its_folder(folder: Path) -> None:
    start(installed(folder))
    pid = pid_of(folder)
    remove(folder)
    assert not folder.exists()
    assert not alive(pid)


def test_waiting_for_a_node_ends_when_its_probe_succeeds(folder: Path) -> None:
    start(installed(folder, probe='#!/bin/sh\n[ "$2" = settled ] && cat "${1%/conf/*}/is-ready" 2>/dev/null\n'))
    (folder / "is-ready").touch()
    await_settled(folder)


def test_waiting_for_a_node_that_ended_fails_with_its_last_words(folder: Path) -> None:
    start(installed(folder, f"{BEGIN}seq 100\necho no majority >&2\nexit 1\n", probe="#!/bin/sh\nexit 1\n"))
    with pytest.raises(NodeError, match="data-0: ended while starting") as caught:
        await_settled(folder)
    assert str(caught.value).splitlines()[-2:] == ["100", "no majority"]
    assert "\n80\n" not in str(caught.value)


def test_waiting_for_a_node_that_is_never_ready_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_control, "START_TIMEOUT_S", 0.1)
    start(installed(folder, probe="#!/bin/sh\nexit 1\n"))
    with pytest.raises(NodeError, match="not ready within"):
        await_settled(folder)


def test_the_first_node_that_does_not_run_is_named(folder: Path, tmp_path: Path) -> None:
    start(installed(folder))
    check_alive([folder])
    with pytest.raises(NodeError, match="data-1: does not run"):
        check_alive([folder, tmp_path / "data-1", tmp_path / "data-2"])
