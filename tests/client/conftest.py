"""Fixtures of the client's unit tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.client.tiny_redis import TinyRedis


@pytest.fixture
def server() -> Iterator[TinyRedis]:
    with TinyRedis() as tiny:
        thread = threading.Thread(target=tiny.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield tiny
        tiny.shutdown()
        thread.join()
