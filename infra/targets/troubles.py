"""PURE  Why a pod does not come up: what its cluster says of it -> the object, the reason, and what to do about it.

Everything is as the API shows it: `pod`, `workload` and `events` are its objects as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]

_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_START = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError")
_SETTINGS = {"server": "image", "gateway": "gatewayImage", "exporter": "exporterImage"}
LONGEST = 300

# A registry has bad moments, and a kubelet tries again after 10 s.
PATIENCE_S = 20.0
# A host that is started again, or a volume that is made, takes longer.
ROOM_PATIENCE_S = 40.0


@dataclass(frozen=True)
class Trouble:
    """`what` stays the same while the reason goes back and forth (ErrImagePull, ImagePullBackOff).

    It is no trouble yet while it has not lasted for `patience_s`.
    """

    what: str
    reason: str
    message: str
    fix: str
    patience_s: float = PATIENCE_S

    def __str__(self) -> str:
        message = " ".join(self.message.split())
        half = LONGEST // 2  # what failed is at the beginning, and why at the end
        said = message if len(message) <= LONGEST else f"{message[:half]} ... {message[-half:]}"
        return f"{self.what}: {self.reason}{': ' if said else ''}{said}\n  fix: {self.fix}"


def of_pod(pod: Object, events: Iterable[Object] = ()) -> Trouble | None:
    """What keeps this pod from running; None while it runs, starts or goes."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return None
    warnings = [each for each in events if _about(each, name)]
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _unscheduled(name, condition, warnings)
    for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        if trouble := _of_container(name, container, warnings):
            return trouble
    return None


def of_workload(workload: Object, events: Iterable[Object]) -> Trouble | None:
    """What keeps its controller from making a pod; None while all of them are made."""
    if workload.get("status", {}).get("replicas", 0) >= workload["spec"]["replicas"]:
        return None
    name = workload["metadata"]["name"]
    refused = _last([each for each in events if _about(each, name, prefix=True)], ("FailedCreate",))
    if refused is None:
        return None
    message = refused.get("message", "")
    if "exceeded quota" in message:
        fix = "give the namespace a larger quota (kubectl describe resourcequota), then run `make up` again"
        return Trouble(f"pods of {name}", "FailedCreate", message, fix)
    fix = "let the namespace have such a pod (its policies, service account and limits), then run `make up` again"
    return Trouble(f"pods of {name}", "FailedCreate", message, fix)


def _unscheduled(name: str, condition: Object, warnings: Sequence[Object]) -> Trouble | None:
    if _last(warnings, ("TriggeredScaleUp",)):
        return None  # a host is on its way
    message = condition.get("message", "")
    if "PersistentVolumeClaim" in message or "persistentvolumeclaim" in message:
        claim = _last(warnings, ("ProvisioningFailed", "FailedBinding"))
        fix = f"give the claim data-{name} a volume: set storageClass to a class that the cluster has (kubectl get sc)"
        return Trouble(
            name,
            condition.get("reason", "Unschedulable"),
            (claim or condition).get("message", ""),
            fix,
            ROOM_PATIENCE_S,
        )
    fix = (
        "give the cluster a host with room that keeps nodes apart (see the setting spread), or ask for less memory "
        "(maxmemory); then run `make up` again"
    )
    return Trouble(name, condition.get("reason", "Unschedulable"), message, fix, ROOM_PATIENCE_S)


def _of_container(pod: str, container: Object, warnings: Sequence[Object]) -> Trouble | None:
    waiting = container.get("state", {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    what = f"{pod}, container {container['name']}"
    setting = _SETTINGS.get(container["name"], "image")
    if reason in _IMAGE:
        fix = f"pulumi config set {setting} to an image that every host has or can pull, then run `make up` again"
        return Trouble(f"{what}, image {container['image']}", reason, _image_message(message, warnings), fix)
    if reason in _START:
        return Trouble(what, reason, message, "mend what it says, then run `make up` again")
    if reason == "CrashLoopBackOff":
        ended = container.get("lastState", {}).get("terminated") or {}
        if ended.get("reason") == "OOMKilled":
            return Trouble(what, "OOMKilled", "it needs more memory than its limit", "set a larger maxmemory")
        code = f"it ends with {ended.get('exitCode')} each time it is started"
        return Trouble(what, reason, code, f"see `kubectl logs {pod} --previous` below")
    if reason == "ContainerCreating":
        failed = _last(warnings, ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"))
        if failed:
            return Trouble(what, failed["reason"], failed.get("message", ""), "mend what it says")
    return None


def _image_message(message: str, warnings: Sequence[Object]) -> str:
    """`Back-off pulling image` says nothing; the event before it says why."""
    said = [each.get("message", "") for each in warnings if each.get("reason") == "Failed"]
    reasons = [each for each in said if each.startswith("Failed to pull")]
    return reasons[-1] if message.startswith("Back-off") and reasons else message


def _about(event: Object, name: str, *, prefix: bool = False) -> bool:
    """Events of a pod's claim, and of a Deployment's ReplicaSets (`prefix`), are about it, too."""
    about = event.get("involvedObject", {}).get("name", "")
    return about in (name, f"data-{name}") or (prefix and about.startswith(f"{name}-"))


def _last(events: Sequence[Object], reasons: Sequence[str]) -> Object | None:
    found = [each for each in events if each.get("reason") in reasons]
    return max(found, key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or ""), default=None)
