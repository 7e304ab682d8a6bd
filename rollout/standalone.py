"""The way back: applications' contract to the gateway's address, no data moved, consumers restarted and watched."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from redis.exceptions import RedisError

from client.connect import connect
from client.errors import describe
from client.options import Options, RetryOptions
from infra.contract import Contract
from rollout.plan import Consumer
from rollout.stacks import Outcome
from rollout.working_tree import WorkingTree
from smoke_tests.verdict import Verdict

PROBE_KEY = "rollout:standalone-probe"
# A crash takes 2.5 s, and 6 s when votes split. What serves nobody for longer is no address to send applications to.
PATIENCE = Options(retry=RetryOptions(deadline_s=15.0))
RESTART_S = 300
HEALTH_S = 120.0
LOOK_S = 1.0
# An old instance that is on its way out may be asked in between: so long nobody else than the new ones must answer.
STEADY_S, ASK_S = 2.0, 0.1


def refusal(contract: Contract) -> str:
    """Why applications cannot be sent to the contract's standalone address; '' when it serves as a master does."""
    alone = contract.model_copy(update={"sentinel_enabled": False})
    try:
        with closing(connect(alone, options=PATIENCE)) as client:
            client.call(lambda master: master.ping())
            role = client.call(lambda master: master.role())[0]
            name = role.decode() if isinstance(role, bytes) else str(role)
            if name != "master":
                return f"{alone.standalone} says it is a {name}, not a master"
            client.call(lambda master: master.set(PROBE_KEY, "1", ex=60))
    except (RedisError, OSError) as error:
        return f"{alone.standalone} does not serve: {describe(error)}"
    return ""


def go(
    contract: Contract,
    declare: Callable[[], None],
    consumers: Sequence[Consumer],
    watch_s: float,
    tree: WorkingTree | None = None,
) -> Outcome:
    """Check, `declare` the contract, move the consumers, watch them. Refused while the address does not serve.

    `tree`: where consumers' commands run.
    """
    started = time.monotonic()
    log: list[dict[str, object]] = []
    if reason := refusal(contract):
        return Outcome(
            Verdict.FAIL, f"refused: {reason}; no application was moved, the cluster serves on", files=_file(log)
        )
    declare()
    log.append({"declared_s": round(time.monotonic() - started, 3)})
    bad = move(consumers, "standalone", tree)
    seconds = round(time.monotonic() - started, 3)
    log.append({"serving_s": seconds, "problems": bad})
    until = time.monotonic() + watch_s
    while not bad and time.monotonic() < until:
        bad = [reason] if (reason := refusal(contract)) else _each(lambda one: _unhealthy(one, "standalone"), consumers)
        log.append({"at_s": round(time.monotonic() - started, 3), "problem": "; ".join(bad)})
        time.sleep(min(LOOK_S, max(0.0, until - time.monotonic())))
    figures = {"rollback_s": seconds, "rollback.consumers, consumers": float(len(bad))}
    reason = "; ".join(bad) or f"standalone at {contract.standalone} after {seconds:g} s, {len(consumers)} consumers"
    return Outcome(Verdict.FAIL if bad else Verdict.PASS, reason, figures=figures, files=_file(log))


def move(consumers: Sequence[Consumer], mode: str, tree: WorkingTree | None = None) -> list[str]:
    """Restart each in a rolling way, and wait until it says steadily that it is in this mode; what went wrong."""
    return _each(lambda consumer: _move(consumer, mode, tree), consumers)


def _each(look: Callable[[Consumer], str], consumers: Sequence[Consumer]) -> list[str]:
    """All at once: a rollback takes as long as the slowest of them."""
    with ThreadPoolExecutor(max(1, len(consumers))) as pool:
        return [problem for problem in pool.map(look, consumers) if problem]


def _move(consumer: Consumer, mode: str, tree: WorkingTree | None = None) -> str:
    target = f"deployment/{consumer.deployment}"
    kubeconfig = consumer.kubeconfig and str(Path(consumer.kubeconfig).expanduser())
    where = {"--namespace": consumer.namespace, "--context": consumer.context, "--kubeconfig": kubeconfig}
    kubectl = ["kubectl", *(word for option, value in where.items() if value for word in (option, value))]
    restart = [[*kubectl, "rollout", "restart", target], [*kubectl, "rollout", "status", target]]
    for command in [list(consumer.command)] if consumer.command else restart if consumer.deployment else []:
        try:
            done = subprocess.run(
                command,
                cwd=tree.folder if tree else None,
                env=tree.environment if tree else None,
                capture_output=True,
                text=True,
                timeout=RESTART_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{consumer.name}: {command[0]}: {type(error).__name__}"
        if done.returncode != 0:
            return f"{consumer.name}: {command[0]} ended with {done.returncode}"
    since, last = time.monotonic(), ""
    until = since + HEALTH_S
    while time.monotonic() < until:
        if problem := _unhealthy(consumer, mode):
            since, last = time.monotonic(), problem
        elif time.monotonic() - since >= STEADY_S:
            return ""
        time.sleep(ASK_S)
    return f"{last} after {HEALTH_S:g} s"


def _unhealthy(consumer: Consumer, mode: str) -> str:
    try:
        with urllib.request.urlopen(consumer.health, timeout=2) as answer:  # noqa: S310 - the plan takes http(s) only
            found = json.load(answer)["redis"]["mode"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{consumer.name}: {consumer.health}: {type(error).__name__}"
    return "" if found == mode else f"{consumer.name}: redis.mode is {found!r}, not {mode!r}"


def _file(log: list[dict[str, object]]) -> dict[str, bytes]:
    return {"standalone.json": json.dumps(log, indent=2).encode()}
