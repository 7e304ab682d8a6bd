"""One round of discovery: ask every Sentinel at once, then the nodes that may be the master, then decide."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from client.decision import (
    RoleView,
    SentinelView,
    candidates,
    choose_master,
    explain,
    healthy_replicas,
    is_reported_down,
)
from client.errors import AccessRefused, RedisUnavailable
from client.options import Options
from infra.contract import Contract, Endpoint

Answer = TypeVar("Answer")

_SILENT = "did not answer in time"


class Asker(Protocol):
    """Puts a question to a server. Answers always come, with the reason inside when the server gave none."""

    def sentinel(self, endpoint: Endpoint) -> SentinelView: ...
    def role(self, endpoint: Endpoint) -> RoleView: ...


class Discovery:
    """Finds the master and the replicas of a contract in Sentinel mode. One thread at a time."""

    def __init__(self, contract: Contract, options: Options, asker: Asker) -> None:
        self._contract = contract
        self._options = options
        self._asker = asker
        self._silent: frozenset[Endpoint] = frozenset()

    def master(self) -> Endpoint:
        """The master now. Raises RedisUnavailable when there is none yet, AccessRefused when asking is pointless."""
        views = self._ask_sentinels()
        wanted = candidates(views.values())
        # A node that the Sentinels have lost too gets little time to prove them wrong: its successor is due any moment.
        # Stop listening once the likeliest one says master: the other one may be a dead host that never answers.
        roles = ask_all(
            self._asker.role,
            wanted,
            patience_s=self._options.straggler_s if is_reported_down(views.values()) else self._probe_limit_s,
            settled=lambda seen: choose_master(views.values(), seen) == wanted[0],
        )
        chosen = choose_master(views.values(), roles)
        if chosen is not None:
            return chosen
        seen = explain(views, {endpoint: roles.get(endpoint, RoleView(error=_SILENT)) for endpoint in wanted})
        no_sentinel = all(view.error for view in views.values())
        if any(role.refused for role in roles.values()) or (no_sentinel and any(v.refused for v in views.values())):
            raise AccessRefused(f"the servers that answered do not accept this client: {seen}")
        raise RedisUnavailable(f"no master for '{self._contract.master_name}' yet: {seen}")

    def replicas(self) -> tuple[Endpoint, ...]:
        """Replicas that are up and linked to their master, in random order. May be empty."""
        found = healthy_replicas(self._ask_sentinels().values())
        roles = ask_all(self._asker.role, found, patience_s=self._probe_limit_s)
        linked = [endpoint for endpoint, role in roles.items() if role.linked]
        random.shuffle(linked)
        return tuple(linked)

    @property
    def _probe_limit_s(self) -> float:
        return self._options.probe_connect_timeout_s + self._options.probe_timeout_s

    def _ask_sentinels(self) -> dict[Endpoint, SentinelView]:
        """All Sentinels at once: a black-holed one costs `straggler_s`, and a fifth of it while it stays silent.

        Waiting for all of them, not for the first or for a majority, is what finds the one that leads a failover.
        """
        sentinels = self._contract.sentinels
        majority = len(sentinels) // 2 + 1
        views = ask_all(
            self._asker.sentinel,
            sentinels,
            patience_s=self._probe_limit_s,
            settled=lambda seen: sum(not view.error for view in seen.values()) >= majority,
            settled_s=self._options.straggler_s / (5 if self._silent else 1),
        )
        self._silent = frozenset(sentinels) - views.keys()
        return views | {endpoint: SentinelView(error=_SILENT) for endpoint in self._silent}


def ask_all(
    ask: Callable[[Endpoint], Answer],
    endpoints: Iterable[Endpoint],
    *,
    patience_s: float,
    settled: Callable[[dict[Endpoint, Answer]], bool] = lambda _: False,
    settled_s: float = 0.0,
) -> dict[Endpoint, Answer]:
    """Ask every endpoint in its own thread; return the answers of those that answered in time.

    Ends when all have answered, `patience_s` after the start, or `settled_s` after the answers were first `settled`,
    whichever comes first. Late answers are dropped; their threads end with their own time-outs.
    """
    waiting = tuple(endpoints)
    inbox: SimpleQueue[tuple[Endpoint, Answer]] = SimpleQueue()

    def ask_one(endpoint: Endpoint) -> None:
        inbox.put((endpoint, ask(endpoint)))

    for endpoint in waiting:
        # Daemons: a program that ends does not wait for a server that never answers.
        threading.Thread(target=ask_one, args=(endpoint,), daemon=True).start()
    answers: dict[Endpoint, Answer] = {}
    end = time.monotonic() + patience_s
    is_settled = False
    while len(answers) < len(waiting):
        if not is_settled and settled(answers):
            is_settled = True
            end = min(end, time.monotonic() + settled_s)
        try:
            endpoint, answer = inbox.get(timeout=max(0.0, end - time.monotonic()))
        except Empty:
            break
        answers[endpoint] = answer
    return answers
