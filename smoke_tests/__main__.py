"""Proves a deployment through its contract: python -m smoke_tests --contract FILE"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile

from rich.console import Console

from client.contract_file import read_operator_contract
from client.errors import describe
from infra.contract import SAFE_MASTER_NAME, OperatorContract
from infra.problems import ConfigurationError, Problem
from smoke_tests.catalogue import Question, Spec, catalogue
from smoke_tests.display import Display
from smoke_tests.evidence import save
from smoke_tests.interruption import Interruption
from smoke_tests.run import Order, run
from smoke_tests.scrub import Scrubber
from smoke_tests.verdict import EXIT_CODES, Verdict

# Fault 1 of the fault matrix: a client that finds the new master by itself sees less than this.
MAX_GAP_MS = 1200.0

_EPILOG = """\
exit codes: 0 pass; 1 fail: the deployment does not do what a check claims; 2 error: the suite could not do its work;
3 inconclusive: nothing ran, not to its end, or without a figure. The worst one wins: error, fail, inconclusive, pass.
The failover checks move the master to another node (a planned, fenced handover; no acknowledged write is lost).
"""


@dataclass(frozen=True)
class Arguments:
    """The command line."""

    contract: Path
    evidence: Path
    only: tuple[str, ...]
    max_gap_ms: float

    def command(self, *, only: Sequence[str] = ()) -> tuple[str, ...]:
        """The command that asks for the same again."""
        command = ["python", "-m", "smoke_tests", "--contract", str(self.contract), "--evidence", str(self.evidence)]
        if self.max_gap_ms != MAX_GAP_MS:
            command += ["--max-gap-ms", f"{self.max_gap_ms:g}"]
        return (*command, *(["--only", ",".join(only)] if only else []))


def main(argv: Sequence[str] | None = None) -> int:
    known = catalogue()
    arguments = _parse(argv, known)
    if arguments is None:
        return 0
    try:
        contract = _read(arguments.contract)
        path = _evidence_path(arguments.evidence, contract.stack)
    except ConfigurationError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"no evidence can be written to {arguments.evidence}: {error.strerror}")
    scrub = Scrubber(contract)
    try:
        return _run(arguments, contract, known, path, scrub)
    except KeyboardInterrupt:
        return EXIT_CODES[Verdict.INCONCLUSIVE]
    except Exception as error:  # a defect of ours: still one line, and never a password
        return _refuse(scrub(f"the suite broke: {describe(error)}"))


def _run(arguments: Arguments, contract: OperatorContract, known: Sequence[Spec], path: Path, scrub: Scrubber) -> int:
    asked = [spec for spec in known if not arguments.only or spec.id in arguments.only]
    order = Order(
        question=Question(contract, arguments.max_gap_ms),
        known=known,
        asked=asked,
        command=arguments.command(only=arguments.only),
        repeat=arguments.command(),
    )
    display = Display(Console(highlight=False))
    evidence = run(order, path, scrub, display, Interruption())
    save(evidence, path)
    display.summary(evidence, path)
    return EXIT_CODES[evidence.verdict]


def _parse(argv: Sequence[str] | None, known: Sequence[Spec]) -> Arguments | None:
    """None when the list of checks was all that was wanted."""
    parser = argparse.ArgumentParser(
        prog="python -m smoke_tests",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--contract", type=Path, help="file with the operator's contract (make -s operator-env)")
    parser.add_argument("--evidence", type=Path, default=Path("evidence"), metavar="DIR", help="default: evidence")
    parser.add_argument("--only", metavar="CHECK[,CHECK]", help="run only these; the rest is 'not run'")
    parser.add_argument(
        "--max-gap-ms",
        type=float,
        default=MAX_GAP_MS,
        metavar="MS",
        help=f"longest time without an acknowledged write in the failover (default: {MAX_GAP_MS:g})",
    )
    parser.add_argument("--list", action="store_true", help="print the checks and what each claims, and end")
    given = parser.parse_args(argv)
    if given.list:
        width = max(len(spec.id) for spec in known)
        sys.stdout.writelines(f"{spec.id:<{width}}  {spec.claim}\n" for spec in known)
        return None
    only = () if given.only is None else tuple(item.strip() for item in given.only.split(","))
    ids = [spec.id for spec in known]
    if unknown := [item for item in only if item not in ids]:
        parser.error(f"no such check: {', '.join(map(repr, unknown))}; there are: {', '.join(ids)}")
    if given.contract is None:
        parser.error("--contract FILE is needed")
    return Arguments(given.contract, given.evidence, only, given.max_gap_ms)


def _read(path: Path) -> OperatorContract:
    contract = read_operator_contract(path)
    if not SAFE_MASTER_NAME.fullmatch(contract.stack):  # it becomes a folder's name
        problem = Problem(
            "REDIS_STACK", repr(contract.stack), "letters, digits, '.', '_' or '-'", f"correct it in {path}"
        )
        raise ConfigurationError(contract.stack, [problem])
    return contract


def _evidence_path(folder: Path, stack: str) -> Path:
    """Where this run's evidence goes. Raises OSError now rather than after the work."""
    home = folder / stack
    home.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=home):
        return home / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.json"


def _refuse(message: str) -> int:
    sys.stderr.write(f"smoke: {message}\n")
    return EXIT_CODES[Verdict.ERROR]


if __name__ == "__main__":
    sys.exit(main())
