"""What keeps a container from coming up is told before another one is taken down for it."""

from __future__ import annotations

import pytest

from tests.docker.stack import DockerStack

pytestmark = [pytest.mark.docker, pytest.mark.nightly, pytest.mark.timeout(300)]

NO_IMAGE = f"sha256:{'0' * 64}"


@pytest.mark.parametrize("setting", ["image", "gatewayImage"])
def test_an_image_that_is_not_there(stack: DockerStack, setting: str) -> None:
    before, born = stack.ids(), dict(stack.settings)
    stack.set(**{setting: NO_IMAGE})
    try:
        output = stack.make("up", fails=True)
    finally:
        stack.configure(born)
    assert f"{setting}: found {NO_IMAGE}, which the engine has not and cannot pull" in output
    assert f"`pulumi config set {setting}` to another one" in output
    assert "Traceback" not in output
    assert stack.ids() == before
    stack.make("up")
    assert stack.ids() == before, "the next one has no container to mend"
