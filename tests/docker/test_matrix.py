"""Each server with and without TLS: `make up` from nothing to a quorum, the smoke suite, a second `up`, and away.

By night. In the gate the other modules stand on these servers: test_stack.py on Redis, test_tls.py on Redis with TLS,
test_publish.py on Valkey with TLS, and the smoke suite has the machine to itself in tests/conformance/test_smoke.py.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from client.links import open_as
from infra.contract import OperatorContract
from tests.docker import images
from tests.docker.stack import DockerStack
from tests.engine.stack import findings_of

pytestmark = [pytest.mark.docker, pytest.mark.nightly, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    ("server", "image", "tls"),
    [
        pytest.param("redis 7.0.15", images.redis_image, "false", id="redis"),
        pytest.param("redis 7.0.15", images.redis_image, "true", id="redis-tls"),
        pytest.param("valkey 8.1.", images.valkey_image, "false", id="valkey"),
        pytest.param("valkey 8.1.", images.valkey_image_with_tls, "true", id="valkey-tls"),
    ],
)
def test_from_nothing_to_a_quorum_and_through_the_smoke_suite(
    tmp_path: Path,
    engine: Any,
    plugin: None,
    helper_images: dict[str, str],
    binaries: None,
    server: str,
    image: Callable[[Any], str],
    tls: str,
) -> None:
    stack = DockerStack(tmp_path, engine, image=image(engine), tls=tls, **helper_images)
    try:
        stack.make("secrets")
        begun = time.monotonic()
        stack.make("up")
        contract = stack.contract()
        assert [ckquorum(contract, i) for i in range(3)] == ["OK 3 usable Sentinels."] * 3
        print(f"{server} with tls {tls}: up from nothing to a quorum in {time.monotonic() - begun:.1f} s")
        assert findings_of(contract) == ()
        assert version(contract).startswith(server)
        assert (contract.tls_ca_file is not None) == (tls == "true")
        stack.smoke()
        stack.assert_unchanged()
        stack.make("down", f"CONFIRM={stack.name}")
        assert stack.ids() == {}
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
        assert f"redis_sentinel_{stack.name}" not in tables
    finally:
        stack.remove_everything()


def ckquorum(contract: OperatorContract, number: int) -> str:
    """The first words of what a Sentinel says about its quorum."""
    with closing(open_as(contract, "operator", contract.sentinels[number], 2.0)) as link:
        answer = link.execute_command("SENTINEL", "CKQUORUM", contract.master_name)  # type: ignore[no-untyped-call]
    return " ".join(str(answer).split()[:4])


def version(contract: OperatorContract) -> str:
    """What the first node runs: `redis 7.0.15`."""
    with closing(open_as(contract, "monitor", contract.nodes[0].endpoint, 2.0)) as link:
        said = link.info("server")
    return f"valkey {said['valkey_version']}" if "valkey_version" in said else f"redis {said['redis_version']}"
