"""The dynamic providers of the docker target: what pulumi-docker's resources cannot do. Kept as small as can be.

pulumi-docker uploads files as root's, and replaces a container for every change of one. Here files belong to the node's
user, and a change is applied to the running node; only what a server reads at its start alone restarts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pulumi.dynamic import CreateResult, DiffResult, ReadResult, ResourceProvider, UpdateResult

from infra.gateway import SHARE_FILE
from infra.targets import convergence
from infra.targets import docker_control as control
from infra.targets.changes import as_seen, becomes_standalone, changed_keys, check_possible, needs_restart

LOOK_S = 10.0


class ImageProvider(ResourceProvider):
    """Sees to it that the engine has an image before a container is taken down for it. Inputs: host, setting, image."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        self._ensure(props)
        return CreateResult(id_=props["setting"], outs=props)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=bool(changed_keys(olds, news)))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        self._ensure(news)
        return UpdateResult(outs=news)

    def _ensure(self, props: dict[str, Any]) -> None:
        with control.engine(props["host"]) as client:
            control.ensure_image(client, props["setting"], props["image"])


class FilesProvider(ResourceProvider):
    """Inputs: host, image, container, volumes {mount point: volume}, files, secret_files, scripts {name: text}."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        with control.engine(props["host"]) as client:
            self._write(client, props)
            # After an interrupted run the node may be there already.
            self._apply(client, props["container"], restart=False)
        return CreateResult(id_=props["container"], outs=props)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        # The image only lends its file system to the writing: another one changes no file.
        changed = changed_keys(olds, news, ignored=["image"])
        replaces = [key for key in changed if key in ("container", "volumes")]
        return DiffResult(changes=bool(changed), replaces=replaces, delete_before_replace=True)

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        check_possible(olds, news)
        with control.engine(news["host"]) as client:
            name = news["container"]
            self._prepare(client, name, olds, news)
            self._write(client, news)
            self._apply(client, name, restart=needs_restart(olds, news))
            if control.running(client, name):
                control.await_probe(client, name, "settled")
        return UpdateResult(outs=news)

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        # The container is gone: it depended on these files. Sentinels that go too still declare everybody, and forget
        # no one.
        with control.engine(props["host"]) as client:
            for sentinel in control.sentinels_beside(client, props["container"]):
                _execute(sentinel, "forget.sh", why="cannot forget the nodes that are gone")

    def _prepare(self, client: Any, name: str, olds: dict[str, Any], news: dict[str, Any]) -> None:
        """Before a deployment becomes standalone, its one node must be the master."""
        container = control.running(client, name)
        if container is None or not becomes_standalone(olds, news):
            return
        code, output = control.execute(container, "handover.sh", "to-this-node")
        if code:
            raise control.NodeError(f"{name} did not become the master as planned, no file was changed:\n{output}")

    def _write(self, client: Any, props: dict[str, Any]) -> None:
        files = {f"{control.CONF}/{name}": text for name, text in (props["files"] | props["secret_files"]).items()}
        scripts = {f"{control.BIN}/{name}": text for name, text in props["scripts"].items()}
        control.write_files(client, props["image"], props["volumes"], files | scripts)

    def _apply(self, client: Any, name: str, *, restart: bool) -> None:
        container = control.running(client, name)
        if container is None:
            return
        if restart:
            control.restart(client, name)
            return
        _execute(container, "apply.sh", why="refuses its new configuration")


class GatewayFilesProvider(FilesProvider):
    """The same for the gateway, which reloads: new connections go by the new files, old ones end after a second."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        self._write_and_reload(props)
        return CreateResult(id_=props["container"], outs=props)

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        if _without_share(olds) == _without_share(news):
            # The running gateway sees a canary's new share by itself, and a reload would drop every connection.
            with control.engine(news["host"]) as client:
                self._write(client, news)
        else:
            self._write_and_reload(news)
        return UpdateResult(outs=news)

    def _write_and_reload(self, props: dict[str, Any]) -> None:
        with control.engine(props["host"]) as client:
            self._write(client, props)
            container = control.running(client, props["container"])
            if container is not None:
                container.kill(signal="USR2")


def _without_share(props: dict[str, Any]) -> dict[str, Any]:
    """The inputs that the gateway reads at its start."""
    ignored = ("__provider", "image")
    kept = {key: value for key, value in props.items() if key not in ignored}
    return kept | {"files": {name: text for name, text in props["files"].items() if name != SHARE_FILE}}


class ReadyProvider(ResourceProvider):
    """Waits for nodes. Inputs: host, containers, probe (of probe.sh), trigger (waits again when it changes)."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        self._bring(props)
        return CreateResult(id_=props["probe"], outs=props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        # Not ready is a drift, once a failover that may be under way is over.
        drift = ""
        try:
            self._wait(props, timeout_s=LOOK_S if self._run(props) else 0.0)
        except control.NodeError:
            drift = f"not {props['probe']}"
        return ReadResult(id_=id_, outs=as_seen(props, drift))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=bool(changed_keys(olds, news)))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        self._bring(news)
        return UpdateResult(outs=news)

    def _bring(self, props: dict[str, Any]) -> None:
        """Start what ended, and wait."""
        with control.engine(props["host"]) as client:
            for name in props["containers"]:
                control.start(client, name)
        self._wait(props)

    def _run(self, props: dict[str, Any]) -> bool:
        with control.engine(props["host"]) as client:
            return all(control.running(client, name) for name in props["containers"])

    def _wait(self, props: dict[str, Any], timeout_s: float = control.READY_TIMEOUT_S) -> None:
        with control.engine(props["host"]) as client:
            for name in props["containers"]:
                control.await_probe(client, name, props["probe"], timeout_s)


class ConvergenceProvider(ResourceProvider):
    """The last step of the nodes: waits until all of them agree on what is declared.

    Inputs: host, contract (an OperatorContract's variables, secret), containers {node: container}, the data nodes
    first, trigger (waits again when it changes).
    """

    def create(self, props: dict[str, Any]) -> CreateResult:
        self._converge(props)
        return CreateResult(id_="converged", outs=props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        # Not converged is a drift: the `up` that brings a dead node back then also waits until it is in sync.
        with control.engine(props["host"]) as client:
            agreed = convergence.is_converged(props["contract"], _answers(client, props))
        return ReadResult(id_=id_, outs=as_seen(props, "" if agreed else "not agreed"))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=bool(changed_keys(olds, news)))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        self._converge(news)
        return UpdateResult(outs=news)

    def _converge(self, props: dict[str, Any]) -> None:
        with control.engine(props["host"]) as client:
            names = list(props["containers"].values())
            for name in names:
                control.start(client, name)  # one that ended
            nodes = [client.containers.get(name) for name in names]
            # The engine deletes what is declared no longer after this: so the master must be one that stays.
            _execute(nodes[0], "handover.sh", "from-undeclared", why="could not take over from a master that goes")

            def finish() -> None:
                for node in nodes:
                    _execute(node, "apply.sh", why="refuses its configuration")  # see there what it lets wait
                for node in nodes:
                    _execute(node, "forget.sh", why="cannot forget the nodes that are gone")

            check_alive = control.watch_endings(client, names)
            convergence.converge(
                props["contract"],
                check_alive,
                finish,
                _answers(client, props),
                lambda node: control.log_of(client, props["containers"][node]),
            )


def _answers(client: Any, props: dict[str, Any]) -> convergence.Run:
    """How the nodes are asked: inside their containers, for the stack's network may be another machine's."""

    def run(node: str, commands: Sequence[str]) -> tuple[int, str]:
        name = props["containers"][node]
        container = control.running(client, name)
        return control.execute(container, "answers.sh", *commands) if container else (1, f"{name} does not run")

    return run


def _execute(container: Any, script: str, *arguments: str, why: str) -> None:
    """Raises NodeError when the script fails."""
    code, output = control.execute(container, script, *arguments)
    if code:
        raise control.NodeError(f"{container.name} {why}:\n{output}")
