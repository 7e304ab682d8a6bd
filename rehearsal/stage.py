"""Where a rehearsal plays: the settings of its three stacks, and its plan in seconds."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from rehearsal.application import NAME, Application, application_of
from rehearsal.crowd_pods import RANGE
from rehearsal.place import APPROVER, BRANCH, STARTER, Place

# The longest soak must bring the 1000 samples of each kind that a p99 needs, at 50 a second of each.
SOAK = "25s"
# For a trigger in production: the 20 batches of 50 operations of each kind that a median needs, and time to notice.
WATCH = "40s"

# In a setting: the names of the stacks, which are known when there is a place.
PROD = "<prod>"


@dataclass(frozen=True)
class Stage:
    """`settings`: of each phase's stack. `shares`: whether production's gateway can send clients to the canary.

    `crowd`: of what clients are made. `application`: where production's pods of one are; none: it is a process.
    `asks_canary`: the canary's address is known when it has been deployed.
    """

    target: str
    settings: Mapping[str, Mapping[str, str]]
    shares: bool
    crowd: Mapping[str, str] = field(default_factory=dict)
    application: Mapping[str, str] = field(default_factory=dict)
    asks_canary: bool = False

    def settings_of(self, phase: str, place: Place) -> dict[str, str]:
        return _placed(self.settings[phase], place)

    def applications(self, place: Place) -> dict[str, Application]:
        """Those that a rollback moves, by their phase; none where there is no address to move them to."""
        placed = {"staging": {}, "prod": _placed(self.application, place)} if self.shares else {}
        return {phase: application_of(each, place, place.stack(phase)) for phase, each in placed.items()}

    def crowd_at(self, place: Place) -> dict[str, str]:
        """What `rehearsal.clients.crowd_of` takes."""
        stacks = {"stack": place.stack("prod")} | ({"namespace": f"{place.mark}clients"} if self.asks_canary else {})
        return stacks | dict(self.crowd)

    def plan(
        self,
        place: Place,
        trouble_at: str = "",
        *,
        drill: bool = False,
        consumers: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> str:
        """rollout.yaml. `trouble_at`: the phase that is to fail; what was shown once already is left out then.

        `drill`: but with the controlled failover at the canary. `consumers`: the application of a phase, by its name.
        """
        short = bool(trouble_at)
        proofs = ["teeth", "faults"] if not short else []
        rehearsal = ["rehearsal"] if self.shares else []
        # A plan has one; what never gets to prod does it there.
        early, late = ([], rehearsal) if trouble_at == "canary" else (rehearsal, [])
        staging = ["preflight", "preview", "up", "smoke", *proofs, *early, {"soak": "12s" if not short else "3s"}]
        approval = ["approval"] if not short else []
        shares = [{"share": percent} for percent in ((1, 5, 10) if not short else (10,))] if self.shares else []
        failover: list[object] = ["failover"] if not short else [{"soak": "3s"}, "failover"] if drill else []
        soak = {"soak": SOAK if trouble_at != "prod" else "5s"}
        canary = ["preflight", "preview", *approval, "up", "smoke", *shares, *failover, soak]
        back = [{"share": 0}] if self.shares else []
        monitoring = {"monitoring": "12s" if not short else WATCH}
        prod = ["preflight", *late, "preview", *approval, "up", "smoke", *back, monitoring]
        content: dict[str, Any] = {
            "project": "rehearsal",
            "journal": ".state/rollout",
            "branch": BRANCH,
            "signing": {"keys": {STARTER: place.public_key(STARTER)}},
            "approvals": {"keys": {APPROVER: place.public_key(APPROVER)}},
            "sampleGap": "5s",
            "rehearsalMaxAge": "2h",
            "rollback": {"contract": "standalone" if self.shares else "keep", "within": "5m", "watch": "2s"},
            "phases": {
                phase: {"stack": place.stack(phase), "samples": f".state/samples/{phase}", "steps": steps}
                for phase, steps in (("staging", staging), ("canary", canary), ("prod", prod))
            },
        }
        if self.shares:
            content["phases"]["prod"]["clients"] = [sys.executable, "-m", "rehearsal.where"]
        for phase, consumer in (consumers or {}).items():
            content["phases"][phase]["consumers"] = [consumer]
        return json.dumps(content, indent=1)  # JSON is YAML


def processes() -> Stage:
    """Three stacks of processes on loopback: no gateway, so no share and no standalone address to roll back to."""
    first = random.randrange(11000, 30000, 100)  # noqa: S311
    settings = {
        phase: {"target": "process", "dataPort": str(first + 30 * n), "sentinelPort": str(first + 30 * n + 15)}
        for n, phase in enumerate(("staging", "canary", "prod"))
    }
    return Stage("process", settings, shares=False)


def docker(images: Mapping[str, str]) -> Stage:
    """Three stacks on one Docker engine, each with its network, gateway and firewall.

    Networks of one engine are closed to each other: production's gateway reaches the canary's at the address that the
    host publishes it at.
    """
    nets = _networks()
    gateway = {phase: str(net[5]) for phase, net in nets.items()}
    host = {phase: str(net[1]) for phase, net in nets.items()}
    settings = {phase: _on_docker(images, net) for phase, net in nets.items()}
    clients = json.loads(settings["canary"]["clients"])
    published = f"{host['canary']}:6379"
    settings["canary"] |= {"gatewayPublish": published, "clients": json.dumps([*clients, f"{gateway['prod']}/32"])}
    settings["prod"] |= {"canary": published, "canaryReadPort": "6379"}
    crowd = str(list(list(nets["prod"].subnets())[1].subnets())[1])
    return Stage("docker", settings, shares=True, crowd={"network": crowd, "image": images["smokeImage"]})


def kubernetes(images: Mapping[str, str], sample: str, kubeconfig: str, machine: Collection[str]) -> Stage:
    """Staging on this machine's Docker engine, canary and production in two namespaces of one cluster.

    `sample`: the application's image. `machine`: the addresses that this machine has in the cluster; it runs the
    probers, a ledger and the commands.
    """
    clients = json.dumps([*(f"{each}/32" for each in machine), str(RANGE)])
    named = {key: images[key] for key in ("image", "gatewayImage", "smokeImage")}
    shop = f"{PROD}-shop"
    inside = {"target": "kubernetes", "kubeconfig": kubeconfig, "workload": "cache", "clients": clients} | named
    gateways = json.dumps([f"redis-{PROD}:app.kubernetes.io/component=gateway"])
    settings = {
        "staging": _on_docker(images, _networks()["staging"]),
        "canary": inside | {"clientPods": gateways},
        "prod": inside | {"contractNamespaces": json.dumps([shop]), "clientPods": json.dumps([f"{shop}:app={NAME}"])},
    }
    application = {"namespace": shop, "image": sample, "kubeconfig": kubeconfig}
    crowd = {"image": images["smokeImage"], "kubeconfig": kubeconfig}
    return Stage("kubernetes", settings, shares=True, crowd=crowd, application=application, asks_canary=True)


def _placed(settings: Mapping[str, str], place: Place) -> dict[str, str]:
    return {key: value.replace(PROD, place.stack("prod")) for key, value in settings.items()}


def _on_docker(images: Mapping[str, str], net: IPv4Network) -> dict[str, str]:
    clients = json.dumps([f"{net[1]}/32", str(list(net.subnets())[1])])
    return {"target": "docker", "workload": "cache", "subnet": str(net), "clients": clients} | dict(images)


def _networks() -> dict[str, IPv4Network]:
    second = _free_second()
    return {
        phase: IPv4Network(f"10.{second}.{8 * n}.0/21")
        for n, phase in enumerate(("staging", "canary", "prod"), start=1)
    }


def _free_second() -> int:
    """The second byte of the networks, such that the host itself, a client that keeps books, stays in production."""
    choices = [each for each in range(100, 200) if bucket(f"10.{each}.24.1") >= 50]
    return random.choice(choices)  # noqa: S311


def bucket(address: str) -> int:
    """The hundredth that a client belongs to, as infra/node/canary.lua reckons it."""
    value = 0x811C9DC5
    for byte in address.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    value = ((value ^ (value >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    value = ((value ^ (value >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return (value ^ (value >> 16)) % 100
