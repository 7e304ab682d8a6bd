"""A folder on its way through a log: lines of text that the other end turns into the same files, or refuses.

A finished pod's files are gone, its log is not. So evidence needs no storage that both ends share.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

BEGIN, END = "@evidence ", "@end"
_WIDTH = 4096


class Damaged(Exception):
    """What arrived is not what was sent."""


def pack(folder: Path) -> Iterator[str]:
    """The folder's files as lines: BEGIN with the digest of what follows, base64, END."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:xz") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.add(path, str(path.relative_to(folder)))
    content = held.getvalue()
    yield BEGIN + hashlib.sha256(content).hexdigest()
    text = base64.b64encode(content).decode()
    yield from (text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH))
    yield END


def unpack(digest: str, lines: Sequence[str], folder: Path) -> list[Path]:
    """Write the files below `folder`; their paths. Raises Damaged, with nothing written."""
    try:
        content = base64.b64decode("".join(lines), validate=True)
    except ValueError as error:
        raise Damaged(str(error)) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise Damaged(f"{len(content)} bytes arrived, with another sha256 than was announced")
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:xz") as archive:
        found = [(member, archive.extractfile(member)) for member in archive if member.isfile()]
        texts = {_safe(member.name): held.read() for member, held in found if held is not None}
    for name, data in texts.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return [folder / name for name in texts]


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise Damaged(f"a file named {name!r} would land outside")
    return path
