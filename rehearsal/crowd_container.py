"""A crowd on Docker: one container, to which a whole network belongs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import docker
from docker.errors import NotFound

from infra.contract import Contract, OperatorContract
from infra.targets.docker_archive import archive
from rehearsal.clients import PAUSE_S, SCRIPT, STOP_S, last_line
from rehearsal.place import RehearsalError

COUNT = 500


class ContainerCrowd:
    """On the network of the stack `stack`, of which `network` is the part that is theirs; Python is in `image`."""

    def __init__(self, stack: str, network: str, image: str) -> None:
        self._stack, self._network, self._image = stack, network, image
        self._name = f"redis-{stack}-crowd"

    def gateway(self, contract: OperatorContract) -> Contract:
        return contract.application(standalone=True)

    @contextmanager
    def visiting(self, contract: OperatorContract) -> Iterator[dict[str, float]]:
        settings = {
            "hosts": [contract.host],
            "port": contract.port,
            "password": contract.password.get_secret_value(),
            "network": self._network,
            "count": COUNT,
            "ways": {},
            "pause_s": PAUSE_S,
        }
        found: dict[str, float] = {}
        engine = docker.from_env()
        container = engine.containers.create(
            self._image,
            name=self._name,
            entrypoint=["python3", "/tmp/crowd.py", "run"],  # noqa: S108 - inside
            network=f"redis-{self._stack}",
            cap_add=["NET_ADMIN"],
            user="0",
        )
        try:
            # Through the archive: neither arguments nor variables of a container are secret.
            files = {"crowd.py": SCRIPT.read_text(), "crowd.json": json.dumps(settings)}
            container.put_archive("/tmp", archive(files, 0o600))  # noqa: S108
            container.start()
            yield found
            container.stop(timeout=STOP_S)
            found |= last_line(container.logs().decode(errors="replace"))
        finally:
            with suppress(NotFound):
                container.remove(force=True)
            engine.close()

    def where(self) -> dict[str, float]:
        engine = docker.from_env()
        try:
            command = ["python3", "/tmp/crowd.py", "where"]  # noqa: S108
            done = engine.containers.get(self._name).exec_run(command, user="0")
        except NotFound:
            raise RehearsalError(f"no crowd at stack {self._stack}") from None
        finally:
            engine.close()
        if done.exit_code != 0:
            raise RehearsalError(f"the crowd does not tell where it is: {done.output.decode()[-300:]}")
        return last_line(done.output.decode())
