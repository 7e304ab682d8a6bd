"""Makes `.venv` from the lock file. Runs on any bare python3 and needs only the standard library.

A stamp inside `.venv`, written last, holds the hash of the lock files: as long as it agrees there is nothing to do, and
an install that failed or was interrupted has no stamp, so it never counts as good.
"""

import sys

# Before anything that an older Python cannot evaluate, so that it reads this message and not a traceback.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "error: this project needs Python 3.11 or newer; {} is {}.{}\n"
        "  fix: install Python 3.11+ and run `make PYTHON=/path/to/python3.11 ...`".format(
            sys.executable, *sys.version_info
        )
    )

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSTALL_SECONDS = 1200
# Importing them proves the install more cheaply than a full check, and they are what everything else stands on.
PROOF = "import pip, pulumi, pydantic, redis"


class BootstrapError(Exception):
    """The environment could not be made. `str()` is the whole message, remedy included."""


def fingerprint(root: Path) -> str:
    """The hash of everything that decides what is in the environment."""
    digest = hashlib.sha256()
    for name in ("uv.lock", "requirements.lock"):
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def is_current(root: Path) -> bool:
    """Whether `.venv` was installed to the end from the present lock files."""
    stamp = root / ".venv" / "lock-stamp"
    python = root / ".venv" / "bin" / "python"
    return os.access(python, os.X_OK) and stamp.is_file() and stamp.read_text() == fingerprint(root)


def ensure(root: Path, *, uv: str | None) -> None:
    """Make `.venv` unless it is current; with uv where it is given, else with venv and pip.

    Raises BootstrapError.
    """
    if is_current(root):
        return
    with _only_one(root):
        if not is_current(root):
            _install(root, uv)


def _install(root: Path, uv: str | None) -> None:
    started = time.monotonic()
    venv = root / ".venv"
    _say(f"python environment: installing the locked packages with {'uv' if uv else 'venv and pip'} ...")
    # Without a stamp it may be half installed, which neither uv nor pip would notice: then from the beginning.
    whole = _forget(venv)
    if uv:
        _with_uv(root, uv, whole)
    else:
        _with_pip(root, whole)
    _run([str(venv / "bin" / "python"), "-c", PROOF], "delete the folder .venv and run the command again")
    stamp = venv / "lock-stamp"
    unfinished = venv / "lock-stamp.new"
    unfinished.write_text(fingerprint(root))
    unfinished.replace(stamp)
    _say(f"python environment: ready after {time.monotonic() - started:.1f} s")


def _forget(venv: Path) -> bool:
    """From here until the new stamp, the environment counts as broken. Returns whether it was whole before."""
    if venv.is_symlink():
        venv.unlink()  # not ours to install into
    stamp = venv / "lock-stamp"
    whole = stamp.is_file() and os.access(venv / "bin" / "python", os.X_OK)
    stamp.unlink(missing_ok=True)
    if not whole and venv.exists() and not (venv / "pyvenv.cfg").is_file():
        shutil.rmtree(venv)
    return whole


def _with_uv(root: Path, uv: str, whole: bool) -> None:
    # Compiled, as pip does: where PYTHONDONTWRITEBYTECODE is set, every command would compile all that it imports.
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(root / ".venv"), "UV_COMPILE_BYTECODE": "1"}
    environment.pop("VIRTUAL_ENV", None)
    command = [uv, "sync", "--frozen", "--all-groups", "--quiet", "--project", str(root), "--python", _base_python()]
    reinstall = [] if whole else ["--reinstall"]
    _run([*command, *reinstall], "check that the package index can be reached, then run the command again", environment)


def _with_pip(root: Path, whole: bool) -> None:
    venv = root / ".venv"
    if not whole:
        _run(
            [_base_python(), "-m", "venv", "--clear", str(venv)],
            "install your distribution's python3-venv package, or uv, then run the command again",
        )
    pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    _run(
        [*pip, "--no-deps", "--require-hashes", "--progress-bar", "off", "-r", str(root / "requirements.lock")],
        "check that the package index can be reached, then run the command again",
    )


def _base_python() -> str:
    """The interpreter behind this one: `.venv`'s own python must not be asked to replace itself."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def _run(command: list[str], remedy: str, environment: Mapping[str, str] | None = None) -> None:
    shown = " ".join(command)
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=INSTALL_SECONDS)
        except subprocess.TimeoutExpired:
            raise BootstrapError(f"`{shown}` did not end within {INSTALL_SECONDS} s\n  fix: {remedy}") from None
        finally:
            if process.poll() is None:
                # Its children too: one that goes on would write into what the next run makes.
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        last = "\n".join(output.strip().splitlines()[-8:])
        raise BootstrapError(f"`{shown}` failed with exit code {process.returncode}:\n{last}\n  fix: {remedy}")


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Two runs at once take turns. The lock is on the folder itself: it leaves no file and dies with its owner."""
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("python environment: another run is installing it; waiting for that one ...")
            fcntl.flock(handle, fcntl.LOCK_EX)  # bounded by the holder's own time limits
        yield
    finally:
        os.close(handle)


def keep_private(state: Path) -> None:
    """The folder of all that we write: only its owner enters, whatever the umask of those who write there."""
    if not state.exists() and state.parent.is_dir():
        state.mkdir(mode=0o700, exist_ok=True)
    elif state == ROOT / ".state" and state.stat().st_mode & 0o022:  # an older version's
        state.chmod(0o700)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def main() -> int:
    """The environment of this project; or, with a folder that holds the lock files, the one in that folder."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: end what was started
    os.umask(os.umask(0o022) | 0o022)  # nobody else may write what we run
    try:
        if sys.argv[1:]:
            ensure(Path(sys.argv[1]), uv=shutil.which("uv"))
            return 0
        ensure(ROOT, uv=shutil.which("uv"))
        keep_private(Path(os.environ.get("REDIS_STATE_DIR") or ROOT / ".state"))
    except BootstrapError as error:
        print(f"error: the Python environment could not be made\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
