"""A long step that is seen to live, is bounded, and leaves nothing behind when it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.engine_parts import EngineRefused
from tools.progress import Say, heartbeat


def run_with_heartbeat(
    command: Sequence[str], environment: Mapping[str, str], place: Path, what: str, say: Say, seconds: float = 600.0
) -> str:
    """Run to the end with a line of life now and then; returns standard output.

    Raises EngineRefused when it fails or takes longer than so many seconds; it and its children are ended then, and on
    an interrupt too.
    """
    log = place / "output.log"
    with log.open("w") as out, heartbeat(say, f"still {what}"):
        try:
            process = subprocess.Popen(
                command,
                cwd=place,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=out,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineRefused(f"{what} failed: {error}") from None
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise EngineRefused(f"{what} took longer than {seconds:.0f} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode != 0:
        last = "; ".join((log.read_text() + output).strip().splitlines()[-3:])
        raise EngineRefused(f"{what} failed with exit code {process.returncode}: {last}")
    return output
