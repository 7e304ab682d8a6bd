"""How long a deployment takes from nothing to a quorum, what a second `up` costs, and the smoke suite."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deployment import free_ports

ROOT = Path(__file__).resolve().parents[1]


def deploy() -> None:
    """Times `make up`, `make up` again, `make smoke`, `make down` on a stack of its own, beside any other."""
    with tempfile.TemporaryDirectory() as home, _stack(Path(home)) as run:
        run("up", "nothing deployed, everything cached: quorum on every Sentinel")
        run("up", "second up: zero operations")
        run("smoke", "smoke suite, a controlled failover included")


@contextmanager
def _stack(home: Path) -> Iterator[_Make]:
    first = free_ports(20)
    config = home / "Pulumi.dev.yaml"
    ports = f"  redis-sentinel:dataPort: {first}\n  redis-sentinel:sentinelPort: {first + 10}\n"
    config.write_text(f"config:\n  redis-sentinel:target: process\n{ports}")
    make = _Make(home, config)
    try:
        yield make
    finally:
        make("down", "everything deleted")


class _Make:
    def __init__(self, home: Path, config: Path) -> None:
        self._environment = os.environ | {"REDIS_STATE_DIR": str(home / "state"), "STACK_CONFIG_FILE": str(config)}
        self._home = home

    def __call__(self, target: str, what: str) -> None:
        command = ["make", "-s", target, f"ARGS=--evidence {self._home / 'evidence'}" if target == "smoke" else "ARGS="]
        begun = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)
        print(f"  make {target:<6} {time.monotonic() - begun:5.1f} s  {what}", flush=True)
        if done.returncode:
            sys.exit(f"make {target} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
