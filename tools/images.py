"""Builds the images that no registry has for us: images/gateway, firewall and smoke. Prints their settings.

python -m tools.images        the engine is the one that DOCKER_HOST or the default names

All are built on one image, $BASE or DEBIAN. A tag is resolved once and its digest is printed, to build on it again.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import docker
from docker.errors import BuildError, DockerException, ImageNotFound

from tools.paths import ROOT

SETTINGS = {"gatewayImage": "gateway", "firewallImage": "firewall", "smokeImage": "smoke"}

DEBIAN = "debian:bookworm-slim"

SUITE = (
    "smoke_tests",
    "client",
    "infra/__init__.py",
    "infra/contract.py",
    "infra/problems.py",
    "infra/node/handover.sh",
    "infra/node/lib.sh",
    "images/smoke/requirements.txt",
)
"""All that the smoke suite's image gets of the project."""


def resolve(base: str) -> str:
    """The image by digest, pulled if the engine lacks it; by id where it came from no registry."""
    images = docker.from_env().images
    try:
        image = images.get(base)
    except ImageNotFound:
        image = images.pull(*base.split("@")) if "@" in base else images.pull(base)
    return str(next(iter(image.attrs["RepoDigests"] or ()), image.id))


def build(folder: str, base: str = DEBIAN) -> str:
    """The id of the image built from images/<folder> on `base`. Raises DockerException when the engine refuses."""
    with tempfile.TemporaryDirectory(prefix="image-") as context:
        home = ROOT / "images" / folder
        shutil.copy(home / "Dockerfile", context)
        for part in SUITE if folder == "smoke" else ():
            _copy(ROOT / part, Path(context) / part)
        image, _ = docker.from_env().images.build(
            path=context, tag=f"redis-sentinel-{folder}", rm=True, buildargs={"BASE": base}
        )
    return str(image.id)


def build_sample() -> str:
    """The id of the sample application's image. Raises DockerException when the engine refuses."""
    made = docker.from_env().images.build(
        path=str(ROOT), dockerfile="examples/app/Dockerfile", tag="redis-sentinel-sample", rm=True
    )
    return str(made[0].id)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def main() -> int:
    print("# lines for `config:` in Pulumi.<stack>.yaml", flush=True)
    try:
        base = resolve(os.environ.get("BASE") or DEBIAN)
        print(f"# built on {base}; on the same again: make images BASE={base}", flush=True)
        for key, folder in SETTINGS.items():
            print(f"  redis-sentinel:{key}: {build(folder, base)}", flush=True)
    except (BuildError, DockerException) as error:
        print(f"error: {error}\n  fix: start a Docker engine, or name one in DOCKER_HOST", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
