"""What a rehearsal's plan names as `clients` of prod: python -m rehearsal.where, in the rehearsal's own folder."""

from __future__ import annotations

import json
import os
import sys
import time

from infra.contract import OperatorContract
from rehearsal.clients import crowd_of, mark_side
from rehearsal.place import RehearsalError
from rehearsal.story import TOLD
from tools.deployment import Deployment
from tools.paths import state_folder
from tools.stacks import choose

SETTLE_S = 30.0


def main() -> int:
    """Both stacks are marked, then everybody is asked, until the share is what it should be or SETTLE_S are over."""
    told = json.loads((state_folder() / TOLD).read_text())
    stacks, crowd = told["stacks"], crowd_of(told["crowd"])
    for phase in ("prod", "canary"):
        mark_side(OperatorContract.from_env(Deployment(choose(stacks[phase])).output("operatorContract")), phase)
    wanted, end = float(os.environ["ROLLOUT_SHARE"]), time.monotonic() + SETTLE_S
    while True:
        try:
            seen = crowd.where()
        except RehearsalError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        if abs(100 * seen["canary"] / seen["clients"] - wanted) <= 2 or time.monotonic() > end:
            sys.stdout.write(json.dumps({key: int(value) for key, value in seen.items()}) + "\n")
            return 0
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
