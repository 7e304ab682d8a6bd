"""Fakes shared by the client's unit tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from client.decision import RoleView, SentinelView
from infra.contract import Contract, Endpoint

SENTINELS = tuple(Endpoint("127.0.0.1", port) for port in (26379, 26380, 26381))


def contract(*, sentinel: bool = True, tls: bool = False, port: int = 6379) -> Contract:
    return Contract(
        sentinel_enabled=sentinel,
        master_name="mymaster",
        sentinels=SENTINELS if sentinel else (),
        username="app",
        password=SecretStr("marker-data-password"),
        sentinel_username="app",
        sentinel_password=SecretStr("marker-sentinel-password"),
        tls=tls,
        tls_ca_file=None,
        host="127.0.0.1",
        port=port,
    )


@dataclass
class FakeClock:
    """Time that moves only when somebody sleeps."""

    now: float = 0.0
    naps: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


@dataclass
class FakeAsker:
    """Answers from tables; an endpoint in `slow` answers after that many seconds."""

    views: Mapping[Endpoint, SentinelView]
    roles: Mapping[Endpoint, RoleView]
    slow: Mapping[Endpoint, float] = field(default_factory=dict)
    asked: list[Endpoint] = field(default_factory=list)
    pause: Callable[[float], None] = time.sleep

    def sentinel(self, endpoint: Endpoint) -> SentinelView:
        self.pause(self.slow.get(endpoint, 0))
        return self.views[endpoint]

    def role(self, endpoint: Endpoint) -> RoleView:
        self.asked.append(endpoint)
        self.pause(self.slow.get(endpoint, 0))
        return self.roles[endpoint]
