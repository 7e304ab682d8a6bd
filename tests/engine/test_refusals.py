"""Bad configuration on the real `pulumi preview`: one clear error, every problem in it, nothing changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.conftest import taken_down
from tests.engine.stack import Stack

pytestmark = pytest.mark.engine

SAMPLES = {
    "unknown key": ({"replica": "2"}, ("replica", "replicas")),
    "wrong type": ({"replicas": "two"}, ("replicas", "two")),
}
AT_ONCE = {
    "replica": "2",
    "replicas": "two",
    "sentinels": "4",
    "quorum": "1",
    "masterName": "my master",
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that no test brings up."""
    yield from taken_down(Stack(tmp_path_factory.mktemp("refused")))


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_bad_setting_is_refused_in_words(refused: Stack, sample: str) -> None:
    bad, told = SAMPLES[sample]
    output = said_with(refused, bad, "preview")
    for part in (*told, "stack 'dev'", "1 problem", "fix:"):
        assert part in output
    assert "Traceback" not in output
    assert not refused.nodes.exists()


def test_every_problem_is_reported_at_once(refused: Stack) -> None:
    output = said_with(refused, AT_ONCE, "up")
    assert f"{len(AT_ONCE)} problems" in output
    for key, value in AT_ONCE.items():
        assert key in output and value in output
    assert "Traceback" not in output


def said_with(stack: Stack, bad: dict[str, str], command: str) -> str:
    good = stack.settings
    stack.configure(good | bad)
    try:
        return stack.make(command, fails=True)
    finally:
        stack.configure(good)


def test_a_bad_password_is_refused_with_the_file_that_has_it(new_stack: Stack) -> None:
    new_stack.make("secrets")
    copy = new_stack.state / "dev" / "Pulumi.dev.yaml"
    new_stack.make("pulumi", "ARGS=config set --secret appPassword Summer2026!Autumn")
    output = new_stack.make("preview", fails=True)
    assert "1 problem" in output and "Summer2026" not in output
    assert f"`make pulumi ARGS='config rm appPassword'` (it is in {copy})" in " ".join(output.split())
