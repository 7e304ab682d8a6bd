"""Shows a staging stack a part of the fault matrix under load, and heals it: make faults STACK=staging

python -m tools.faults --contract FILE [--out FILE]      exit codes: 0 all passed, 1 not, 2 it could not begin
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from client.contract_file import read_operator_contract
from infra.problems import ConfigurationError
from rollout.faults import Shown, show
from rollout.victims import victims_of
from smoke_tests.verdict import Verdict
from tools.declared import setting
from tools.errors import ToolError
from tools.stacks import choose


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.faults", description=__doc__)
    parser.add_argument("--contract", type=Path, required=True, help="the operator's (make faults brings it)")
    parser.add_argument("--out", type=Path, help="file for the figures, JSON")
    options = parser.parse_args(arguments)
    # A cancelled job heals what it broke, as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        contract = read_operator_contract(options.contract)
        stack = choose(contract.stack)
        target = setting(stack, "target")
        if stack.name == "prod":
            raise ToolError("faults are for staging, not for prod\n  fix: make faults STACK=staging")
        if not contract.sentinel_enabled:
            raise ToolError(
                f"stack '{stack.name}' runs without Sentinels: nobody would replace a master that is killed"
            )
        with victims_of(stack) as victims:
            faults = show(contract, victims, target, _say)
    except (ConfigurationError, ToolError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.out:
        options.out.write_text(faults.model_dump_json(indent=2) + "\n")
    return 0 if faults.verdict is Verdict.PASS else 1


def _say(shown: Shown) -> None:
    print(f"{shown.verdict!s:<10} {shown.fault:<16} {shown.node:<11} {shown.reason}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
