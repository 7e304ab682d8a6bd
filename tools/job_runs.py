"""Jobs of one pod each: start, follow, end, and leave nothing behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from infra.targets.cluster import REQUEST_S, ClusterError

START_S = 180.0
GONE_S = 60.0
_POLL_S = 0.5
# A pod that waits for one of these waits in vain.
_HOPELESS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError")


class JobRun:
    """One Job, by its name, while it runs. `tell` gets each change of its pod's state."""

    def __init__(self, api: Any, namespace: str, name: str, tell: Callable[[str], None]) -> None:
        self._core, self._batch = client.CoreV1Api(api), client.BatchV1Api(api)
        self._namespace, self.name, self._tell = namespace, name, tell

    def remove(self) -> None:
        """Delete the Job and wait until its pod is gone too. Raises ClusterError."""
        arguments = {"propagation_policy": "Foreground", "_request_timeout": REQUEST_S}
        end = time.monotonic() + GONE_S
        try:
            self._batch.delete_namespaced_job(self.name, self._namespace, **arguments)
            while time.monotonic() < end:
                self._batch.read_namespaced_job(self.name, self._namespace, _request_timeout=REQUEST_S)
                time.sleep(_POLL_S)
        except ApiException as error:
            if error.status == 404:
                return
            raise ClusterError(f"Job {self.name} cannot be removed: {error.reason}") from None
        raise ClusterError(f"Job {self.name} is still there after {GONE_S:.0f} s; it ends by itself")

    def started(self) -> None:
        """Wait until the container runs, or has run. Raises ClusterError after START_S, or when it never will."""
        self._await(START_S, lambda pod: _state(pod) in ("running", "terminated"))

    def exit_code(self, timeout_s: float) -> int:
        """Wait for the container's end; its exit code. Raises ClusterError when it does not end within `timeout_s`."""
        pod = self._await(timeout_s, lambda found: _state(found) == "terminated")
        return int(pod.status.container_statuses[0].state.terminated.exit_code)

    def lines(self) -> Iterator[str]:
        """The log's lines as they come, to the container's end. A connection that breaks is made again.

        Raises ClusterError when the pod is gone, as with its node, or its log cannot be read.
        """
        done, ended = 0, False
        while not ended:
            # Asked before the log is read: what is read after the end is whole.
            ended = _state(self._pod()) == "terminated"
            try:
                for number, line in enumerate(self._log()):
                    if number >= done:
                        done += 1
                        yield line
            except HTTPError:
                time.sleep(_POLL_S)
                ended = False

    def _log(self) -> Iterator[str]:
        pod = self._pod()
        if pod is None:
            raise ClusterError(f"{self.name}: its pod is gone before it ended{self._events()}")
        kept_open = {"follow": True, "_preload_content": False, "_request_timeout": (REQUEST_S, 300)}
        try:
            response = self._core.read_namespaced_pod_log(pod.metadata.name, self._namespace, **kept_open)
        except ApiException as error:
            raise ClusterError(f"{self.name}: the cluster does not show its log: {error.reason}") from None
        held = b""
        for part in response.stream(65536):
            *whole, held = (held + part).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
        if held:
            yield held.decode(errors="replace")

    def _await(self, timeout_s: float, wanted: Callable[[Any], bool]) -> Any:
        end, last = time.monotonic() + timeout_s, ""
        while True:
            pod = self._pod()
            if pod is not None and wanted(pod):
                return pod
            now = _told(pod)
            if now != last:
                self._tell(f"{self.name}: {now}")
            last = now
            if any(reason in now for reason in _HOPELESS) or time.monotonic() > end:
                raise ClusterError(f"{self.name} came to nothing; last: {now}{self._events()}")
            time.sleep(_POLL_S)

    def _pod(self) -> Any:
        try:
            selector = f"batch.kubernetes.io/job-name={self.name}"
            found = self._core.list_namespaced_pod(
                self._namespace, label_selector=selector, _request_timeout=REQUEST_S
            ).items
        except ApiException as error:
            raise ClusterError(f"the pods of {self._namespace} cannot be seen: {error.reason}") from None
        return found[0] if found else None

    def _events(self) -> str:
        """What the cluster says about it: quotas, admission, images."""
        try:
            found = self._core.list_namespaced_event(self._namespace, _request_timeout=REQUEST_S).items
        except ApiException:
            return ""
        ours = [each for each in found if each.involved_object.name.startswith(self.name) and each.type == "Warning"]
        return "".join(f"\n  {each.reason}: {each.message}" for each in ours[-3:])


@contextmanager
def running(api: Any, manifests: list[dict[str, Any]], tell: Callable[[str], None]) -> Iterator[list[JobRun]]:
    """Create the Jobs; they go at the end, however it comes. Raises ClusterError when one is refused."""
    runs: list[JobRun] = []
    try:
        for manifest in manifests:
            name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
            runs.append(JobRun(api, namespace, name, tell))
            try:
                client.BatchV1Api(api).create_namespaced_job(namespace, manifest, _request_timeout=REQUEST_S)
            except ApiException as error:
                raise ClusterError(f"the cluster refuses Job {name}: {error.reason}") from None
        yield runs
    finally:
        failures = []
        for run in runs:
            try:
                run.remove()
            except (ClusterError, HTTPError) as error:
                failures.append(str(error))
        for text in failures:
            tell(text)


def _state(pod: Any) -> str:
    """running, terminated, waiting; '' when nothing is known."""
    statuses = (pod.status.container_statuses if pod is not None else None) or []
    state = statuses[0].state if statuses else None
    return next((name for name in ("running", "terminated", "waiting") if state and getattr(state, name)), "")


def _told(pod: Any) -> str:
    if pod is None:
        return "no pod yet"
    where = f" on {pod.spec.node_name}" if pod.spec.node_name else ""
    state = pod.status.container_statuses[0].state if pod.status.container_statuses else None
    waiting = state.waiting.reason if state and state.waiting else ""
    return f"{pod.status.phase}{where}{': ' + waiting if waiting else ''}"
