"""Files on their way into a container, where arguments and variables would be shown to whoever asks the engine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def archive(files: Mapping[str, str], mode: int = 0o400) -> bytes:
    """A tar file for `put_archive`: each text under its path, owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size, entry.mode = len(data), mode
            made.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
