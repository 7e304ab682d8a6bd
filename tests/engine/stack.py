"""A dev stack of a test's own: the README's commands, the real engine, own state folder, own ports."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

from client.contract_file import read_operator_contract
from client.crosscheck import findings, observe
from client.links import open_as
from infra.contract import OperatorContract
from smoke_tests.evidence import Evidence
from smoke_tests.verdict import Verdict
from tests.deployment import await_that, free_ports
from tests.waiting import SLACK

ROOT = Path(__file__).resolve().parents[2]
# The resources that change nothing, and wait.
_LOOKED_AGAIN = re.compile(r":(?:Ready|Convergence|Rollout) \S+ updated")


MEASURED = {
    "contract.sentinel-path",
    "contract.standalone-path",
    "replication.offsets",
    "failover.gap",
    "failover.old-master",
    "failover.agreement",
}
"""The checks of the smoke suite whose threshold is a time."""
LATE = ("Timeout", "the fence ended before it was renewed")
"""What others say when the machine had no time for them."""


class Stack:
    """`make` on a stack, `dev` unless a subclass says otherwise, with everything under `home`."""

    name = "dev"
    within: tuple[str, ...] = ()
    """What `make` is started by, if not by us: a shell with limits, say."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.state = home / "state"
        self.nodes = self.state / "nodes" / self.name
        self.config = home / f"Pulumi.{self.name}.yaml"
        first = free_ports(20)
        self._started: list[subprocess.Popen[str]] = []
        self._known: tuple[int, OperatorContract] | None = None
        self.configure({"target": "process", "dataPort": str(first), "sentinelPort": str(first + 10)} | settings)

    def configure(self, settings: dict[str, str]) -> None:
        self.settings = settings
        lines = "".join(f"  redis-sentinel:{key}: {value!r}\n" for key, value in settings.items())
        self.config.write_text(f"config:\n{lines}")

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "REDIS_STATE_DIR": str(self.state),
            "STACK_CONFIG_FILE": str(self.config),
            "COLUMNS": "120",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`make ARGUMENTS` in the background, in a process group of its own."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*self.within, "make", "-s", *arguments, f"STACK={self.name}"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def make(self, *arguments: str, fails: bool = False) -> str:
        """`make ARGUMENTS`; returns what it printed. AssertionError when its success is not as expected."""
        process = self.start(*arguments)
        try:
            output, _ = process.communicate(timeout=400)
        except subprocess.TimeoutExpired:
            # Its lock would refuse whatever is asked of the stack next.
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            raise AssertionError(f"make {shlex.join(arguments)} had not ended after 400 s:\n{output}") from None
        ended = process.returncode
        assert (ended != 0) == fails, f"make {shlex.join(arguments)} ended with {ended}:\n{output}"
        return output

    def operations(self, output: str) -> dict[str, int]:
        """The engine's summary: {'created': 9} or {'unchanged': 9}."""
        summary = output.rpartition("Resources:")[2].partition("Duration:")[0]
        return {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", summary)}

    def up_unchanged(self) -> str:
        """One more `up`, which does nothing; what it printed.

        Beside others a node may be too slow to answer: then the step that waits for it looks again, and does no more.
        """
        output = self.make("up")
        looked_again = len(_LOOKED_AGAIN.findall(output)) if SLACK > 1 else 0
        done = self.operations(output)
        assert done == {"unchanged": done.get("unchanged")} | ({"updated": looked_again} if looked_again else {}), (
            output
        )
        return output

    def smoke(self, folder: Path | None = None) -> str:
        """The whole suite, its evidence in `folder`; what it printed.

        Beside other tests, what measures time may fail: that takes as long as they make it take.
        """
        folder = folder or self.home / "evidence"
        try:
            return self.make("smoke", f"ARGS=--evidence {folder}")
        except AssertionError as error:
            latest = max(folder.glob("*/*.json"), default=None)
            if SLACK == 1 or latest is None:
                raise
            evidence = Evidence.model_validate_json(latest.read_text())
            failed = {
                each.check
                for each in evidence.checks
                if each.verdict is not Verdict.PASS and not any(word in each.reason for word in LATE)
            }
            if evidence.not_run or not failed <= MEASURED:
                raise
            print(f"beside other tests: {error}")
            return str(error)

    def contract(self) -> OperatorContract:
        """What the stack exports. The engine is asked again only when a command has run since: that takes a second."""
        if any(process.poll() is None for process in self._started):
            return self._exported()
        if not self._known or self._known[0] != len(self._started):
            self._known = (len(self._started), self._exported())
        return self._known[1]

    def _exported(self) -> OperatorContract:
        target = self.home / "operator.env"
        command = [sys.executable, "-m", "tools.stack", "operator-env", "--stack", self.name, "--out", str(target)]
        subprocess.run(command, cwd=ROOT, env=self.environment, check=True)
        return read_operator_contract(target)

    def pids(self) -> dict[str, int]:
        """The server pid of each node that lives."""
        found = {}
        for path in self.nodes.glob("*/run/server.pid"):
            with suppress(FileNotFoundError):  # a node that starts removes what the one before it left
                found[path.parents[1].name] = int(path.read_text())
        return {name: pid for name, pid in found.items() if Path(f"/proc/{pid}").exists()}

    def kill(self, *names: str) -> None:
        for name, pid in self.pids().items():
            if name in names:
                os.kill(pid, signal.SIGKILL)

    def log(self, name: str) -> str:
        return (self.nodes / name / "node.log").read_text(errors="replace")

    def processes(self) -> dict[int, str]:
        """Every living process that has to do with this stack: by working folder or by what its environment says."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                mine = str(self.state).encode()
                cwd = str((folder / "cwd").readlink()).encode()
                if cwd.startswith(mine) or mine in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        return found


def findings_of(contract: OperatorContract) -> tuple[str, ...]:
    """What the cross-check finds. Beside other tests, who did not answer in time is asked again, twice."""
    for _ in range(3 if SLACK > 1 else 1):
        found = findings(contract, observe(contract))
        if not any("TimeoutError" in each for each in found):
            break
    return found


def master_of(contract: OperatorContract) -> str:
    """The one node that says role:master."""
    masters = [node.name for node in observe(contract).masters]
    assert len(masters) == 1, f"masters: {masters}"
    return masters[0]


def await_noted(stack: Stack) -> None:
    """Wait until every data node notes how far its data set reaches, now and in its master's time.

    It cannot with the passwords or the nodes of before.
    """
    contract, begun = stack.contract(), time.time()
    master = master_of(contract)
    at = next(node.endpoint for node in contract.nodes if node.name == master)

    def time_of_now() -> str:
        with closing(open_as(contract, "operator", at, 2.0 * SLACK)) as link:
            replid = link.info("replication")["master_replid"]
            word = str(link.config_get("cluster-announce-hostname")["cluster-announce-hostname"])
        assert word.endswith(f".{replid}"), f"{master} has told no time of its own yet: {word}"
        return word

    epoch, generation, *_ = await_that(time_of_now, 15, f"the time of {master}").split(".")
    for node in contract.nodes:
        note = stack.nodes / node.name / "data" / "reach"
        await_that(
            lambda note=note: (  # type: ignore[misc]
                note.stat().st_mtime > begun and note.read_text().startswith(f"{epoch}.{generation}.")
            ),
            15,
            f"a note of {node.name} in the time of {master}",
        )


def await_converged(contract: OperatorContract) -> None:
    await_that(lambda: not findings_of(contract), 60, "agreement")
