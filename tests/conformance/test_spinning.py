"""A Sentinel whose link holds an ICMP error, which it never reads, does not turn its event loop for ever."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.deployment


@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip", "iptables"))),
    reason="needs root, unshare, ip and iptables",
)
@pytest.mark.nightly
def test_a_sentinel_that_spins_renews_its_links(tmp_path: Path) -> None:
    command = ["unshare", "--net", sys.executable, "-m", "tests.conformance.spinning", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if done.stdout.strip() == "no spin":
        pytest.skip("this kernel keeps no ICMP errors of connections that were made in the end")
    assert done.returncode == 0 and "renewed after" in done.stdout, f"{done.stdout}\n{done.stderr[-3000:]}"
    print(done.stdout)
