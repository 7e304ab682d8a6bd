"""Round after round of outages of one deployment, until the time is over or something is not as promised."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from client.crosscheck import Observation
from tests.deployment import Deployment
from tests.nodes import is_on_disk
from tests.torture.doing import Doing, Stopped
from tests.torture.keys import Keys
from tests.torture.plan import Round, rounds
from tests.torture.watch import Watch
from tests.waiting import SLACK, await_that

MASTER_S = 60
"""After the last repair there is one master again."""
AGREED_S = 120
"""And after this everybody agrees, in sync: a Sentinel that was frozen does nothing for half a minute."""
TWO_MASTERS_S = 4 * SLACK
"""The longest that two may say role:master: a promotion is published within a second, and that twice over."""


@dataclass
class Sums:
    """What several rounds came to. Times in seconds."""

    seed: int
    rounds: int = 0
    confirmed: int = 0
    acknowledged: int = 0
    lost_plain: int = 0
    master_s: float = 0.0
    agreed_s: float = 0.0
    two_masters_s: float = 0.0
    failure: str = ""


class Torture:
    """One deployment of this seed's own, in `home`. `say`: a line of progress for each round. `stop` ends it early."""

    def __init__(self, seed: int, home: Path, say: Callable[[str], None], stop: Event | None = None) -> None:
        self._seed = seed
        self._say = say
        self._stop = stop or Event()
        # The settings that decide who may write: a third of the seeds trusts WAIT alone.
        self.deployment = Deployment(home, minReplicasToWrite="0" if seed % 3 == 0 else "1")
        self._contract = self.deployment.contract
        self.sums = Sums(seed)

    def run(self, minutes: float) -> Sums:
        """At least one round. The first thing that is not as promised ends it, and is in the sums."""
        return self.do(rounds(self._seed), minutes)

    def do(self, plan: Iterable[Round], minutes: float) -> Sums:
        """The same with these rounds."""
        end = time.monotonic() + minutes * 60
        try:
            self.deployment.up()
            with Watch(self._contract) as watch, Keys(self._contract) as keys:
                doing = Doing(self.deployment, watch, self._stop)
                for planned in plan:
                    try:
                        self._round(planned, doing, watch, keys)
                    except Stopped:
                        break
                    except Exception as error:
                        self.sums.failure = self._report(planned, doing, keys, error)
                        break
                    if time.monotonic() > end:
                        break
        finally:
            self.deployment.down()
        return self.sums

    def _round(self, planned: Round, doing: Doing, watch: Watch, keys: Keys) -> None:
        begun, before, first_plain = time.monotonic(), self.sums.confirmed, keys.acknowledged
        doing.begin(planned.number)
        for step in planned.steps:
            doing.do(step)
        away = [doing.names.get(node, node) for node in planned.away]
        there = [name for name in self.deployment.names if name not in away]
        master_s = self._await_master(doing, there)
        if planned.last:
            for step in planned.last:
                doing.do(step)
            master_s = max(master_s, self._await_master(doing, self.deployment.names))
        doing.finish()
        agreed_s = self._await_agreement(doing)
        two_masters_s, who = watch.longest()
        if two_masters_s > TWO_MASTERS_S:
            raise AssertionError(f"two masters for {two_masters_s:.1f} s: {who}")
        confirmed, lost_plain = self._check_keys(keys, first_plain)
        sums = self.sums
        sums.rounds += 1
        sums.confirmed, sums.acknowledged = confirmed, keys.acknowledged
        sums.lost_plain += lost_plain
        sums.master_s, sums.agreed_s = max(sums.master_s, master_s), max(sums.agreed_s, agreed_s)
        sums.two_masters_s = max(sums.two_masters_s, two_masters_s)
        what = f"{planned.kind}, {planned.faults} faults" + (f", {planned.damage}" if planned.damage else "")
        self._say(
            f"[{self._seed}] round {planned.number} ({what}): master after {master_s:.1f} s, agreed {agreed_s:.1f} s, "
            f"{confirmed - before} keys more, {confirmed} confirmed, 0 lost; plain {lost_plain} lost; "
            f"two masters {two_masters_s:.1f} s; took {time.monotonic() - begun:.0f} s"
        )

    def _await_master(self, doing: Doing, there: Iterable[str]) -> float:
        begun = time.monotonic()
        look = 0

        def one_master() -> bool:
            nonlocal look
            look += 1
            if look % 5 == 0:
                doing.start_ended(there)
            time.sleep(0.2)
            seen = self.deployment.observe()
            assert _one_master(seen), _roles(seen)
            return True

        await_that(one_master, MASTER_S, "one master that a majority of the Sentinels names")
        return time.monotonic() - begun

    def _await_agreement(self, doing: Doing) -> float:
        begun = time.monotonic()

        def agreed() -> bool:
            time.sleep(0.3)
            doing.start_ended(self.deployment.names)
            found = self.deployment.findings()
            assert not found, "; ".join(found)
            busy = [node.name for node in self._contract.nodes if not is_on_disk(self._contract, node)]
            assert not busy, f"not on disk yet: {', '.join(busy)}"
            return True

        await_that(agreed, AGREED_S, "agreement, and the data sets on disk")
        return time.monotonic() - begun

    def _check_keys(self, keys: Keys, first_plain: int) -> tuple[int, int]:
        """How many keys are confirmed so far, all of them everywhere; and how many of the plain ones are not."""
        confirmed, end_plain = keys.confirmed(), keys.acknowledged
        for node in self._contract.nodes:
            missing = keys.missing(list(confirmed), node)
            if missing:  # of a replica, what was confirmed in this moment may still be on its way
                time.sleep(2)
                missing = keys.missing(missing, node)
            if missing:
                times = [confirmed[key] for key in missing]
                raise AssertionError(
                    f"{node.name} lacks {len(missing)} of {len(confirmed)} confirmed keys, {missing[0]} for one; they "
                    f"were confirmed {keys.elapsed_s() - min(times):.2f} to {keys.elapsed_s() - max(times):.2f} s ago"
                )
        master = next(node for node in self._contract.nodes if node.name == self.deployment.master())
        return len(confirmed), keys.lost_plain(master, first_plain, end_plain)

    def _report(self, planned: Round, doing: Doing, keys: Keys, error: Exception) -> str:
        what = str(error) if isinstance(error, AssertionError) else repr(error)
        seen = self.deployment.observe()
        lines = [
            f"seed {self._seed}, round {planned.number} ({planned.kind}): {what}",
            f"{len(keys.confirmed())} keys were confirmed so far; it is {doing.elapsed_s():.2f} s of the round now",
            "planned:",
            *(f"  {step}" for step in (*planned.steps, *planned.last)),
            f"done, with {', '.join(f'{role} = {name}' for role, name in doing.names.items())}:",
            *(f"  {line}" for line in doing.log),
            f"seen at the end: {_roles(seen)}",
            *(f"  {finding}" for finding in self.deployment.findings()),
        ]
        for name in self.deployment.names:
            lines += [
                f"--- {self.deployment.folder(name) / 'node.log'}",
                *self.deployment.log(name).splitlines()[-12:],
            ]
        return "\n".join(lines)


def _one_master(seen: Observation) -> bool:
    if len(seen.masters) != 1:
        return False
    named = [view.master for view in seen.sentinels if not view.error]
    return named.count(seen.masters[0].endpoint) > len(seen.sentinels) // 2


def _roles(seen: Observation) -> str:
    nodes = [f"{node.name} {node.error or node.role}" for node in seen.nodes]
    views = [f"{view.name} {view.error or f'names {view.master} ({view.flags})'}" for view in seen.sentinels]
    return "; ".join(nodes + views)
