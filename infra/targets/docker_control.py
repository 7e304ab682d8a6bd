"""One node as a container: its files in a volume, commands inside it, waiting for it. Through the engine's API.

Works wherever pulumi-docker does: a local engine, ssh:// or tcp:// (TLS by the usual DOCKER_* variables).
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from requests.exceptions import RequestException

from infra.targets import reasons

# Inside a container. The files' volume is mounted read-only there.
FILES, DATA, RUN = "/node/files", "/node/data", "/node/run"
CONF, BIN = f"{FILES}/conf", f"{FILES}/bin"
NODE_ENV = f"{CONF}/node.env"

# The user `redis` of the official images. Names differ between images, so it is given by number.
UID = 999

# The handover (10 s to prepare, 20 s to settle) and the server's own end (15 s) fit in.
STOP_TIMEOUT_S = 60
READY_TIMEOUT_S = 120.0
# The engine starts again what ends, after a longer pause each time: so often is some ten seconds, and no accident.
ENDINGS = 6


class NodeError(Exception):
    """A node that does not do what it should, with the last lines of its log."""


class EngineError(DockerException):  # type: ignore[misc]
    """An engine that does not answer, or refuses to be asked."""


@contextmanager
def engine(host: str) -> Iterator[Any]:
    """A connection to the engine at `host`, or where the environment says when that is empty. Raises EngineError."""
    # ssh:// by docker-py's own implementation: with the ssh program, a request fails whenever that program ends before
    # docker-py says goodbye to it (a broken pipe).
    try:
        client = docker.from_env(environment=_environment(host))
    except DockerException as error:
        at = host or os.environ.get("DOCKER_HOST") or "its usual socket"
        raise EngineError(
            f"Docker engine at {at}: found none that answers: {error}; expected one; nothing was changed there\n"
            "  fix: start it, or `pulumi config set redis-sentinel:dockerHost` to another one, then run `make up` "
            "again; one at tcp:// needs DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
        ) from None
    # A CA bundle that the environment names for the web would take the place of the engine's own CA.
    client.api.trust_env = False
    try:
        yield client
    finally:
        client.close()


def _environment(host: str) -> dict[str, str] | None:
    """The environment with `host` as its engine. Its TLS is for tcp:// alone: with others it is an error."""
    if not host:
        return None
    tls = () if host.startswith("tcp://") else ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
    return {name: value for name, value in os.environ.items() if name not in tls} | {"DOCKER_HOST": host}


def version_in(host: str, image: str) -> str:
    """What the server in the image says of its version; nothing when the engine has no such image, or it no server."""
    command = 'exec "$(command -v valkey-server || command -v redis-server)" --version'
    with suppress(DockerException), engine(host) as client:
        said = client.containers.run(
            image, [command], entrypoint=["/bin/sh", "-c"], remove=True, network_mode="none", user=f"{UID}:{UID}"
        )
        return str(said.decode(errors="replace"))
    return ""


def ensure_image(client: Any, setting: str, image: str) -> None:
    """Have the engine pull the image unless it has it. Raises NodeError: before any container was touched."""
    try:
        client.images.get(image)
        return
    except ImageNotFound:
        pass
    try:
        if not image.startswith("sha256:"):
            client.images.pull(image)
            return
        why = "an image id cannot be pulled"
    except (DockerException, RequestException) as error:
        why = str(getattr(error, "explanation", None) or error)
    raise NodeError(
        f"{setting}: found {image}, which the engine has not and cannot pull: {why}; expected an image that it has or "
        f"can pull; no container was touched\n  fix: docker pull or docker load it there, or `pulumi config set "
        f"{setting}` to another one, then run `make up` again"
    )


def write_files(client: Any, image: str, volumes: Mapping[str, str], files: Mapping[str, str]) -> None:
    """Put a node's files into its volume, owned by the node's user: 0400, scripts 0500. Replaces each as a whole.

    `volumes`: mount point -> volume. Needs no running container: one is created, never started, and removed.
    """
    mounts = {volume: {"bind": path, "mode": "rw"} for path, volume in volumes.items()}
    helper = client.containers.create(image, entrypoint=["/bin/true"], volumes=mounts, network_mode="none")
    try:
        helper.put_archive("/", _archive(files, folders=[*volumes, CONF, BIN]))
    finally:
        helper.remove(force=True)


def _archive(files: Mapping[str, str], folders: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in folders:
            folder = tarfile.TarInfo(name.lstrip("/"))
            folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o700, UID, UID
            archive.addfile(folder)
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size, entry.uid, entry.gid, entry.mtime = len(data), UID, UID, int(time.time())
            entry.mode = 0o500 if name.endswith(".sh") else 0o400
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def running(client: Any, name: str) -> Any | None:
    """The container if it runs."""
    container = _find(client, name)
    return container if container and container.status == "running" else None


def _find(client: Any, name: str) -> Any | None:
    with suppress(NotFound):
        return client.containers.get(name)
    return None


def _restarts(container: Any | None) -> int:
    """How often the engine has started it again."""
    return int(container.attrs["RestartCount"]) if container else 0


def execute(container: Any, script: str, *arguments: str) -> tuple[int, str]:
    """Run one of the node scripts inside; its exit code and what it printed (no secrets: they never print any)."""
    try:
        done = container.exec_run(["/bin/sh", f"{BIN}/{script}", NODE_ENV, *arguments])
    except APIError as error:
        return 255, str(error.explanation)
    return int(done.exit_code), done.output.decode(errors="replace")


def sentinels_beside(client: Any, name: str) -> list[Any]:
    """The running containers of the Sentinels of the same stack, in order of their names; of a node's `name` only."""
    stack = re.fullmatch(r"(.+)-(?:data|sentinel)-\d+", name)
    if not stack:
        return []
    mine = re.compile(re.escape(stack[1]) + r"-sentinel-\d+")
    found = client.containers.list(filters={"name": f"^/{re.escape(stack[1])}-sentinel-"})
    others = (each for each in found if mine.fullmatch(each.name) and each.name != name)
    return sorted(others, key=lambda each: str(each.name))


def restart(client: Any, name: str) -> None:
    """The planned way: a master hands over first, for the container's process 1 is start.sh."""
    client.containers.get(name).restart(timeout=STOP_TIMEOUT_S)


def start(client: Any, name: str) -> None:
    """Start a container that ended. Nothing when it runs."""
    container = client.containers.get(name)
    if container.status != "running":
        container.start()


def kill(client: Any, name: str) -> None:
    """End the container without a warning."""
    client.containers.get(name).kill()


def freeze(client: Any, name: str) -> None:
    """The container hangs, its connections stay, until `thaw`."""
    client.containers.get(name).pause()


def thaw(client: Any, name: str) -> None:
    """Let a frozen container go on. Nothing for one that is not frozen."""
    container = client.containers.get(name)
    if container.status == "paused":
        container.unpause()


def await_probe(client: Any, name: str, probe: str, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Wait until the container runs and, but for `runs`, `probe.sh PROBE` succeeds in it.

    Raises NodeError after `timeout_s`, or when the container has ended ENDINGS times meanwhile.
    """
    look = watch_endings(client, [name])

    def succeeds() -> bool:
        container = look()[name]
        runs = container is not None and container.status == "running"
        return runs and (probe == "runs" or execute(container, "probe.sh", probe)[0] == 0)

    if not _await(timeout_s, succeeds):
        raise NodeError(f"{name}: not {probe} within {timeout_s:.0f} s\n{log_tail(client, name)}")


def watch_endings(client: Any, names: Iterable[str]) -> Callable[[], Mapping[str, Any | None]]:
    """What finds the containers, and raises NodeError once one has ended ENDINGS times since now."""
    before = {name: _restarts(_find(client, name)) for name in names}

    def look() -> Mapping[str, Any | None]:
        found = {name: _find(client, name) for name in before}
        for name, container in found.items():
            if container and _restarts(container) - before[name] >= ENDINGS:
                state = container.attrs["State"]
                why = ", for it used more memory than it may" if state.get("OOMKilled") else ""
                ended = f"{name}: ended {ENDINGS} times, the last with {state['ExitCode']}{why}"
                raise NodeError(f"{ended}\n{log_tail(client, name)}")
        return found

    return look


def log_tail(client: Any, name: str) -> str:
    """Why a container is not well, as far as its log tells."""
    return reasons.of(name, f"the log of {name}", log_of(client, name))


def log_of(client: Any, name: str) -> str:
    """The end of a container's log; empty when there is none."""
    with suppress(NotFound, APIError):
        return str(client.containers.get(name).logs(tail=reasons.TAIL).decode(errors="replace"))
    return ""


def _await(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
