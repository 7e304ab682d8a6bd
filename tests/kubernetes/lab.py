"""The lab's cluster: commands of its kit, kubectl, and the one thing its kernel lacks."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

LAB = Path(__file__).resolve().parents[3] / "shared" / "lab" / "lab"
_LABS = "/run/k8slab/admin.kubeconfig"
KUBECONFIG = os.environ.get("KUBECONFIG") or (_LABS if LAB.exists() else str(Path("~/.kube/config").expanduser()))

# The lab's kernel is built without CONFIG_NETFILTER_NETLINK_GLUE_CT, so its policy daemon cannot mark the connections
# that it has allowed, and asks the policies again for every answer, as if it were a connection of its own. This marks
# what belongs to an established connection, which is what the daemon's own verdict does elsewhere. Whether a connection
# may be opened is still the policies' matter alone.
REPLIES = """
table inet lab-replies {
  chain postrouting { type filter hook postrouting priority 90 ; ct state established,related ct label set 28 ; } ;
}
"""


def lab(*arguments: str, timeout_s: float = 120) -> str:
    """One command of the kit. Raises CalledProcessError."""
    done = subprocess.run([str(LAB), *arguments], capture_output=True, text=True, check=True, timeout=timeout_s)
    return done.stdout


def let_answers_pass() -> None:
    """See REPLIES. Also after a node was started again. Nothing on a cluster that is not the lab's."""
    for node in nodes() if LAB.exists() else ():
        one_line = " ".join(REPLIES.split())
        lab("node-exec", node, "sh", "-c", f"nft list table inet lab-replies >/dev/null 2>&1 || nft '{one_line}'")


def load_images(tags: list[str]) -> None:
    """Put images of the Docker engine into every node: the lab's, or kind's."""
    if LAB.exists():
        lab("image-load", *tags, timeout_s=300)
    else:
        subprocess.run(["kind", "load", "docker-image", *tags], check=True, timeout=300)


def nodes() -> list[str]:
    """The nodes that take pods, by name."""
    found = get("nodes", "--selector", "!node-role.kubernetes.io/control-plane")["items"]
    return [str(node["metadata"]["name"]) for node in found]


def environment() -> dict[str, str]:
    """In which kubectl is found, and finds the cluster."""
    return os.environ | {"KUBECONFIG": KUBECONFIG, "PATH": f"/opt/lab/bin:{os.environ['PATH']}"}


def kubectl(*arguments: str, fails: bool = False, timeout_s: float = 120, stdin: str | None = None) -> str:
    """What kubectl prints. AssertionError when its success is not as expected."""
    done = subprocess.run(
        ["kubectl", *arguments],
        input=stdin or "",
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        env=environment(),
    )
    assert (done.returncode != 0) == fails, f"kubectl {' '.join(arguments)}: {done.returncode}\n{done.stderr}"
    return done.stdout


def get(*arguments: str) -> Any:
    """`kubectl get ... -o json`, parsed."""
    return json.loads(kubectl("get", *arguments, "-o", "json"))
