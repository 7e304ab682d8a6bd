"""What a cluster says of a pod that does not come up -> object, reason, fix; and nothing of one that is on its way."""

from __future__ import annotations

from typing import Any

import pytest

from infra.targets import rollouts, troubles
from infra.targets.cluster import ClusterError
from infra.targets.troubles import Trouble

QUOTA = 'pods "data-2" is forbidden: exceeded quota: small, requested: pods=1, used: pods=5, limited: pods=5'


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {
        "name": "server",
        "image": "redis:nosuch",
        "state": {"waiting": {"reason": reason, "message": message}},
    } | more


def pod(*containers: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "data-2"}, "status": {"containerStatuses": list(containers), **status}}


def unscheduled(message: str) -> dict[str, Any]:
    return pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}])


def event(reason: str, message: str, about: str = "data-2", at: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {"reason": reason, "message": message, "involvedObject": {"name": about}, "lastTimestamp": at}


OOM = {"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
ENDED = {"lastState": {"terminated": {"reason": "Error", "exitCode": 7}}}

# what it is, the pod, the events, what is said of it
TROUBLES: list[tuple[str, dict[str, Any], list[dict[str, Any]], tuple[str, ...]]] = [
    (
        "the first failure to pull",
        pod(waiting("ErrImagePull", "not found")),
        [],
        ("data-2, container server, image redis:nosuch: ErrImagePull: not found", "pulumi config set image"),
    ),
    (
        "a back-off has the reason of the failure before",
        pod(waiting("ImagePullBackOff", 'Back-off pulling image "redis:nosuch"')),
        [event("Failed", "Failed to pull image: no such host"), event("Failed", "Error: ErrImagePull")],
        ("ImagePullBackOff: Failed to pull image: no such host",),
    ),
    ("no name of an image", pod(waiting("InvalidImageName", "bad")), [], ("InvalidImageName: bad",)),
    (
        "the gateway's image",
        pod(waiting("ErrImagePull", "x", name="gateway")),
        [],
        ("container gateway", "pulumi config set gatewayImage"),
    ),
    (
        "the exporter's image",
        pod({"name": "server", "image": "r", "state": {"running": {}}}, waiting("ErrImagePull", "x", name="exporter")),
        [],
        ("pulumi config set exporterImage",),
    ),
    (
        "a missing key",
        pod(waiting("CreateContainerConfigError", 'secret "s" not found')),
        [],
        ('secret "s" not found',),
    ),
    ("a crash loop", pod(waiting("CrashLoopBackOff", "back-off 10s", **ENDED)), [], ("it ends with 7 each time",)),
    ("out of memory", pod(waiting("CrashLoopBackOff", "back-off", **OOM)), [], ("OOMKilled", "a larger maxmemory")),
    (
        "a volume that cannot be attached",
        pod(waiting("ContainerCreating")),
        [event("FailedAttachVolume", "Multi-Attach error")],
        ("FailedAttachVolume: Multi-Attach error",),
    ),
    ("no room", unscheduled("0/3 nodes are available: 3 Insufficient memory."), [], ("Insufficient memory", "spread")),
    (
        "no volume",
        unscheduled("0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
        [event("ProvisioningFailed", 'storageclass "fast" not found', about="data-data-2")],
        ('data-2: Unschedulable: storageclass "fast" not found', "set storageClass"),
    ),
]


@pytest.mark.parametrize(("seen", "events", "said"), [row[1:] for row in TROUBLES], ids=[row[0] for row in TROUBLES])
def test_a_pod_that_cannot_run_says_why_and_what_to_do(
    seen: dict[str, Any], events: list[dict[str, Any]], said: tuple[str, ...]
) -> None:
    text = str(troubles.of_pod(seen, events))
    for part in (*said, "\n  fix: "):
        assert part in text


WELL = {
    "running": pod({"name": "server", "image": "r", "state": {"running": {}}}),
    "just made": {"metadata": {"name": "data-2"}},
    "being made": pod(waiting("ContainerCreating")),
    "going": pod(waiting("ErrImagePull")) | {"metadata": {"name": "data-2", "deletionTimestamp": "now"}},
    "waiting for a host that comes": unscheduled("Insufficient memory"),
}


@pytest.mark.parametrize("seen", WELL.values(), ids=WELL)
def test_a_pod_on_its_way_is_no_trouble(seen: dict[str, Any]) -> None:
    assert troubles.of_pod(seen, [event("TriggeredScaleUp", "pod triggered scale-up")]) is None


def test_a_long_message_is_cut_in_the_middle_and_on_one_line() -> None:
    text = str(Trouble("x", "y", "Failed to pull: " + "long \n" * 200 + "no such host", "z"))
    assert "y: Failed to pull: long" in text
    assert "no such host\n" in text
    assert len(text) < troubles.LONGEST + 50
    assert text.count("\n") == 1


def workload(wanted: int, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "data", "generation": 4}, "spec": {"replicas": wanted}, "status": status}


def test_a_pod_that_may_not_be_made_says_why() -> None:
    events = [event("FailedCreate", "an older reason", "data", "2025"), event("FailedCreate", QUOTA, "data", "2026")]
    found = troubles.of_workload(workload(3, replicas=2), events)
    assert str(found).startswith(f"pods of data: FailedCreate: {QUOTA}\n  fix: give the namespace a larger quota")
    assert troubles.of_workload(workload(3, replicas=3), events) is None
    assert troubles.of_workload(workload(3), []) is None, "none yet, and no complaint"
    of_a_replica_set = [event("FailedCreate", "violates PodSecurity", "gateway-7f9")]
    gateway = workload(2, replicas=1) | {"metadata": {"name": "gateway"}}
    assert "violates PodSecurity" in str(troubles.of_workload(gateway, of_a_replica_set))


DONE = {"observedGeneration": 4, "replicas": 3, "readyReplicas": 3}
SAME = {"currentRevision": "b", "updateRevision": "b"}


@pytest.mark.parametrize(
    ("status", "done"),
    [
        (DONE | SAME, True),
        (DONE | SAME | {"observedGeneration": 3}, False),
        (DONE | SAME | {"readyReplicas": 2}, False),
        (DONE | SAME | {"replicas": 4}, False),
        (DONE | SAME | {"currentRevision": "a"}, False),
        (DONE | {"updatedReplicas": 3}, True),
        (DONE | {"updatedReplicas": 1}, False),
        ({}, False),
    ],
    ids=["done", "not seen yet", "not ready", "more than wanted", "two revisions", "deployment", "old ones", "nothing"],
)
def test_a_rollout_is_done_when_the_controller_has_nothing_more_to_do(status: dict[str, Any], done: bool) -> None:
    assert rollouts.is_rolled_out(workload(3, **status)) is done


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Cluster(rollouts.Watch):
    """A watch over pods that a test chooses."""

    def __init__(self) -> None:
        super().__init__(None, "redis-prod")
        self.seen: list[Any] = []

    def pods(self, _selector: str) -> list[Any]:
        return self.seen

    def _items(self, ask: Any, **how: Any) -> list[Any]:  # noqa: ARG002  # there are no events
        return []


def test_only_what_lasts_is_told_and_what_comes_and_goes_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(rollouts, "time", clock)
    watch = Cluster()
    for second in range(19):
        clock.now = second
        reason = "ErrImagePull" if second % 2 else "ImagePullBackOff"
        watch.seen = [] if second in (5, 6, 7) else [pod(waiting(reason, "no such host"))]
        watch.look("")
    clock.now = 20
    with pytest.raises(ClusterError, match=r"namespace redis-prod: .* what served goes on serving\n- data-2, ") as told:
        watch.look("")
    assert "no such host" in str(told.value)


def test_what_mended_itself_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(rollouts, "time", clock)
    watch = Cluster()
    for second in (0, 30, 60, 90):
        clock.now = second
        watch.seen = [pod(waiting("ErrImagePull"))]
        watch.look("")


def test_room_is_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(rollouts, "time", clock)
    watch = Cluster()
    watch.seen = [unscheduled("Insufficient memory")]
    for second in range(0, 40, 5):
        clock.now = second
        watch.look("")
    clock.now = 40
    with pytest.raises(ClusterError, match="Insufficient memory"):
        watch.look("")
