"""Another image whose server cannot read the data: refused before any pod is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.docker import images
from tests.kubernetes.lab import load_images
from tests.kubernetes.stack import KubernetesStack

pytestmark = [pytest.mark.kubernetes, pytest.mark.nightly, pytest.mark.timeout(600)]


def test_an_older_redis_does_not_take_over_what_a_valkey_has_written(
    tmp_path: Path, engine: Any, cluster_images: dict[str, str], binaries: None
) -> None:
    valkey = images.valkey_image(engine)
    load_images([str(engine.images.get(valkey).tags[0])])
    made = KubernetesStack(tmp_path, image=valkey, gatewayImage=cluster_images["gatewayImage"])
    with made.brought_up() as stack:
        before = stack.uids()
        stack.set(image=cluster_images["image"])
        for command in ("preview", "up"):
            refused = stack.make(command, fails=True)
            assert "image: found redis 7.0.15, which cannot read the data of valkey 8.1" in refused
            assert "nothing was changed" in refused
            assert "Traceback" not in refused
        assert stack.uids() == before, "no pod was made anew, and the one that was asked is gone"
        stack.set(image=valkey)
        stack.up_unchanged()
