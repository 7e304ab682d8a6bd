"""Waiting for what a cluster's controllers do, and saying early why it will not be done.

The provider would wait as well, ten minutes, and repeat what it sees. So it is told not to (`NO_WAIT`), and this does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from infra.targets import troubles
from infra.targets.cluster import REQUEST_S, ClusterError, log_tail
from infra.targets.troubles import Trouble

# What the provider waits for in place of a finished rollout: there as soon as the object is.
NO_WAIT = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
TIMEOUT_S = 600.0
# Between two attempts of one start a pod may look well for so long.
GAP_S = 15.0
NODES = "app.kubernetes.io/component in (data,sentinel)"
FORBIDDEN = 403


class Watch:
    """Looks at a namespace's pods, and knows which of their troubles last."""

    def __init__(self, api: Any, namespace: str) -> None:
        self._api, self._core, self._namespace = api, client.CoreV1Api(api), namespace
        self._seen: dict[str, tuple[float, float]] = {}
        """When each trouble was first and last seen."""

    def look(self, selector: str, *workloads: Mapping[str, Any]) -> None:
        """Raises ClusterError once something has kept one of these pods from running for too long."""
        lasting = list(self._lasting(self._troubles(self.pods(selector), workloads)))
        if lasting:
            said = "\n".join(f"- {each}" for each in lasting)
            raise ClusterError(
                f"namespace {self._namespace}: these do not come up; what served goes on serving\n{said}"
                + "".join(self._logs(lasting))
            )

    def pods(self, selector: str) -> list[Mapping[str, Any]]:
        return self._items(self._core.list_namespaced_pod, label_selector=selector)

    def _troubles(self, pods: Sequence[Any], workloads: Sequence[Any]) -> Iterator[Trouble]:
        events: list[Any] = []
        if any(not _is_ready(pod) for pod in pods) or workloads:
            events = self._items(self._core.list_namespaced_event)
        for pod in pods:
            if found := troubles.of_pod(pod, events):
                yield found
        for workload in workloads:
            if found := troubles.of_workload(workload, events):
                yield found

    def _lasting(self, found: Iterable[Trouble]) -> Iterator[Trouble]:
        now = time.monotonic()
        self._seen = {what: seen for what, seen in self._seen.items() if now - seen[1] <= GAP_S}
        for each in found:
            first, _ = self._seen.get(each.what, (now, now))
            self._seen[each.what] = (first, now)
            if now - first >= each.patience_s:
                yield each

    def _logs(self, lasting: Sequence[Trouble]) -> Iterator[str]:
        for each in lasting:
            if each.reason in ("CrashLoopBackOff", "OOMKilled"):
                pod, _, container = each.what.partition(", container ")
                yield "\n" + log_tail(self._api, self._namespace, pod, container=container, previous=True)

    def _items(self, ask: Any, **how: Any) -> list[Any]:
        try:
            found = ask(self._namespace, _request_timeout=REQUEST_S, **how)
        except HTTPError:  # a busy cluster; there is another look
            return []
        except ApiException as error:
            if error.status == FORBIDDEN:  # whoever may deploy may not look everywhere
                return []
            raise
        return [self._api.sanitize_for_serialization(item) for item in found.items]


def await_rolled_out(api: Any, namespace: str, kind: str, name: str) -> None:
    """Wait until every pod of the StatefulSet or Deployment is a new one and ready.

    Raises ClusterError when something keeps a pod from running for too long, or after TIMEOUT_S.
    """
    watch, end = Watch(api, namespace), time.monotonic() + TIMEOUT_S
    while True:
        try:
            workload = read(api, namespace, kind, name)
        except HTTPError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
            continue
        if is_rolled_out(workload):
            return
        selector = ",".join(f"{key}={value}" for key, value in workload["spec"]["selector"]["matchLabels"].items())
        watch.look(selector, workload)
        if time.monotonic() > end:
            unready = {
                pod["metadata"]["name"]: pod["spec"]["containers"][0]["name"]
                for pod in watch.pods(selector)
                if not _is_ready(pod)
            }
            tails = "".join("\n" + log_tail(api, namespace, *each) for each in unready.items())
            raise ClusterError(
                f"namespace {namespace}: {name} not rolled out within {TIMEOUT_S:.0f} s; what served goes on serving\n"
                f"- not ready: {', '.join(unready) or 'a pod that is not made'}{tails}"
            )
        time.sleep(0.5)


def read(api: Any, namespace: str, kind: str, name: str) -> Mapping[str, Any]:
    """The StatefulSet or Deployment as the API shows it."""
    apps = client.AppsV1Api(api)
    ask = {"StatefulSet": apps.read_namespaced_stateful_set, "Deployment": apps.read_namespaced_deployment}[kind]
    try:
        found: Mapping[str, Any] = api.sanitize_for_serialization(ask(name, namespace, _request_timeout=REQUEST_S))
    except ApiException as error:
        raise ClusterError(f"{namespace}/{name}: the cluster does not show this {kind}: {error.reason}") from None
    return found


def is_rolled_out(workload: Mapping[str, Any]) -> bool:
    """Whether its controller has nothing more to do."""
    wanted, status = workload["spec"]["replicas"], workload.get("status", {})
    if status.get("observedGeneration", 0) < workload["metadata"]["generation"]:
        return False
    # A StatefulSet tells two revisions as long as it replaces pods; a Deployment counts the new ones.
    replaced = status.get("currentRevision") == status.get("updateRevision")
    updated = replaced if "updateRevision" in status else status.get("updatedReplicas", 0) == wanted
    return updated and all(status.get(count, 0) == wanted for count in ("replicas", "readyReplicas"))


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
