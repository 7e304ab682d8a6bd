"""The suite as a pod runs it: python -m smoke_tests.in_pod [--reach HOST:PORT]... -- ARGUMENTS OF smoke_tests

The operator's contract is a mounted Secret, one file per variable. First the addresses are tried that a client may
reach, as a control for the client that may not. Evidence leaves by the log; the exit code is the suite's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from infra.contract import render_env
from smoke_tests import reach, transfer
from smoke_tests.__main__ import main as run_suite

CONTRACT = Path("/contract")
EVIDENCE = Path("/evidence")
SCRATCH = Path("/tmp")  # noqa: S108  # the container's own, in memory


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m smoke_tests.in_pod", description=__doc__)
    parser.add_argument("--reach", action="append", default=[], metavar="HOST:PORT")
    parser.add_argument("rest", nargs="*")
    given = parser.parse_args()
    if given.reach:
        print(reach.report(given.reach), flush=True)
    code = run_suite(["--contract", str(_contract()), "--evidence", str(EVIDENCE), *given.rest])
    for line in transfer.pack(EVIDENCE):
        print(line)
    sys.stdout.flush()
    return code


def _contract() -> Path:
    """The one file that the suite reads, from the Secret's many; names with a dot are the mount's own."""
    variables = {path.name: path.read_text() for path in CONTRACT.iterdir() if "." not in path.name}
    file = SCRATCH / "contract.env"
    file.touch(mode=0o600)
    file.write_text(render_env(variables))
    return file


if __name__ == "__main__":
    sys.exit(main())
