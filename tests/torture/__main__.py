"""Random outages with a seed: python -m tests.torture [--seed N] [--minutes M] [--deployments D]

Deployments of processes side by side, of the seeds N, N+1, ...: nodes are killed, frozen, stopped and started in
random order, with random pauses, and data sets of dead nodes are damaged, one at a time. After each round everything
is repaired. Then: one master within 60 s, everybody agrees, and every key that WAIT has confirmed is on all three data
nodes. The same seed gives the same outages. Exit code 1 as soon as one thing is not so; the nodes' files are then kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from infra.targets.servers import find_servers
from tests.torture.torture import Sums, Torture


def torture(seeds: list[int], minutes: float, home: Path) -> list[Sums]:
    """All of these at once; a line for each round, and a red one in full as soon as it is red."""
    stop = Event()

    def one(seed: int) -> Sums:
        sums = Torture(seed, home / str(seed), lambda line: print(line, flush=True), stop).run(minutes)
        if sums.failure:
            print(f"RED {sums.failure}", flush=True)
        return sums

    with ThreadPoolExecutor(len(seeds)) as pool:
        try:
            return list(pool.map(one, seeds))
        finally:
            stop.set()  # interrupted: the nodes are taken down all the same


def closing_line(all_sums: list[Sums]) -> str:
    slowest = max(all_sums, key=lambda sums: sums.master_s)
    return (
        f"{len(all_sums)} deployments, {sum(sums.rounds for sums in all_sums)} rounds, "
        f"{sum(sums.confirmed for sums in all_sums)} confirmed keys, "
        f"{'0 lost' if not any(sums.failure for sums in all_sums) else 'RED: see above'}; "
        f"longest time to a master {slowest.master_s:.1f} s (seed {slowest.seed}), to agreement "
        f"{max(sums.agreed_s for sums in all_sums):.1f} s, two masters at most "
        f"{max(sums.two_masters_s for sums in all_sums):.1f} s; of {sum(sums.acknowledged for sums in all_sums)} plain "
        f"acknowledgements {sum(sums.lost_plain for sums in all_sums)} were lost"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2)), help="default: a random one")
    parser.add_argument("--minutes", type=float, default=10, help="after these the last round begins (default 10)")
    parser.add_argument("--deployments", type=int, default=3, help="side by side (default 3)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    servers = find_servers()
    os.environ["REDIS_SERVER_BINARY"], os.environ["REDIS_CLI_BINARY"] = str(servers.server), str(servers.cli)
    home = Path(tempfile.mkdtemp(prefix="torture-"))
    seeds = [options.seed + index for index in range(options.deployments)]
    print(f"{servers.flavour} {servers.version}; seeds {seeds}, {options.minutes} minutes; files in {home}", flush=True)
    try:
        all_sums = torture(seeds, options.minutes, home)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(closing_line(all_sums))
    if any(sums.failure for sums in all_sums):
        print(f"the nodes' files are in {home}")
        return 1
    shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
