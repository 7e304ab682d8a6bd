"""The dynamic providers of the process target. They are stored in Pulumi's state, so they are as small as can be.

A resource's properties are its inputs and nothing else: no pid, no role, nothing that changes at run time. Secret
inputs come back under the same names, which is what keeps them secret in the state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pulumi.dynamic import CreateResult, DiffResult, ReadResult, ResourceProvider, UpdateResult

from infra.targets import convergence, process_control
from infra.targets.changes import as_seen, becomes_standalone, changed_keys, check_possible, needs_restart


class NodeProvider(ResourceProvider):
    """Inputs: folder, files {name: text}, secret_files {name: text}, scripts {name: text}."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        folder = Path(props["folder"])
        self._write(props)
        process_control.start(folder)
        return CreateResult(id_=str(folder), outs=props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        drift = "" if process_control.runs(Path(id_)) else "does not run"
        return ReadResult(id_=id_, outs=as_seen(props, drift))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = changed_keys(olds, news)
        replaces = [key for key in changed if key == "folder"]
        return DiffResult(changes=bool(changed), replaces=replaces, delete_before_replace=True)

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        folder = Path(id_)
        check_possible(olds, news)
        if not process_control.runs(folder):
            # Nobody to be careful with, and perhaps nobody to be in sync with yet: the convergence awaits it.
            self._write(news)
            process_control.start(folder)
            return UpdateResult(outs=news)
        if becomes_standalone(olds, news):
            process_control.execute(folder, "handover.sh", "to-this-node")
        if needs_restart(olds, news):
            process_control.stop(folder)
            self._write(news)
        else:
            self._write(news)
            process_control.execute(folder, "apply.sh")
        process_control.start(folder)
        process_control.await_settled(folder)
        return UpdateResult(outs=news)

    def delete(self, id_: str, _props: dict[str, Any]) -> None:
        process_control.remove(Path(id_))

    def _write(self, props: dict[str, Any]) -> None:
        process_control.write_files(Path(props["folder"]), props["files"] | props["secret_files"], props["scripts"])


class ConvergenceProvider(ResourceProvider):
    """Inputs: contract (an OperatorContract's variables, secret), folders, digest (of all nodes' inputs).

    The folders of the data nodes come first.
    """

    def create(self, props: dict[str, Any]) -> CreateResult:
        self._converge(props)
        return CreateResult(id_="converged", outs=props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        # The `up` that brings a dead node back then also waits until it is in sync.
        drift = "" if convergence.is_converged(props["contract"]) else "not agreed"
        return ReadResult(id_=id_, outs=as_seen(props, drift))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=bool(changed_keys(olds, news)))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        self._converge(news)
        return UpdateResult(outs=news)

    def _converge(self, props: dict[str, Any]) -> None:
        folders = [Path(folder) for folder in props["folders"]]
        process_control.check_alive(folders)
        # The engine deletes what is declared no longer after this: so the master must be one that stays.
        process_control.execute(folders[0], "handover.sh", "from-undeclared")

        def finish() -> None:
            for folder in folders:
                process_control.execute(folder, "apply.sh")  # what had to wait for the others
            for folder in folders:
                process_control.execute(folder, "forget.sh")

        def log(name: str) -> str:
            return next((process_control.log_of(folder) for folder in folders if folder.name == name), "")

        convergence.converge(props["contract"], lambda: process_control.check_alive(folders), finish, log=log)
