"""The dynamic providers of the Kubernetes target: what the cluster's own controllers cannot know. Kept small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pulumi.dynamic import CreateResult, DiffResult, ReadResult, ResourceProvider, UpdateResult

from infra.targets import cluster, convergence, gateway_share, pods, rollouts
from infra.targets.changes import as_seen, changed_keys


class ConvergenceProvider(ResourceProvider):
    """The last step of an `up`: waits until all nodes agree on what is declared, then lets them forget the rest.

    Inputs: kubeconfig, context, namespace, contract (an OperatorContract's variables, secret), sentinels (names of
    pods), trigger (looks again when it changes).
    """

    def create(self, props: dict[str, Any]) -> CreateResult:
        self._converge(props)
        return CreateResult(id_="convergence", outs=props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        # Not agreed is a drift, once a failover that may be under way is over.
        with _connected(props) as api:
            agreed = convergence.is_converged(props["contract"], _answers(api, props))
        return ReadResult(id_=id_, outs=as_seen(props, "" if agreed else "not agreed"))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=bool(changed_keys(olds, news, _WAY)))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        self._converge(news)
        return UpdateResult(outs=news)

    def _converge(self, props: dict[str, Any]) -> None:
        with _connected(props) as api:

            def forget() -> None:
                for pod in props["sentinels"]:
                    _run(api, props, pod, "forget.sh")

            watch = rollouts.Watch(api, props["namespace"])
            try:
                convergence.converge(
                    props["contract"],
                    lambda: watch.look(rollouts.NODES),
                    forget,
                    _answers(api, props),
                    lambda pod: cluster.log_of(api, props["namespace"], pod, "server"),
                )
            except convergence.NotConverged as error:  # no word of the connection to the cluster
                raise cluster.ClusterError(str(error)) from None


def _answers(api: Any, props: dict[str, Any]) -> convergence.Run:
    """How the nodes are asked: inside their pods, for nobody here need be one of the stack's clients."""

    def run(pod: str, commands: Sequence[str]) -> tuple[int, str]:
        return cluster.execute(api, props["namespace"], pod, pods.script("answers.sh", *commands))

    return run


class RolloutProvider(ResourceProvider):
    """Waits until a StatefulSet's or a Deployment's pods are the declared ones and ready.

    Inputs: kubeconfig, context, namespace, kind, name, trigger (waits again when it changes).
    """

    def create(self, props: dict[str, Any]) -> CreateResult:
        self._wait(props)
        return CreateResult(id_=props["name"], outs=props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        # One that an `up` gave up on is waited for again, also when the next one declares what was there before.
        with _connected(props) as api:
            try:
                done = rollouts.is_rolled_out(rollouts.read(api, props["namespace"], props["kind"], props["name"]))
            except cluster.ClusterError:
                done = False
        return ReadResult(id_=id_, outs=as_seen(props, "" if done else "not rolled out"))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=bool(changed_keys(olds, news, _WAY)))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        self._wait(news)
        return UpdateResult(outs=news)

    def _wait(self, props: dict[str, Any]) -> None:
        with _connected(props) as api:
            rollouts.await_rolled_out(api, props["namespace"], props["kind"], props["name"])


class ModeProvider(ResourceProvider):
    """A running deployment keeps its mode: nodes that wait for Sentinels which come after them would wait for ever.

    Inputs: kubeconfig, context, mode.
    """

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(id_="mode", outs=props)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=bool(changed_keys(olds, news, _WAY)))

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        if olds["mode"] != news["mode"]:
            raise cluster.ClusterError(
                f"mode: found {news['mode']}, expected {olds['mode']}: on Kubernetes a running stack keeps its mode; "
                f"no node was changed\n  fix: pulumi config set redis-sentinel:mode {olds['mode']}; applications do "
                "without Sentinels by `contractMode: standalone`, which leads them to the gateway"
            )
        return UpdateResult(outs=news)


class ShareProvider(ResourceProvider):
    """The declared share of a canary, which gateways take over without a restart.

    Inputs: kubeconfig, context, namespace, stack, percent.
    """

    def create(self, props: dict[str, Any]) -> CreateResult:
        self._set(props)
        return CreateResult(id_="share", outs=props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        # What it says is `make share`'s matter too, and no drift.
        with _connected(props) as api:
            there = gateway_share.exists(api, props["namespace"])
        return ReadResult(id_=id_ if there else "", outs=props)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=bool(changed_keys(olds, news, _WAY)))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        self._set(news)
        return UpdateResult(outs=news)

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        with _connected(props) as api:
            gateway_share.remove(api, props["namespace"])

    def _set(self, props: dict[str, Any]) -> None:
        # Numbers come back from the engine as floats.
        percent = int(props["percent"])
        with _connected(props) as api:
            gateway_share.publish(api, props["namespace"], props["stack"], percent)
            gateway_share.tell(api, props["namespace"], props["stack"], percent)


# How the cluster is reached is no property of what runs there.
_WAY = ("kubeconfig", "context")


def _connected(props: dict[str, Any]) -> Any:
    return cluster.connected(props["kubeconfig"], props["context"])


def _run(api: Any, props: dict[str, Any], pod: str, name: str, *arguments: str) -> None:
    code, output = cluster.execute(api, props["namespace"], pod, pods.script(name, *arguments))
    if code:
        raise cluster.ClusterError(f"{pod}: {name} ended with {code}:\n{output.strip()}")
