"""Builds the images that no registry has for us: images/gateway and images/firewall. Prints their settings.

python -m tools.images        the engine is the one that DOCKER_HOST or the default names
"""

from __future__ import annotations

import sys

import docker
from docker.errors import BuildError, DockerException

from tools.paths import ROOT

SETTINGS = {"gatewayImage": "gateway", "firewallImage": "firewall"}


def build(folder: str) -> str:
    """The id of the image built from images/<folder>. Raises DockerException when the engine refuses."""
    image, _ = docker.from_env().images.build(
        path=str(ROOT / "images" / folder), tag=f"redis-sentinel-{folder}", rm=True
    )
    return str(image.id)


def main() -> int:
    print("# lines for `config:` in Pulumi.<stack>.yaml", flush=True)
    try:
        for key, folder in SETTINGS.items():
            print(f"  redis-sentinel:{key}: {build(folder)}", flush=True)
    except (BuildError, DockerException) as error:
        print(f"error: {error}\n  fix: start a Docker engine, or name one in DOCKER_HOST", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
