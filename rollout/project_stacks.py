"""The project's own stacks: every operation is a command that a person can run too, its output kept as evidence.

Each runs in a process of its own (`python -m tools.stack ...`), in the tree and the environment of one release, and
takes care of the engine, locks, interrupted runs and the contract's secrets. What this project cannot do yet says so,
as inconclusive, and never passes.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, NonNegativeInt, PositiveInt, ValidationError

from client.contract_file import read_operator_contract
from client.crosscheck import observe
from client.ledger import Ledger
from infra.contract import OperatorContract
from prober.samples import Sample, SamplesDamaged, newest_samples, read_samples
from rollout import standalone
from rollout.container_logs import logs_of
from rollout.entries import canonical, digest
from rollout.errors import RolloutError
from rollout.faults import Faults
from rollout.plan import Consumer
from rollout.report.inputs import Teeth
from rollout.stack_files import StackFiles
from rollout.stacks import Outcome, StackState
from rollout.working_tree import WorkingTree
from smoke_tests.catalogue import catalogue
from smoke_tests.evidence import Evidence
from smoke_tests.verdict import Verdict, worst
from tools.declared import setting
from tools.deployment import Deployment
from tools.passwords import missing_passwords
from tools.paths import ROOT
from tools.private_files import private_folder
from tools.stack_config import read_config
from tools.stacks import PROJECT, Stack

# Which file of the stack's settings counts (tools/stacks.py).
FILE_VARIABLE = "STACK_CONFIG_FILE"
PACKAGES = (
    "import importlib.metadata as m\nfor name in ('pulumi', 'pulumi-docker'): print(name + '==' + m.version(name))"
)
# What the clients' command is told, and how far the share may be off, in percentage points.
SHARE_VARIABLE = "ROLLOUT_SHARE"
SHARE_POINTS = 2.0
# What a smoke run on Kubernetes leaves beside the suite's evidence.
NETWORK = "network.json"
_NO_CHANGES = ["--expect-no-changes", "--non-interactive", "--color", "never", "--suppress-progress"]


class ShareSeen(BaseModel):
    """What the clients' command prints in its last line: how many clients there are, how many on the canary."""

    clients: PositiveInt
    canary: NonNegativeInt


class Network(BaseModel):
    """network.json of tools/cluster_smoke.py: which of the `denied` addresses answered a stranger."""

    verdict: Verdict
    reason: str
    denied: dict[str, bool] | None


class ProjectStacks:
    """Stacks as `make` works on them, from the tree of one release."""

    def __init__(self, tree: WorkingTree, files: StackFiles) -> None:
        self._tree = tree
        self._files = files
        self._applied: tuple[str, str] | None = None
        """The stack and the contract's mode that the last restore applied, all in one run."""

    def preflight(self, stack: str) -> Outcome:
        """Secrets, engine and plugin versions, drift. The settings are validated by the preview that follows."""
        chosen = self._files.stack(stack)
        missing = [] if chosen.is_dev else missing_passwords(read_config(chosen.config))
        facts: dict[str, object] = {
            "release": self._tree.commit,
            "missing secrets": missing,
            "engine": self._said(["-m", "tools.engine"]),
            "packages": self._said(["-c", PACKAGES]).split(),
        }
        files = {"preflight.json": json.dumps(facts, indent=2).encode()}
        problems = {"preflight.problems, problems": float(len(missing))}
        if missing:
            return Outcome(
                Verdict.FAIL, f"no {missing}; fix: make secrets STACK={stack}", figures=problems, files=files
            )
        if not self._state_json(stack).get("resources"):
            return Outcome(Verdict.PASS, "a first deployment", figures=problems, files=files)
        drift = self.drift(stack)
        return Outcome(
            drift.verdict, drift.reason, drift.command, {**problems, **drift.figures}, {**files, **drift.files}
        )

    def preview(self, stack: str) -> Outcome:
        return self._ran("preview", stack, ["preview"])

    def up(self, stack: str) -> Outcome:
        return self._ran("up", stack, ["up"])

    def is_deployed(self, stack: str) -> bool:
        return self._ran("look", stack, ["pulumi"], ["preview", "--refresh", *_NO_CHANGES]).verdict is Verdict.PASS

    def state(self, stack: str) -> StackState:
        resources = self._state_json(stack).get("resources") or []
        if not resources:
            return StackState("", None, None)
        # When something was last looked at is no part of what it is.
        kept = [{key: value for key, value in each.items() if key not in ("created", "modified")} for each in resources]
        epoch, master = self._sentinels(stack)
        return StackState(digest(canonical(kept)), epoch, master)

    def smoke(self, stack: str) -> Outcome:
        return self._smoke(stack, ())

    def failover(self, stack: str) -> Outcome:
        return self._smoke(stack, tuple(spec.id for spec in catalogue() if spec.id.startswith("failover.")))

    def teeth(self, stack: str) -> Outcome:  # noqa: ARG002 - a scratch topology, whatever the stack
        if not (self._tree.folder / "tests/smoke/show_teeth.py").is_file():
            return Outcome(Verdict.INCONCLUSIVE, "the release has no tests/smoke/show_teeth.py: nothing was shown")
        with tempfile.TemporaryDirectory(prefix="teeth-") as folder:
            file = Path(folder) / "teeth.json"
            done = self._tree.python(["-m", "tests.smoke.show_teeth", str(file)])
            files = {"teeth.txt": done.stdout.encode()}
            if file.is_file():
                files["teeth.json"] = file.read_bytes()
        return _toothed(files, done.returncode)

    def faults(self, stack: str) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            file = Path(folder) / "faults.json"
            done = self._tool(stack, ["run"], ["tools.faults", "--out", str(file)])
            files = {"faults.txt": done.stdout.encode()}
            if file.is_file():
                files["faults.json"] = file.read_bytes()
        return _shown(files, done.returncode, f"make faults STACK={stack}")

    def rehearsal(self, stack: str, consumers: Sequence[Consumer]) -> Outcome:
        contract = self._contract(stack)
        if contract.sentinel_enabled and self._setting(stack, "target") == "process":
            return Outcome(
                Verdict.INCONCLUSIVE,
                f"not measured: stack {stack} runs no gateway (target process), so there is no address to roll back to",
            )
        if self._setting(stack, "contractMode") == "standalone":
            self._contract_mode(stack, "sentinel")  # an earlier rehearsal was killed before it went back
            contract = self._contract(stack)
        # Applications of both kinds write throughout: those that have not moved yet, and those that have.
        application = contract.application()
        ledgers = [Ledger(application, writers=2), Ledger(contract.application(standalone=True), writers=2)]
        with ledgers[0], ledgers[1]:
            for ledger in ledgers:
                ledger.wait_for_acks(100)
            try:
                outcome = self.standalone(stack, consumers, 0.0)
                if outcome.verdict is Verdict.PASS:
                    for ledger in ledgers:
                        ledger.wait_for_acks(100)
            finally:
                stuck = self._back_to_sentinel(stack, consumers)
        reports = [ledger.verify() for ledger in ledgers]
        for ledger in ledgers:
            ledger.cleanup()
        figures = {
            **outcome.figures,
            "lost_acks": float(sum(len(each.lost) for each in reports)),
            "gap_s": round(max(each.longest_gap_ms for each in reports) / 1000, 3),
        }
        files = {**outcome.files, "ledger.txt": "\n".join(map(str, reports)).encode()}
        if stuck:
            reason = f"{outcome.reason}; and on the way back to sentinel: {'; '.join(stuck)}"
            outcome = replace(outcome, verdict=Verdict.FAIL, reason=reason)
        return replace(outcome, figures=figures, files=files)

    def share(self, canary: str, prod: str, percent: int, clients: Sequence[str] = ()) -> Outcome:
        arguments = ["-m", "tools.share", "--stack", prod, "--percent", str(percent)]
        with self._files.lent(prod) as file:
            done = self._tree.python(arguments, {FILE_VARIABLE: str(file)})
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        command, files = f"make share STACK={prod} PERCENT={percent}", {"share.txt": done.stdout.encode()}
        if done.returncode != 0:
            return Outcome(Verdict.FAIL, " ".join(lines)[-300:], command, files=files)
        if not clients:
            return Outcome(Verdict.PASS, f"{percent} % to {canary}, not measured", command, files=files)
        said = self._tree.run(clients, {SHARE_VARIABLE: str(percent)}).stdout
        return _seen_share(percent, said, command, files)

    def drift(self, stack: str) -> Outcome:
        seen = self._ran("drift", stack, ["pulumi"], ["refresh", "--preview-only", *_NO_CHANGES])
        # Pulumi tells that there are differences, and their number only in words: one that is none, or at least one.
        figures = {"preflight.drift, differences": 0.0 if seen.verdict is Verdict.PASS else 1.0}
        return Outcome(seen.verdict, seen.reason, seen.command, figures, seen.files)

    def passwords(self, stack: str) -> frozenset[str]:
        if not self._state_json(stack).get("resources"):
            return frozenset()
        contract = self._contract(stack)
        known = [contract.password, contract.sentinel_password, *contract.users.values()]
        return frozenset({secret.get_secret_value() for secret in known} - {""})

    def traces(self, stack: str) -> Iterator[tuple[str, bytes]]:
        chosen = self._files.stack(stack)
        for folder in (chosen.folder, chosen.state / "nodes" / stack):  # the second: target process
            for file in sorted(folder.rglob("*.log")):
                yield file.relative_to(chosen.state).as_posix(), file.read_bytes()
        yield "Pulumi's state", canonical(self._state_json(stack))
        yield chosen.config.name, chosen.config.read_bytes()
        yield from logs_of(chosen)  # last: who cannot be asked ends it

    def samples(self, folder: str, after: int) -> list[Sample]:
        return list(_undamaged(read_samples(ROOT / folder, after)))

    def newest(self, folder: str) -> Iterator[Sample]:
        return _undamaged(newest_samples(ROOT / folder))

    def restore(self, stack: str, contract: str = "keep") -> Outcome:
        """`up` of the earlier commit, as any `up` of it."""
        together = contract == "standalone" and self._serves_alone(stack)
        if together:
            self._files.declare(stack, "contractMode", contract)
        done = self._ran("restore", stack, ["up"])
        self._applied = (stack, contract) if together and done.verdict is Verdict.PASS else None
        return done

    def _serves_alone(self, stack: str) -> bool:
        """Where the contract cannot be read nobody knows; the release is restored all the same."""
        try:
            return not standalone.refusal(self._contract(stack).application())
        except RolloutError:
            return False

    def standalone(self, stack: str, consumers: Sequence[Consumer], watch_s: float) -> Outcome:
        def declare() -> None:
            self._contract_mode(stack, "standalone")

        contract, placed = self._contract(stack).application(), self._placed(consumers, stack)
        return standalone.go(contract, declare, placed, watch_s, self._tree)

    def _back_to_sentinel(self, stack: str, consumers: Sequence[Consumer]) -> list[str]:
        """After a rehearsal, however it went. What went wrong with a consumer."""
        if self._setting(stack, "contractMode") != "standalone":
            return []
        self._contract_mode(stack, "sentinel")
        return standalone.move(self._placed(consumers, stack), "sentinel", self._tree)

    def quorum(self, stack: str) -> bool | None:
        seen = observe(self._contract(stack))
        if not seen.sentinels:
            return None
        return all(not view.error and view.ckquorum.startswith("OK") for view in seen.sentinels)

    def _contract_mode(self, stack: str, mode: str) -> None:
        """Declare what applications are told, and apply it, with this release's program. Raises RolloutError."""
        if self._applied == (stack, mode):
            return
        self._files.declare(stack, "contractMode", mode)
        done = self.up(stack)
        if done.verdict is not Verdict.PASS:
            raise RolloutError(f"`make up STACK={stack}` failed: {done.reason[-300:]}")

    def _contract(self, stack: str) -> OperatorContract:
        with tempfile.TemporaryDirectory(dir=private_folder(self._tree.state / stack)) as folder:
            file = Path(folder) / "contract.env"
            done = self._tool(stack, ["operator-env", "--out", str(file)])
            if not file.is_file():
                raise RolloutError(done.stdout.strip()[-300:] or f"stack {stack} has no contract")
            return read_operator_contract(file)

    def _state_json(self, stack: str) -> dict[str, list[dict[str, object]]]:
        """The deployment in the state, secrets encrypted."""
        if not Deployment(self._files.stack(stack)).exists:
            return {}
        done = self._tool(stack, ["pulumi"], ["stack", "export"], apart=True)
        if done.returncode != 0:
            if "no stack named" in done.stderr:
                return {}
            raise RolloutError(f"the state of stack {stack} cannot be read: {done.stderr.strip()[-300:]}")
        return dict(json.loads(done.stdout).get("deployment") or {})

    def _sentinels(self, stack: str) -> tuple[int | None, str | None]:
        """The largest configuration epoch that a Sentinel knows, and the master that it names."""
        seen = observe(self._contract(stack))
        views = [view for view in seen.sentinels if not view.error]
        newest = max(views, key=lambda view: view.config_epoch, default=None)
        return (newest.config_epoch, str(newest.master)) if newest else (None, None)

    def _setting(self, stack: str, key: str) -> str:
        return setting(self._files.stack(stack), key)

    def _placed(self, consumers: Sequence[Consumer], stack: str) -> list[Consumer]:
        return [_placed(each, self._files.stack(stack)) for each in consumers]

    def _said(self, arguments: Sequence[str]) -> str:
        """What the release's Python prints. Raises RolloutError."""
        done = self._tree.python(arguments, apart=True)
        if done.returncode != 0:
            raise RolloutError(f"`python {' '.join(arguments[:2])}` failed: {done.stderr.strip()[-300:]}")
        return done.stdout.strip()

    def _tool(
        self, stack: str, words: Sequence[str], rest: Sequence[str] = (), *, apart: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """`python -m tools.stack WORD --stack STACK ... -- REST`"""
        with self._files.lent(stack) as file:
            return self._tree.python(["-m", *_words(stack, words, rest)], {FILE_VARIABLE: str(file)}, apart=apart)

    def _ran(self, name: str, stack: str, words: Sequence[str], rest: Sequence[str] = ()) -> Outcome:
        """A command's outcome by its exit code, its output as evidence (pulumi shows secrets as [secret])."""
        done = self._tool(stack, words, rest)
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        passed = done.returncode == 0 and bool(lines)
        last = lines[-1].strip() if lines else "no output"
        return Outcome(
            Verdict.PASS if passed else Verdict.FAIL,
            "as declared" if passed and name in ("drift", "look") else last,
            shlex.join(["python", "-m", *_words(stack, words, rest)]),
            files={f"{name}.txt": done.stdout.encode()},
        )

    def _smoke(self, stack: str, only: Sequence[str]) -> Outcome:
        """The smoke suite's evidence; none, or one without a check, shows nothing."""
        choice = ["--only", ",".join(only)] if only else []
        with tempfile.TemporaryDirectory(prefix="smoke-") as folder:
            done = self._tool(stack, ["run"], ["smoke_tests", "--evidence", folder, *choice])
            # Paths as the evidence names them: relative to its own file, which lies in the stack's folder.
            home = Path(folder) / stack
            files = {path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob("*") if path.is_file()}
        command = shlex.join(["make", "smoke", f"STACK={stack}", *([f"ARGS={shlex.join(choice)}"] if choice else [])])
        return _smoked(files, done.stdout, command)


def _words(stack: str, words: Sequence[str], rest: Sequence[str]) -> list[str]:
    return ["tools.stack", words[0], "--stack", stack, *words[1:], *(["--", *rest] if rest else [])]


def _placed(consumer: Consumer, stack: Stack) -> Consumer:
    """With what it does not say itself: the stack's cluster, and the one namespace that its contract is put into."""
    if consumer.deployment is None:
        return consumer
    namespaces = read_config(stack.config).get("config", {}).get(f"{PROJECT}:contractNamespaces") or []
    namespaces = json.loads(namespaces) if isinstance(namespaces, str) else namespaces
    return consumer.model_copy(
        update={
            "namespace": consumer.namespace or (namespaces[0] if len(namespaces) == 1 else None),
            "context": consumer.context or setting(stack, "kubeContext") or None,
            "kubeconfig": consumer.kubeconfig or setting(stack, "kubeconfig") or None,
        }
    )


def _undamaged(samples: Iterator[Sample]) -> Iterator[Sample]:
    try:
        yield from samples
    except SamplesDamaged as error:
        raise RolloutError(f"{error}\n  fix: find out who changed it; the soak cannot rest on it") from None


def _shown(files: dict[str, bytes], code: int, command: str) -> Outcome:
    """A pass only when faults were shown and each met its criteria."""
    try:
        faults = Faults.model_validate_json(files["faults.json"])
    except (KeyError, ValidationError):
        said = files["faults.txt"].decode(errors="replace").strip()[-300:]
        return Outcome(Verdict.INCONCLUSIVE, f"nothing was shown, the command ended with {code}: {said}", command)
    bad = [f"{each.fault}: {each.reason}" for each in faults.shown if each.verdict is not Verdict.PASS]
    verdict = faults.verdict if bad or code == 0 else Verdict.ERROR
    reason = (
        "; ".join(bad) or "; ".join(f"{each.fault}: {each.reason}" for each in faults.shown) or "no fault was shown"
    )
    return Outcome(verdict, reason, command, faults.figures, files)


def _seen_share(percent: int, said: str, command: str, files: dict[str, bytes]) -> Outcome:
    """Where production's clients say they are, held against the share."""
    files = {**files, "clients.json": said.encode()}
    try:
        seen = ShareSeen.model_validate_json(said.strip().splitlines()[-1])
    except (IndexError, ValidationError):
        reason = f"the clients' command did not tell where they are: {said.strip()[-200:]}"
        return Outcome(Verdict.INCONCLUSIVE, reason, command, files=files)
    measured = 100 * seen.canary / seen.clients
    off = round(abs(measured - percent), 3)
    verdict = Verdict.PASS if off <= SHARE_POINTS else Verdict.FAIL
    reason = f"{percent} % declared, {measured:.2f} % of {seen.clients} clients are on the canary"
    return Outcome(verdict, reason, command, {"canary.share-off, points": off}, files)


def _toothed(files: dict[str, bytes], code: int) -> Outcome:
    """A pass only when every seeded fault was seen red."""
    command = "python -m tests.smoke.show_teeth FILE"
    try:
        teeth = Teeth.model_validate_json(files["teeth.json"]).teeth
    except (KeyError, ValidationError):
        return Outcome(Verdict.INCONCLUSIVE, f"nothing was shown, the command ended with {code}", command, files=files)
    bad = [f"{each.check} on {each.broken}" for each in teeth if not each.went_red]
    if not teeth:
        return Outcome(Verdict.INCONCLUSIVE, "no fault was seeded", command, files=files)
    reason = f"not red: {'; '.join(bad)}" if bad else f"{len(teeth)} times a seeded fault was seen red"
    return Outcome(Verdict.FAIL if bad or code else Verdict.PASS, reason, command, files=files)


def _smoked(files: dict[str, bytes], said: str, command: str) -> Outcome:
    """The suite's evidence, and beside it what a stranger to the cluster's network policies got (Kubernetes)."""
    tried = [content for name, content in files.items() if PurePosixPath(name).name == NETWORK]
    suites = [content for name, content in files.items() if name.endswith(".json") and content not in tried]
    (report, *more) = suites or [b""]
    try:
        evidence = Evidence.model_validate_json(report)
        networks = [Network.model_validate_json(content) for content in tried]
    except ValidationError:
        return Outcome(Verdict.ERROR, f"no evidence: {said.strip()[-300:]}", command, files=files)
    if more or not evidence.checks:
        return Outcome(Verdict.INCONCLUSIVE, "no check ran", command, files=files)
    bad = [f"{check.check}: {check.reason}" for check in evidence.checks if check.verdict is not Verdict.PASS]
    bad += [f"network: {each.reason}" for each in networks if each.verdict is not Verdict.PASS]
    figures = {f"{each.check}, {each.measured.unit}": each.measured.value for each in evidence.checks if each.measured}
    for each in networks:
        if each.denied:  # without a firewall nobody was denied, and nothing was tried
            figures["firewall.denied-answers, answers"] = float(sum(each.denied.values()))
    verdict = worst([evidence.verdict, *(each.verdict for each in networks)])
    reason = "; ".join(bad) or f"{len(evidence.checks)} checks passed"
    return Outcome(verdict, reason, command, figures, files)
