"""How a canary's share reaches the gateways on Kubernetes, against a made-up API."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from infra.targets import cluster
from infra.targets.kubernetes_provider import ShareProvider

PROPS = {"kubeconfig": "", "context": "", "namespace": "ours", "stack": "prod", "percent": 10.0}


def pod(name: str, *, running: bool = True, ending: bool = False) -> Any:
    state = SimpleNamespace(state=SimpleNamespace(running=object() if running else None))
    metadata = SimpleNamespace(name=name, deletion_timestamp="now" if ending else None)
    return SimpleNamespace(metadata=metadata, status=SimpleNamespace(container_statuses=[state]))


class Api:
    """Keeps one ConfigMap and a list of pods; notes what is run in them."""

    def __init__(self, data: dict[str, str] | None, *pods: Any) -> None:
        self.data, self.pods, self.told = data, pods, list[tuple[str, str]]()

    def patch_namespaced_config_map(self, _name: str, _namespace: str, body: Any, **_options: Any) -> None:
        if self.data is None:
            raise ApiException(404, "Not Found")
        self.data = body["data"]

    def create_namespaced_config_map(self, _namespace: str, body: Any, **_options: Any) -> None:
        self.data = body["data"]

    def list_namespaced_pod(self, _namespace: str, **_options: Any) -> Any:
        return SimpleNamespace(items=self.pods)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    made = Api(None, pod("a"), pod("starts", running=False), pod("ends", ending=True), pod("b"))

    def execute(_api: object, _namespace: str, name: str, command: list[str], container: str) -> tuple[int, str]:
        assert container == "gateway"
        made.told.append((name, command[-1]))
        return (1, "no space") if name == "full" else (0, "")

    monkeypatch.setattr("kubernetes.client.CoreV1Api", lambda _api: made)
    monkeypatch.setattr(cluster, "execute", execute)
    monkeypatch.setattr("infra.targets.kubernetes_provider._connected", lambda _props: _Nothing())
    return made


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_error: object) -> None:
        return None


def test_it_is_published_first_and_told_to_those_that_run(api: Api) -> None:
    ShareProvider().create(PROPS)
    assert api.data == {"canary.share": "10\n"}
    assert api.told == [(name, "echo 10 > /node/run/canary.share") for name in ("a", "b")]


def test_another_share_changes_the_object_that_is_there(api: Api) -> None:
    api.data = {"canary.share": "10\n"}
    ShareProvider().update("share", PROPS, PROPS | {"percent": 0.0})
    assert api.data == {"canary.share": "0\n"}
    assert {text for _, text in api.told} == {"echo 0 > /node/run/canary.share"}


def test_a_gateway_that_does_not_take_it_is_named(api: Api) -> None:
    api.pods = (pod("full"),)
    with pytest.raises(cluster.ClusterError, match="ours/full did not take the share: 1 no space"):
        ShareProvider().create(PROPS)


def test_the_same_share_is_no_change() -> None:
    assert not ShareProvider().diff("share", PROPS, PROPS | {"kubeconfig": "elsewhere"}).changes
    assert ShareProvider().diff("share", PROPS, PROPS | {"percent": 5.0}).changes
