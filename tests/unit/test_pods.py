"""What runs on Kubernetes: how bare each pod is, what may end it, where it may run."""

from __future__ import annotations

from typing import Any

import pytest

from infra.settings import Settings
from infra.targets import pods
from infra.targets.pods import Files, Labels
from infra.topology import Kind, Topology, plan
from tests.unit.samples import MARKER, declared

IMAGE = f"sha256:{'0123456789abcdef' * 4}"
FILES = Files("plain", "secret", ["data-0.node.env"], ["data-0.auth.conf"], "scripts", "exporter")


def settings(**overrides: str) -> Settings:
    return declared(target="kubernetes", image=IMAGE, gatewayImage=IMAGE, **overrides)


def topology(of: Settings) -> Topology:
    from infra.targets.kubernetes import KubernetesTarget

    return plan("dev", of, KubernetesTarget(of).address)


def pod(kind: Kind, **overrides: str) -> dict[str, Any]:
    of = settings(**overrides)
    nodes = [node for node in topology(of).nodes if node.kind is kind]
    spec: dict[str, Any] = pods.node_set(kind, nodes, of, Labels("dev"), FILES)["template"]["spec"]
    return spec


def gateway_pod() -> dict[str, Any]:
    spec: dict[str, Any] = pods.gateway_deployment(settings(), Labels("dev"), FILES)["template"]["spec"]
    return spec


def test_another_share_of_the_canary_is_no_other_pod() -> None:
    """It is an object of its own, of one name, which pods look at while they run."""

    def spec(percent: str) -> dict[str, Any]:
        of = settings(canary="10.0.0.5:6379", workload="cache", canaryShare=percent)
        return pods.gateway_deployment(of, Labels("dev"), FILES)

    assert spec("5") == spec("10")
    (conf,) = [each for each in spec("5")["template"]["spec"]["volumes"] if each["name"] == "conf"]
    share = {"name": "gateway-share", "items": [{"key": "canary.share", "path": "canary.share"}]}
    assert {"configMap": share} in conf["projected"]["sources"]
    assert "gateway-share" not in str(gateway_pod()), "without a canary there is no such object"


@pytest.mark.parametrize("spec", [pod(Kind.DATA, exporterImage=IMAGE), pod(Kind.SENTINEL), gateway_pod()])
def test_a_container_may_do_nothing_that_it_does_not_need(spec: dict[str, Any]) -> None:
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]


@pytest.mark.parametrize("kind", Kind)
def test_no_secret_is_in_a_spec(kind: Kind) -> None:
    assert MARKER not in str(pod(kind, exporterImage=IMAGE))


def test_a_pod_sees_its_own_files_alone() -> None:
    (mount,) = [each for each in pod(Kind.DATA)["containers"][0]["volumeMounts"] if each["name"] == "conf"]
    assert mount["subPathExpr"] == "$(POD_NAME)"


def test_what_may_end_a_container_takes_loading_for_life() -> None:
    server = pod(Kind.DATA)["containers"][0]
    for probe in ("startupProbe", "livenessProbe"):
        assert server[probe]["exec"]["command"][-1] == "alive"


def test_the_master_hands_over_before_the_stop_and_has_the_time() -> None:
    spec = pod(Kind.DATA)
    assert spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1].startswith(
        "exec /node/bin/handover.sh "
    )
    assert spec["terminationGracePeriodSeconds"] >= 20 + 20 + 15


@pytest.mark.parametrize(
    ("spread", "insists"),
    [("hard", {pods.HOST, pods.ZONE}), ("hosts", {pods.HOST}), ("soft", set())],
)
def test_where_two_nodes_may_never_be_together(spread: str, insists: set[str]) -> None:
    constraints = pod(Kind.DATA, spread=spread)["topologySpreadConstraints"]
    hard = {each["topologyKey"] for each in constraints if each["whenUnsatisfiable"] == "DoNotSchedule"}
    assert hard == insists
    assert all(each["maxSkew"] == 1 for each in constraints)


def test_memory_leaves_room_for_a_copy_of_the_data() -> None:
    assert pod(Kind.DATA, maxmemory="256mb")["containers"][0]["resources"]["limits"]["memory"] == "576Mi"


def test_a_drain_takes_one_at_a_time() -> None:
    assert pods.budget({"a": "b"})["maxUnavailable"] == 1
