"""Every seeded fault, on a scratch topology of this machine's processes: python -m tests.smoke.show_teeth FILE"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import cast

from infra.contract import OperatorContract
from infra.targets.servers import find_servers
from rollout.report.inputs import Tooth
from rollout.teeth import Fault, run_smoke, save, show
from smoke_tests.catalogue import spec_of
from smoke_tests.checks import test_contract as contract_checks
from smoke_tests.verdict import Verdict
from tests.deployment import Deployment, deployed
from tests.smoke.samples import CONTRACT
from tests.smoke.test_teeth import BREAKS, FAILOVER_TEETH, Forgetful, result_for


def main(path: Path) -> int:
    """Write what was seen to `path`; 0 when every fault was seen by every check that should see it, else 1."""
    # A cancelled job takes its servers down like an impatient user's does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    servers = find_servers()
    os.environ["REDIS_SERVER_BINARY"], os.environ["REDIS_CLI_BINARY"] = str(servers.server), str(servers.cli)
    with tempfile.TemporaryDirectory() as home, contextmanager(deployed)(Path(home)) as scratch:
        live = show(_faults(scratch), run_smoke, _print)
    teeth = [*live, *_recorded()]
    save(teeth, "python -m tests.smoke.show_teeth", path)
    return 0 if all(tooth.went_red for tooth in teeth) else 1


def _faults(scratch: Deployment) -> list[Fault]:
    def seed(name: str) -> Fault:
        break_it, checks = BREAKS[name]

        def begin() -> AbstractContextManager[OperatorContract]:
            scratch.heal()
            return cast(AbstractContextManager[OperatorContract], break_it(scratch))

        return Fault(name, begin, tuple(checks.split()))

    return [seed(name) for name in BREAKS]


def _recorded() -> list[Tooth]:
    """What a real, fenced failover cannot be made to do is shown as the record of one that went wrong."""
    cases = {name: (check, drill) for name, (check, drill) in FAILOVER_TEETH.items()}
    found = [_tooth(check, f"{name} (a recorded drill)", (drill,)) for name, (check, drill) in cases.items()]
    forgetful = Forgetful.model_validate(dict(CONTRACT))
    return [*found, _tooth(contract_checks.test_round_trip, "a contract that its text form changes", (forgetful,))]


def _tooth(check: object, broken: str, arguments: tuple[object, ...]) -> Tooth:
    try:
        check(*arguments, result_for(check))  # type: ignore[operator]
        seen = None
    except AssertionError as error:
        seen = error
    verdict = Verdict.PASS if seen is None else Verdict.FAIL
    went_red = seen is not None
    return Tooth(check=spec_of(check).id, broken=broken, went_red=went_red, verdict=verdict, reason=str(seen or ""))


def _print(teeth: Sequence[Tooth]) -> None:
    for tooth in teeth:
        print(
            f"{'red' if tooth.went_red else 'NOT RED':8} {tooth.check:26} {tooth.broken}  ({tooth.reason})", flush=True
        )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
