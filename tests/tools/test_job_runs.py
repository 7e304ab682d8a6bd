"""A Job whose pod goes while its log is read ends with a message."""

from __future__ import annotations

from types import SimpleNamespace as Thing
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from infra.targets.cluster import ClusterError
from tools.job_runs import JobRun


class Core:
    """A cluster with these pods, which refuses to show their logs."""

    def __init__(self, *pods: Any) -> None:
        self.pods = list(pods)

    def list_namespaced_pod(self, *_: object, **__: object) -> Any:
        return Thing(items=self.pods)

    def list_namespaced_event(self, *_: object, **__: object) -> Any:
        about = Thing(name="suite-x")
        return Thing(items=[Thing(involved_object=about, type="Warning", reason="Evicted", message="no disk left")])

    def read_namespaced_pod_log(self, *_: object, **__: object) -> Any:
        raise ApiException(404, "Not Found")


def run_of(core: Core, monkeypatch: pytest.MonkeyPatch) -> JobRun:
    monkeypatch.setattr("tools.job_runs.client", Thing(CoreV1Api=lambda _: core, BatchV1Api=lambda _: None))
    return JobRun(None, "ours", "suite", print)


def test_a_pod_that_is_gone_is_said_with_what_the_cluster_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match=r"suite: its pod is gone before it ended\n  Evicted: no disk left"):
        list(run_of(Core(), monkeypatch).lines())


def test_a_log_that_is_not_shown_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = Thing(metadata=Thing(name="suite-x"), status=Thing(container_statuses=[]))
    with pytest.raises(ClusterError, match="the cluster does not show its log: Not Found"):
        list(run_of(Core(pod), monkeypatch).lines())
