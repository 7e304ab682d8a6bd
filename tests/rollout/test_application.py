"""The application that plays in a rehearsal: what is started is ended, and nothing else; who visits it counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from rehearsal.application import PodApplication, _stop, visited
from tests.waiting import await_that
from tools.processes import identify


@contextmanager
def process(name: str) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", name])
    try:
        yield running
    finally:
        running.kill()
        running.wait(10)


def test_only_an_application_is_ended_and_once(tmp_path: Path) -> None:
    file = tmp_path / "x.application"
    with process("examples.app") as ours, process("somebody's") as theirs:
        # The number has been given to another process since.
        file.write_text(json.dumps({"pid": theirs.pid, "start": "earlier"}))
        _stop(file)
        with pytest.raises(subprocess.TimeoutExpired):
            theirs.wait(0.5)
        assert not file.exists()
        identity = identify(ours.pid)
        assert identity
        file.write_text(json.dumps(asdict(identity)))
        _stop(file)
        assert ours.wait(5) != 0
        _stop(file)


class Health(BaseHTTPRequestHandler):
    available = True

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"redis": {"mode": "sentinel", "available": Health.available}}).encode())

    def log_message(self, *_: object) -> None: ...


def test_visits_are_counted_with_what_was_amiss() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Health)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    with visited(f"http://127.0.0.1:{server.server_port}/health") as visits:
        await_that(lambda: visits.asked > 2, 5, "visits")
        assert (visits.unanswered, visits.without_redis) == (0, 0)
        Health.available = False
        await_that(lambda: visits.without_redis, 5, "one without Redis")
        server.shutdown()
        server.server_close()
        await_that(lambda: visits.unanswered, 5, "one without an answer")


def test_pods_are_named_as_the_stacks_settings_find_them() -> None:
    """Namespace and cluster are left to the stack's settings: what a reader's own plan would say."""
    consumer = PodApplication("shop", "image", "/kubeconfig").consumer
    assert (consumer["deployment"], sorted(consumer)) == ("sample", ["deployment", "health", "name"])
