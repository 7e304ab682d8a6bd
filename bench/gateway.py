"""What gateway and TLS cost a client: the server's own benchmark from a container on the stack's network, side by side.

Two stacks that differ in `tls` alone run at the same time, and the cases take turns, so that whatever else the machine
does falls on all of them alike.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from bench.engine import stack
from infra.contract import Endpoint, OperatorContract
from infra.targets.docker_archive import archive
from tests.docker.stack import DockerStack
from tests.engine.stack import master_of

# The report's figure for GET and SET.
TARGET_MS = 2.0
COMMANDS = ("SET", "GET")
CA = "/tmp/ca.crt"  # noqa: S108  inside a container of our own
# One connection shows what a request costs; fifty, how many the machine carries.
ONE, MANY = (1, 3000), (50, 20000)


@dataclass(frozen=True)
class Case:
    """A way to the master, and the container that goes it."""

    name: str
    container: Any
    endpoint: Endpoint
    contract: OperatorContract


@dataclass(frozen=True)
class Sample:
    """One command of one run: requests per second, and its response in ms."""

    rate: float
    p50_ms: float
    p99_ms: float


Samples = dict[tuple[str, int, str], list[Sample]]
"""By case, connections and command."""


def compare(client: Any, images: dict[str, str], runs: int) -> None:
    """Prints medians over `runs` for each case, and their ratios to the first: direct and plain."""
    samples: Samples = {}
    with ExitStack() as stacks:
        cases = [
            case
            for tls in ("false", "true")
            for case in stacks.enter_context(_cases(client, stacks.enter_context(stack(client, images, tls=tls))))
        ]
        for run in range(runs):
            for case in (*cases[run % len(cases) :], *cases[: run % len(cases)]):
                for connections, requests in (ONE, MANY):
                    for command, sample in _measured(case, connections, requests).items():
                        samples.setdefault((case.name, connections, command), []).append(sample)
            print(f"  {run + 1}/{runs}: four ways, {', '.join(COMMANDS)}", flush=True)
    names = [case.name for case in cases]
    for command in COMMANDS:
        _print(command, names, samples)


@contextmanager
def _cases(client: Any, deployed: DockerStack) -> Iterator[list[Case]]:
    """The direct way and the one through the gateway, for a container that the firewall lets in as a client."""
    deployed.make("up")
    contract = deployed.contract()
    master = next(node.endpoint for node in contract.nodes if node.name == master_of(contract))
    kind = "TLS" if contract.tls else "plain"
    container = client.containers.run(
        deployed.settings["image"],
        entrypoint=["sleep", "3600"],
        network=f"redis-{deployed.name}",
        labels={"redis-sentinel.stack": deployed.name},
        detach=True,
        init=True,
    )
    try:
        if contract.tls_ca_file:
            container.put_archive("/", archive({CA: contract.tls_ca_file.read_text()}, 0o444))
        yield [
            Case(f"direct {kind}", container, master, contract),
            Case(f"gateway {kind}", container, contract.standalone, contract),
        ]
    finally:
        container.remove(force=True)


def _measured(case: Case, connections: int, requests: int) -> dict[str, Sample]:
    """One run of the benchmark tool that the image has. Raises RuntimeError with what it said."""
    # The tool takes the password as an argument only. It is one of a stack that lives for this measurement.
    script = (
        "exec $(command -v redis-benchmark || command -v valkey-benchmark) --user app -a $PASSWORD"
        f" -h {case.endpoint.host} -p {case.endpoint.port} {f'--tls --cacert {CA}' if case.contract.tls else ''}"
        f" -t {','.join(COMMANDS).lower()} -c {connections} -n {requests} -r 10000 -d 100 --precision 3 --csv"
    )
    password = case.contract.password.get_secret_value()
    done = case.container.exec_run(["sh", "-c", script], environment={"PASSWORD": password}, demux=True)
    output, complaint = ((part or b"").decode() for part in done.output)
    rows = {row["test"]: row for row in csv.DictReader(io.StringIO(output))}
    if done.exit_code or set(rows) != set(COMMANDS):
        raise RuntimeError(f"{case.name}: the benchmark ended with {done.exit_code}: {output[-300:]}{complaint[-300:]}")
    return {
        command: Sample(float(row["rps"]), float(row["p50_latency_ms"]), float(row["p99_latency_ms"]))
        for command, row in rows.items()
    }


def _print(command: str, names: list[str], samples: Samples) -> None:
    one, many = ONE[0], MANY[0]
    base_p50, base_p99 = _median(samples[names[0], one, command])[1:]
    base_rate = _median(samples[names[0], many, command])[0]
    print(f"{command}, medians of {len(samples[names[0], one, command])}, in brackets the ratio to {names[0]}")
    for name in names:
        _, p50, p99 = _median(samples[name, one, command])
        rate, _, busy_p99 = _median(samples[name, many, command])
        print(
            f"  {name:<14} p50 {p50:6.3f} ms ({p50 / base_p50:4.2f})  p99 {p99:6.3f} ms ({p99 / base_p99:4.2f}), "
            f"{'below' if p99 < TARGET_MS else 'NOT below'} {TARGET_MS:.0f} ms;  {many} connections: "
            f"{rate:7.0f}/s ({rate / base_rate:4.2f}), p99 {busy_p99:.1f} ms"
        )


def _median(of: list[Sample]) -> tuple[float, float, float]:
    middle = statistics.median
    return middle(each.rate for each in of), middle(each.p50_ms for each in of), middle(each.p99_ms for each in of)
