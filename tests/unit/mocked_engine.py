"""A mocked Pulumi engine that keeps every request of a program, as the real one gets it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]  # comes with pulumi, without types
from pulumi.runtime import mocks
from pulumi.runtime.stack import wait_for_rpcs

# How the engine's protocol marks a secret value.
SIGNATURE, SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"

IDENTITY = "identity"


@dataclass(frozen=True)
class Registered:
    """One RegisterResource request, as the engine gets it."""

    type: str
    name: str
    parent: str
    protect: bool
    depends_on: frozenset[str]
    """But for the stack's identity, on which everything depends."""
    after_identity: bool
    replaced_after_deletion: bool
    properties: dict[str, Any]
    provider: str
    """A dynamic resource's code, pickled and base64; empty for others."""

    @property
    def plain(self) -> dict[str, Any]:
        """The properties without those that are secrets."""
        return {key: value for key, value in self.properties.items() if not is_secret(value)}


class Engine(mocks.MockMonitor):
    """Keeps every request. Resources go by their names, which are unique in this program."""

    def __init__(self) -> None:
        super().__init__(_Echo())
        self.registered: list[Registered] = []
        self.outputs: dict[str, dict[str, Any]] = {}

    def RegisterResource(self, request: Any) -> Any:
        properties = json_format.MessageToDict(request.object)
        provider = properties.pop("__provider", {"value": ""})
        assert is_secret(provider) or not provider["value"]
        registered = Registered(
            type=request.type,
            name=request.name,
            parent=_name(request.parent),
            protect=request.protect,
            depends_on=frozenset(map(_name, request.dependencies)) - {IDENTITY},
            after_identity=IDENTITY in map(_name, request.dependencies),
            replaced_after_deletion=request.deleteBeforeReplace,
            properties=properties,
            provider=provider["value"],
        )
        if request.type != "pulumi:pulumi:Stack":
            self.registered.append(registered)
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]

    def RegisterResourceOutputs(self, request: Any) -> Any:
        self.outputs[_name(request.urn)] = json_format.MessageToDict(request.outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]

    def of_type(self, type_: str) -> list[Registered]:
        return [each for each in self.registered if each.type == type_]


class _Echo(mocks.Mocks):
    """Every resource is made as asked."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        return f"{args.name}-id", args.inputs

    def call(self, args: mocks.MockCallArgs) -> Any:
        raise AssertionError(f"the program calls no provider function, but {args.token}")


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def is_secret(value: Any) -> bool:
    return isinstance(value, dict) and value.get(SIGNATURE) == SECRET


def run(body: Callable[[], object]) -> Engine:
    """What `body` registers, after every registration has landed."""
    engine = Engine()

    async def in_a_loop() -> None:
        mocks.set_mocks(_Echo(), project="redis-sentinel", stack="dev", monitor=engine)
        try:
            body()
        finally:  # what it had begun before it was refused would be waited for by the next one, in vain
            await wait_for_rpcs()

    # A task has a context of its own, so what set_mocks does ends with it.
    asyncio.run(in_a_loop())
    return engine
