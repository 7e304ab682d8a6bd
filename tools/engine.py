"""Finds the Pulumi engine, or gets it: PATH, a toolchain folder, the official release, a build from Go modules.

A candidate is accepted on evidence: `pulumi version` answers with 3.259 or newer, and the programs that run a Python
stack are beside it or on PATH. What has to be fetched goes to the user's cache folder, never into the repository.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.engine_build import build_engine
from tools.engine_cache import cached_or_made
from tools.engine_download import download_engine
from tools.engine_parts import CLI, HELPERS, VERSION, EngineRefused
from tools.errors import ToolError
from tools.paths import ROOT, cache_folder
from tools.progress import Say, timed

MINIMUM = (3, 259, 0)
PROBE_SECONDS = 30
LAB_SECONDS = 180
TOOLCHAINS = ("/opt/lab",)


@dataclass(frozen=True)
class Engine:
    """A working engine: its command, its version, and where it was found (for people)."""

    pulumi: Path
    version: str
    source: str


def examine(pulumi: Path, source: str) -> Engine:
    """Try a candidate. Raises EngineRefused with the reason when it does not serve."""
    if not os.access(pulumi, os.X_OK):
        raise EngineRefused(f"{pulumi} is not an executable file")
    version = _version(pulumi)
    numbers = tuple(int(part) for part in version.split("."))
    if numbers[0] != MINIMUM[0] or numbers < MINIMUM:
        raise EngineRefused(f"{pulumi} is version {version}; {'.'.join(map(str, MINIMUM))} or newer of 3.x is needed")
    where = f"{pulumi.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    missing = [name for name in HELPERS if not shutil.which(name, path=where)]
    if missing:
        raise EngineRefused(f"{pulumi} lacks {', '.join(missing)}, beside it and on PATH")
    return Engine(pulumi, version, source)


def _version(pulumi: Path) -> str:
    # Its own temporary home: asking for the version must leave no log in the user's ~/.pulumi.
    with tempfile.TemporaryDirectory(prefix="pulumi-probe-") as home:
        environment = {**os.environ, "PULUMI_HOME": home, "PULUMI_SKIP_UPDATE_CHECK": "true"}
        try:
            answer = subprocess.run(
                [pulumi, "version"], env=environment, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineRefused(f"{pulumi} does not run: {error}") from None
    found = re.fullmatch(r"v?(\d+\.\d+\.\d+)(?:[-+].*)?", answer.stdout.strip())
    if answer.returncode != 0 or not found:
        said = (answer.stdout + answer.stderr).strip().splitlines()[-1:] or ["nothing"]
        raise EngineRefused(f"{pulumi} version ended with {answer.returncode} and said {said[0]!r}")
    return found.group(1)


def find_engine(say: Say | None = None) -> Engine:
    """The first engine that serves. `$ENGINE_SOURCES` (default: all, in this order) narrows the search.

    Raises ToolError that lists what was tried, why each failed, and the remedy.
    """
    say = say or timed("engine")
    refused: list[str] = []
    for name in _chosen_sources():
        try:
            engine = SOURCES[name](say)
        except EngineRefused as reason:
            refused.append(f"  - {name}: {reason}")
            if name != "path":
                say(f"{name}: {reason}")
            continue
        return engine
    tried = "\n".join(refused)
    raise ToolError(
        f"no Pulumi engine {VERSION} or newer was found or could be made; tried:\n{tried}\n"
        "  fix: install Pulumi (https://www.pulumi.com/docs/install/) so that `pulumi version` works,\n"
        "       or install Go and give it access to its module proxy, then run the command again"
    )


def _chosen_sources() -> list[str]:
    chosen = [name.strip() for name in os.environ.get("ENGINE_SOURCES", "").split(",") if name.strip()]
    unknown = [name for name in chosen if name not in SOURCES]
    if unknown:
        raise ToolError(f"ENGINE_SOURCES names {', '.join(unknown)}\n  fix: use some of {','.join(SOURCES)}")
    return chosen or list(SOURCES)


def _from_path(_say: Say) -> Engine:
    found = shutil.which(CLI)
    if not found:
        raise EngineRefused("no pulumi on PATH")
    return examine(Path(found), "PATH")


def _from_toolchain(say: Say) -> Engine:
    """A toolchain folder made earlier; else the lab kit beside the repository makes one now."""
    folders = [Path(folder) for folder in (os.environ.get("LAB_HOME"), *TOOLCHAINS) if folder]
    reasons: list[str] = []
    for folder in folders:
        if not (folder / "bin" / CLI).exists():
            reasons.append(f"no {folder}/bin/{CLI}")
            continue
        try:
            return examine(folder / "bin" / CLI, f"toolchain folder {folder}")
        except EngineRefused as reason:
            reasons.append(str(reason))
    kit = ROOT.parent / "shared" / "lab" / "lab"
    if not kit.is_file():
        raise EngineRefused("; ".join(reasons))
    say("installing it from the lab kit beside the repository ...")
    _install_from_kit(kit)
    return examine(folders[0] / "bin" / CLI, f"toolchain folder {folders[0]}")


def _install_from_kit(kit: Path) -> None:
    try:
        done = subprocess.run(
            [kit, "install", "pulumi"], capture_output=True, text=True, timeout=LAB_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineRefused(f"`lab install pulumi` failed: {error}") from None
    if done.returncode != 0:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["nothing"]
        raise EngineRefused(f"`lab install pulumi` ended with {done.returncode}: {last[0]}")


def _from_release(say: Say) -> Engine:
    return _made(say, "official release", download_engine)


def _from_build(say: Say) -> Engine:
    return _made(say, "built from Go modules", build_engine)


def _made(say: Say, source: str, make: Callable[[Path, Say], None]) -> Engine:
    def accept(folder: Path) -> Engine:
        return examine(folder / "bin" / CLI, f"{source}, cached in {folder}")

    return cached_or_made(cache_folder() / f"engine-{VERSION}", accept, make, say)


SOURCES: dict[str, Callable[[Say], Engine]] = {
    "path": _from_path,
    "toolchain": _from_toolchain,
    "installer": _from_release,
    "build": _from_build,
}


def main() -> int:
    """Print the engine's command and version."""
    try:
        engine = find_engine()
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{engine.pulumi} {engine.version} ({engine.source})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
