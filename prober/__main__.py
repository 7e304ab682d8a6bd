"""A constant trickle of writes and reads through the contract, each operation a sample in a file.

python -m prober --contract FILE --out DIR --release NAME [--rate 10] [--for 60s]
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

from client.contract_file import read_contract, stack_of
from client.errors import describe
from infra.contract import Contract
from infra.problems import ConfigurationError
from prober.probe import Prober, Trickle
from prober.samples import SamplesDamaged
from prober.store import FolderInUse, Limits, SampleStore
from smoke_tests.scrub import Scrubber

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_EPILOG = """\
exit codes: 0: stopped by SIGTERM, Ctrl-C or --for; 2: it could not start or go on (the reason is printed). That Redis
is away is no reason: it is what the samples say. At 10 operations a second an hour is about 11 MB.
"""


@dataclass(frozen=True)
class Arguments:
    """The command line."""

    contract: Path
    out: Path
    trickle: Trickle
    limits: Limits


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parse(argv)
    try:
        contract = read_contract(arguments.contract)
    except ConfigurationError as error:
        return _refuse(str(error))
    stop = Event()
    wanted = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in wanted}
    try:
        return _probe(contract, arguments, stop)
    except FolderInUse as error:
        return _refuse(str(error))
    except SamplesDamaged as error:
        return _refuse(f"{error}\n  fix: find out who wrote it; move the folder away, or name another one with --out")
    except OSError as error:
        where = error.filename or arguments.out
        return _refuse(
            f"no samples can be written to {arguments.out}: {where}: {error.strerror}\n"
            "  fix: see to what is there, or name another folder with --out"
        )
    except Exception as error:  # a defect of ours: one line, and never a password
        return _refuse(Scrubber(contract)(describe(error)))
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _probe(contract: Contract, arguments: Arguments, stop: Event) -> int:
    # Not in the main thread: a signal that arrives inside Event.wait() there would find the event's lock taken.
    with SampleStore(arguments.out, arguments.limits) as store, ThreadPoolExecutor(max_workers=1) as pool:
        trickle = replace(arguments.trickle, stack=stack_of(arguments.contract))
        prober = Prober(contract, trickle, store.append, first_sequence=store.next_sequence)
        pool.submit(prober.run, stop).result()
    return 0


def _parse(argv: Sequence[str] | None) -> Arguments:
    parser = argparse.ArgumentParser(
        prog="python -m prober",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    limits = Limits()
    parser.add_argument("--contract", type=Path, required=True, help="file with the contract (make -s env)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the samples")
    parser.add_argument("--release", required=True, metavar="NAME", help="what is deployed; each sample names it")
    parser.add_argument("--rate", type=_rate, default=10.0, metavar="N", help="operations a second (default: 10)")
    parser.add_argument("--for", type=_duration_s, dest="duration_s", metavar="TIME", help="such as 60s, 5m, 48h")
    parser.add_argument(
        "--file-bytes", type=_whole, default=limits.file_bytes, help=f"of one file (default: {limits.file_bytes})"
    )
    parser.add_argument(
        "--files", type=_whole, default=limits.files, help=f"kept; the oldest go first (default: {limits.files})"
    )
    given = parser.parse_args(argv)
    return Arguments(
        contract=given.contract,
        out=given.out,
        trickle=Trickle(given.release, given.rate, given.duration_s),
        limits=Limits(given.file_bytes, given.files),
    )


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError("more than 0, at most 1000")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def _duration_s(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not match:
        raise argparse.ArgumentTypeError("a number and s, m, h or d, such as 60s")
    return float(match[1]) * _UNITS_S[match[2]]


def _refuse(message: str) -> int:
    sys.stderr.write(f"prober: {message}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
