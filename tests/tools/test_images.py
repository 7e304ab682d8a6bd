"""`make images`: all images on one base, resolved once, that can be named again."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

from tools import images
from tools.paths import ROOT

DIGEST = f"debian@sha256:{'5' * 64}"


class Engine:
    """A Docker engine that has, or can pull, Debian from a registry."""

    def __init__(self, present: bool) -> None:
        self.present = present
        self.pulled: list[tuple[str, ...]] = []
        self.bases: list[str] = []
        self.images = self

    def get(self, name: str) -> Any:
        if not self.present:
            raise ImageNotFound(name)
        return SimpleNamespace(id="sha256:1", attrs={"RepoDigests": [DIGEST]})

    def pull(self, *name: str) -> Any:
        self.pulled.append(name)
        self.present = True
        return self.get(name[0])

    def build(self, buildargs: dict[str, str], **_: Any) -> Any:
        self.bases.append(buildargs["BASE"])
        return SimpleNamespace(id="sha256:2"), None


@pytest.mark.parametrize("present", [True, False])
def test_a_tag_is_resolved_once_and_its_digest_is_used_and_said(
    present: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Engine(present)
    monkeypatch.setattr(docker, "from_env", lambda: engine)
    monkeypatch.delenv("BASE", raising=False)
    assert images.main() == 0
    assert engine.bases == [DIGEST] * 3
    assert engine.pulled == ([] if present else [("debian:bookworm-slim",)])
    assert f"make images BASE={DIGEST}" in capsys.readouterr().out


def test_a_base_by_digest_is_what_is_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(present=False)
    monkeypatch.setattr(docker, "from_env", lambda: engine)
    monkeypatch.setenv("BASE", DIGEST)
    assert images.main() == 0
    assert engine.pulled == [tuple(DIGEST.split("@"))]


def test_every_dockerfile_builds_on_the_base_that_it_is_given() -> None:
    files = [*ROOT.glob("images/*/Dockerfile"), ROOT / "examples/app/Dockerfile"]
    assert len(files) == 4
    for file in files:
        bases = re.findall(r"^FROM (\S+)", file.read_text(), re.M)
        assert set(bases) == {"${BASE}"}, file
