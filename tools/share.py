"""The canary's share of production's clients, at run time and declared: python -m tools.share --stack S --percent N"""

from __future__ import annotations

import argparse
import sys
import time

from tools.declared import declare, namespace_of, setting
from tools.errors import ToolError
from tools.stacks import Stack, choose

# Where a gateway's run folder is in its container, and the file that infra/node/canary.lua looks at.
OVERRIDE = "/node/run/canary.share"


def set_share(stack: Stack, percent: int) -> int:
    """Send `percent` of the clients of this stack's gateway to its canary. Returns the exit code of what applied it.

    Raises ToolError when the stack has no gateway or no canary.
    """
    target = setting(stack, "target")
    if target == "process":
        raise ToolError(
            f"stack '{stack.name}' runs no gateway (target process), so no client can be sent to a canary; nothing was "
            "changed\n  fix: target docker or kubernetes, or a plan without `share`"
        )
    if percent and not setting(stack, "canary"):
        raise ToolError(
            f"stack '{stack.name}' names no canary; nothing was changed\n"
            f"  fix: set `canary` to HOST:PORT of the canary stack's gateway (docs/gateway.md)"
        )
    if percent and setting(stack, "workload", "record") != "cache":
        raise ToolError(
            f"stack '{stack.name}' is a system of record: what clients write on the canary is gone when they return; "
            "nothing was changed\n  fix: prove the release in staging; or, when the data can be lost, `workload: cache`"
        )
    declare(stack, "canaryShare", str(percent))
    if target == "kubernetes":
        _override_pods(stack, percent)
        return 0
    # No `up` here: the tree may be of a release that this stack must not have yet.
    _override_container(stack, percent)
    return 0


def _override_container(stack: Stack, percent: int) -> None:
    """Into the gateway's container. The next `up` declares the same, which then counts. Raises ToolError."""
    from infra.targets.docker_control import engine, running

    started = time.monotonic()
    with engine(setting(stack, "dockerHost")) as client:
        container = running(client, f"redis-{stack.name}-gateway")
        if container is None:
            raise ToolError(f"stack '{stack.name}' has no gateway that runs\n  fix: make up STACK={stack.name}")
        done = container.exec_run(["sh", "-c", f"echo {percent} > {OVERRIDE}"])
    if done.exit_code != 0:
        raise ToolError(f"the gateway of stack '{stack.name}' did not take it: {done.output.decode()[-200:]}")
    print(f"the gateway of stack '{stack.name}' was told {percent} % after {time.monotonic() - started:.1f} s")


def _override_pods(stack: Stack, percent: int) -> None:
    """Into the object that gateways start with, and into every one that runs. Raises ToolError."""
    from infra.targets import cluster, gateway_share

    started = time.monotonic()
    namespace = namespace_of(stack)
    try:
        with cluster.connected(setting(stack, "kubeconfig"), setting(stack, "kubeContext")) as api:
            gateway_share.publish(api, namespace, stack.name, percent)
            told = gateway_share.tell(api, namespace, stack.name, percent)
    except cluster.ClusterError as error:
        raise ToolError(f"the gateways of stack '{stack.name}': {error}\n  fix: run the command again") from None
    if not told:
        raise ToolError(f"stack '{stack.name}' has no gateway that runs\n  fix: make up STACK={stack.name}")
    took = time.monotonic() - started
    print(f"{len(told)} gateways of stack '{stack.name}' were told {percent} % after {took:.1f} s")


def _percent(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 100:
        raise argparse.ArgumentTypeError("a whole number from 0 to 100")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.share", description=__doc__)
    parser.add_argument("--stack", required=True, help="the stack whose gateway shares its clients")
    parser.add_argument("--percent", required=True, type=_percent)
    options = parser.parse_args(arguments)
    try:
        return set_share(choose(options.stack), options.percent)
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
