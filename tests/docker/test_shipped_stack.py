"""Pulumi.staging.yaml as it is shipped, with nothing but image names and a subnet of the test's own laid over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.docker import images
from tests.docker.stack import DockerStack, shipped
from tests.engine.stack import findings_of

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


def test_the_shipped_staging_stack_takes_a_new_image_and_goes_only_when_it_is_told_to(
    tmp_path: Path, engine: Any, plugin: None, helper_images: dict[str, str], binaries: None
) -> None:
    made = DockerStack(tmp_path, engine, image=images.redis_image(engine), **helper_images)
    # The test's own are the addresses, and the images.
    made.configure(shipped("staging") | made.settings)
    assert made.settings["protect"] == "true"
    with made.brought_up() as stack:
        kept = stack.ids()
        stack.set(image=images.next_redis_image(engine))
        _, report = stack.up_under_load()
        assert report.lost == ()
        replaced = {name for name, id_ in stack.ids().items() if kept[name] != id_}
        nodes = {"data-0", "data-1", "data-2", "sentinel-0", "sentinel-1", "sentinel-2"}
        assert replaced == {f"redis-{stack.name}-{node}" for node in nodes}
        assert findings_of(stack.contract()) == ()
        before = stack.ids()
        refused = stack.make("down", f"CONFIRM={stack.name}", fails=True)
        assert "protect: false" in refused
        assert stack.ids() == before
        stack.set(protect="false")
        stack.make("up")
        assert stack.ids() == before
        stack.make("down", f"CONFIRM={stack.name}")
        assert stack.ids() == {}
        # What somebody brings back is seen, though no state knows it.
        stray = engine.volumes.create(f"redis-{stack.name}-data-1-data")
        assert f"docker volume rm {stray.name}" in stack.make("down", f"CONFIRM={stack.name}", fails=True)
        stray.remove()
        assert "nothing to do" in stack.make("down", f"CONFIRM={stack.name}")
