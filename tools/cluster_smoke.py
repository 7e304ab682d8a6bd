"""`make smoke` on target kubernetes: the suite as a Job beside the deployment, and a client that must get no answer.

The evidence comes back by the log of the Job's pod (smoke_tests/transfer.py). What the denied client saw is
`<evidence>/<stack>/<UTC time>/network.json`. The exit code is that of the worse of both verdicts.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.settings import OPTIONS
from infra.targets import cluster
from smoke_tests.reach import MARK, WINDOW_S
from smoke_tests.transfer import BEGIN, END, Damaged, unpack
from smoke_tests.verdict import EXIT_CODES, Verdict, worst
from tools import cluster_jobs
from tools.cluster_jobs import DEADLINE_S, Place
from tools.errors import ToolError
from tools.job_runs import JobRun, running
from tools.stack_config import read_config
from tools.stacks import PROJECT, Stack

STRANGER_S = 60.0


def wanted(stack: Stack, module: str, arguments: Sequence[str]) -> bool:
    """Whether this module runs in the cluster: the smoke suite of a stack on Kubernetes, unless it only lists."""
    here = {"--list", "--help", "-h"} & set(arguments)
    return module == "smoke_tests" and not here and _Settings(stack)["target"] == "kubernetes"


def run(stack: Stack, contract: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Run the suite in the stack's namespace; its exit code. Raises ToolError when it cannot be run."""
    settings = _Settings(stack)
    if not settings["smokeImage"]:
        raise ToolError(
            f"stack '{stack.name}' lacks smokeImage, the image that the smoke tests run as in the cluster\n"
            f"  fix: make images; then redis-sentinel:smokeImage in {stack.config.name}, where the nodes can pull it"
        )
    given, rest = _arguments().parse_known_args(arguments)
    tls = contract["REDIS_TLS"] == "true"
    place = Place(stack.name, settings["namespace"], settings["smokeImage"], secrets.token_hex(3), tls)
    allowed, denied = _addresses(contract, settings)
    jobs = [cluster_jobs.suite(place, allowed, rest)]
    if settings["firewall"] == "true":
        jobs.append(cluster_jobs.stranger(place, denied))
    where = settings["kubeconfig"], settings["kubeContext"]
    try:
        _refuse_other_cluster(stack, settings)
        with _ending_on_signals(), cluster.connected(*where) as api, running(api, jobs, _tell) as runs:
            suite = _follow(runs[0], given.evidence)
            seen = _outcome(runs[1]) if runs[1:] else None
    except cluster.ClusterError as error:
        raise ToolError(f"smoke tests of stack '{stack.name}': {error}", EXIT_CODES[Verdict.ERROR]) from None
    verdict, network = _network(suite.reached, seen, checked=len(jobs) > 1)
    file = suite.folder(given.evidence / stack.name / place.run) / "network.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(network, indent=2) + "\n")
    print(f"network: {verdict}  {network['reason']}; evidence: {file}")
    return EXIT_CODES[worst([suite.verdict, verdict])]


class _Settings:
    """The plain settings of a stack's file, as the user spells them, with their defaults."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack.name
        config = read_config(stack.config).get("config") or {}
        self._given = {key.removeprefix(f"{PROJECT}:"): value for key, value in config.items()}
        self._options = {option.key: option for option in OPTIONS}

    def __getitem__(self, key: str) -> str:
        option, value = self._options[key], self._given.get(key)
        if value is None:
            value = option.derived.compute(self._stack, self._given) if option.derived else option.default
        text = str(value or "") if not isinstance(value, bool) else str(value).lower()
        return text.strip()


class _Suite:
    """What the suite's pod left: its verdict, the addresses that answered it, the files that arrived."""

    def __init__(self, code: int, reached: dict[str, bool] | None, files: list[Path] | None) -> None:
        known = {code: verdict for verdict, code in EXIT_CODES.items()}
        self.verdict = known.get(code, Verdict.ERROR)
        if files is None:
            self.verdict = worst([self.verdict, Verdict.INCONCLUSIVE])
        self.reached = reached
        self._files = files or []

    def folder(self, otherwise: Path) -> Path:
        """Beside the run's evidence file, where its raw samples are."""
        return next((path.with_suffix("") for path in self._files if path.suffix == ".json"), otherwise)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--evidence", type=Path, default=Path("evidence"))
    return parser


def _addresses(contract: Mapping[str, str], settings: _Settings) -> tuple[list[str], list[str]]:
    """What a client may reach, and all that there is."""
    nodes = [each.partition("=")[2] for each in contract["REDIS_NODES"].split(",")]
    found = [*nodes, *filter(None, contract["REDIS_SENTINELS"].split(",")), _at(contract, contract["REDIS_PORT"])]
    if settings["gateway"] != "true":
        return list(dict.fromkeys(found)), list(dict.fromkeys(found))
    allowed = list(dict.fromkeys([*found, _at(contract, settings["gatewayReadPort"])]))
    return allowed, [*allowed, _at(contract, settings["gatewayStatsPort"])]


def _at(contract: Mapping[str, str], port: str) -> str:
    return f"{contract['REDIS_HOST']}:{port}"


def _refuse_other_cluster(stack: Stack, settings: _Settings) -> None:
    found = cluster.identity(settings["kubeconfig"], settings["kubeContext"])
    if settings["cluster"] not in ("", found):
        raise ToolError(
            f"stack '{stack.name}' belongs to the cluster {settings['cluster']}, not to {found}; nothing was done\n"
            "  fix: set kubeconfig and kubeContext to the stack's cluster"
        )


def _follow(job: JobRun, evidence: Path) -> _Suite:
    """Show what the suite prints while it runs; keep what is not for people."""
    job.started()
    reached: dict[str, bool] | None = None
    files: list[Path] | None = None
    digest = ""
    held: list[str] = []
    for line in job.lines():
        if line.startswith(MARK):
            reached = json.loads(line.removeprefix(MARK))
        elif line.startswith(BEGIN):
            digest, held = line.removeprefix(BEGIN), []
        elif line == END:
            files = _unpacked(digest, held, evidence)
            digest = ""
        elif digest:
            held.append(line)
        else:
            print(line, flush=True)
    if files is None:
        _tell("no evidence came back")
    else:
        _tell(f"{len(files)} files of evidence are in {evidence}")
    return _Suite(job.exit_code(DEADLINE_S), reached, files)


def _unpacked(digest: str, lines: list[str], evidence: Path) -> list[Path] | None:
    try:
        return unpack(digest, lines, evidence)
    except Damaged as error:
        _tell(f"the evidence was damaged on its way: {error}")
        return None


def _outcome(job: JobRun) -> dict[str, bool] | None:
    """What the denied client reports; None when it does not."""
    job.started()
    code = job.exit_code(STRANGER_S)
    found = [line for line in job.lines() if line.startswith(MARK)]
    return json.loads(found[0].removeprefix(MARK)) if found and code == 0 else None


def _network(
    allowed: dict[str, bool] | None, denied: dict[str, bool] | None, *, checked: bool
) -> tuple[Verdict, dict[str, Any]]:
    """The verdict on the policies, and what it stands on."""
    answered = [address for address, answers in (denied or {}).items() if answers]
    silent = [address for address, answers in (allowed or {}).items() if not answers]
    if not checked:
        verdict, reason = Verdict.PASS, "not applicable: firewall is off, everybody may reach the stack"
    elif not denied:
        verdict, reason = Verdict.ERROR, "the denied client told nothing"
    elif answered:
        verdict, reason = Verdict.FAIL, f"a client that nothing allows got answers from {', '.join(answered)}"
    elif not allowed or silent:
        verdict = Verdict.INCONCLUSIVE
        reason = f"silence proves nothing: an allowed client got no answer either from {', '.join(silent) or 'any'}"
    else:
        verdict = Verdict.PASS
        reason = f"{len(denied)} addresses denied to a stranger, {len(allowed)} of them answer a client"
    report = {"verdict": verdict, "reason": reason, "window_s": WINDOW_S, "allowed": allowed, "denied": denied}
    return verdict, report


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """A cancelled run removes its Jobs as an impatient user's Ctrl-C does."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(text: str) -> None:
    print(f"smoke: {text}", file=sys.stderr, flush=True)
