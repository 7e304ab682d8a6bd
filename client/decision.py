"""PURE  Who is the master, given what the Sentinels say and what the nodes say of themselves.

Nobody is believed alone. A node that says `role:master` may be an orphan (someone typed REPLICAOF NO ONE) or an old
master that has not heard of its successor. A Sentinel may be cut off and stale, and publishes a promoted node only
after that node's next INFO, up to a second late. So a node is the master when its own ROLE says master AND either

  - the best informed Sentinels name it (GET-MASTER-ADDR-BY-NAME), or
  - a best informed Sentinel is running a failover and has flagged it `promoted`: that Sentinel has won the election
    (or an operator asked it) and has chosen this very node. This is what saves the second; and an orphan never
    carries the flag, however long the old master is down.

Best informed means the highest config-epoch, Sentinel's own rule for which of two answers is newer. One Sentinel that
answers is enough: refusing a minority would turn the loss of two Sentinels into an outage of a healthy master. What
protects an isolated minority's writes is min-replicas-to-write on its master, and WAIT.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from infra.contract import Endpoint

_DOWN = frozenset({"s_down", "o_down"})
_UNHEALTHY = _DOWN | {"disconnected"}


@dataclass(frozen=True)
class ReplicaView:
    """A replica as one Sentinel sees it. `flags` as in SENTINEL REPLICAS."""

    endpoint: Endpoint
    flags: frozenset[str]


@dataclass(frozen=True)
class SentinelView:
    """One Sentinel's answer, or why there is none (`error`). `flags` are the master's, as in SENTINEL MASTER."""

    named: Endpoint | None = None
    epoch: int = -1
    flags: frozenset[str] = frozenset()
    replicas: tuple[ReplicaView, ...] = ()
    error: str = ""
    refused: bool = False

    @property
    def promoted(self) -> tuple[Endpoint, ...]:
        """The replica that this Sentinel is making the master right now."""
        if "failover_in_progress" not in self.flags:
            return ()
        return tuple(replica.endpoint for replica in self.replicas if "promoted" in replica.flags)

    def __str__(self) -> str:
        if self.error:
            return self.error
        flags = ",".join(sorted(self.flags)) or "no flags"
        return f"names {self.named} (epoch {self.epoch}, {flags})"


@dataclass(frozen=True)
class RoleView:
    """One node's answer to ROLE: 'master', 'slave' or '' with the reason in `error`."""

    role: str = ""
    linked: bool = False
    error: str = ""
    refused: bool = False

    def __str__(self) -> str:
        return self.error or f"says {self.role}"


def candidates(views: Collection[SentinelView]) -> tuple[Endpoint, ...]:
    """Nodes that may be the master, the likeliest first. Empty when no Sentinel knows, or equals disagree evenly."""
    best = _best_informed(views)
    promoted = [endpoint for view in best for endpoint in view.promoted]
    named = Counter(view.named for view in best if view.named is not None).most_common(2)
    if len(named) == 2 and named[0][1] == named[1][1]:
        named = []  # equals disagree (an operator's MONITOR or REMOVE half done): picking one would be a guess
    return tuple(dict.fromkeys([*promoted, *(endpoint for endpoint, _ in named[:1])]))


def choose_master(views: Collection[SentinelView], roles: Mapping[Endpoint, RoleView]) -> Endpoint | None:
    """The node to write to, or None when there is none yet: ask again a little later."""
    for endpoint in candidates(views):
        if endpoint in roles and roles[endpoint].role == "master":
            return endpoint
    return None


def is_reported_down(views: Collection[SentinelView]) -> bool:
    """Whether a best informed Sentinel has lost the master, subjectively or by agreement."""
    return any(view.flags & _DOWN for view in _best_informed(views))


def healthy_replicas(views: Collection[SentinelView]) -> tuple[Endpoint, ...]:
    """Replicas that at least one best informed Sentinel sees up. Their own ROLE is still to be asked."""
    best = _best_informed(views)
    found = [replica.endpoint for view in best for replica in view.replicas if not replica.flags & _UNHEALTHY]
    return tuple(dict.fromkeys(found))


def _best_informed(views: Collection[SentinelView]) -> list[SentinelView]:
    answers = [view for view in views if not view.error]
    newest = max((view.epoch for view in answers), default=0)
    return [view for view in answers if view.epoch == newest]


def explain(views: Mapping[Endpoint, SentinelView], roles: Mapping[Endpoint, RoleView]) -> str:
    """What was seen, for an error's message."""
    sentinels = [f"Sentinel {endpoint} {view}" for endpoint, view in sorted(views.items())]
    nodes = [f"node {endpoint} {role}" for endpoint, role in sorted(roles.items())]
    return "; ".join([*sentinels, *nodes]) or "nobody was asked"
