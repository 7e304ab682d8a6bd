"""Pulumi.prod.yaml and Pulumi.canary.yaml as they are shipped, but for the cluster, a namespace and the images."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docker.stack import shipped
from tests.kubernetes.stack import KubernetesStack

pytestmark = [pytest.mark.kubernetes, pytest.mark.nightly, pytest.mark.timeout(900)]


@pytest.mark.parametrize("name", ["canary", "prod"])
def test_a_shipped_stack_takes_a_new_image_and_goes_when_it_is_told_to(
    tmp_path: Path, cluster_images: dict[str, str], binaries: None, name: str
) -> None:
    made = KubernetesStack(tmp_path)
    overlay = {"kubeconfig": made.settings["kubeconfig"], "namespace": made.namespace}
    overlay |= {key: cluster_images[key] for key in ("image", "gatewayImage")}
    made.configure(shipped(name) | overlay)
    with made.brought_up() as stack:
        before = stack.uids()
        assert len(before) == 3 + 3 + 2
        stack.up_unchanged()
        stack.set(image=cluster_images["next"])
        stack.make("up")
        kept = {pod for pod, uid in stack.uids().items() if before.get(pod) == uid}
        assert {pod.partition("-")[0] for pod in kept} == {"gateway"}
        if made.settings.get("protect") == "true":
            refused = stack.make("down", f"CONFIRM={stack.name}", fails=True)
            assert "protect: false" in refused
            stack.set(protect="false")
            stack.make("up")
        stack.make("down", f"CONFIRM={stack.name}")
        assert stack.uids() == {}
