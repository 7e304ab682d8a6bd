"""A seed -> rounds of outages. Nothing here touches a node: doing it is doing.py's part, judging it torture.py's.

A round begins in agreement, all three data sets alike, and ends with everything repaired. Data nodes go by the role
that they have when it begins, so that a plan says the same of every run of its seed.

The one constraint on the faults, for no design can do without it: of two data sets that hold a confirmed key, one stays
whole. So a round damages one data set at most, of a node that its first outage ended, when all three had everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

DATA = ("master", "replica-a", "replica-b")
SENTINELS = ("sentinel-0", "sentinel-1", "sentinel-2")
NODES = DATA + SENTINELS

Action = Literal[
    "kill", "kill-server", "kill-supervisor", "freeze", "thaw", "stop", "hand-over", "damage", "start", "pause"
]

DAMAGES = (
    "incr-cut",
    "incr-emptied",
    "base-cut",
    "base-gone",
    "zeros",
    "manifest-gone",
    "aof-gone",
    "folder-emptied",
    "older",
)
"""What happens to a dead node's data set (disk.py). older: the data folder of an earlier round is put back."""


@dataclass(frozen=True)
class Step:
    """One thing that is done. `part`: how much of a file is left by a cut. `seconds`: of a pause."""

    action: Action
    nodes: tuple[str, ...] = ()
    damage: str = ""
    part: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        if self.action == "pause":
            return f"pause {self.seconds} s"
        what = f" {self.damage} ({self.part})" if self.damage else ""
        return f"{self.action}{what} {' '.join(self.nodes)}".strip()


@dataclass(frozen=True)
class Round:
    """`steps` end with everything repaired but `away`: these come back, by `last`, once the others have a master."""

    number: int
    kind: str
    steps: tuple[Step, ...]
    away: tuple[str, ...]
    last: tuple[Step, ...]

    @property
    def damage(self) -> str:
        """What happens to whose data set, or nothing."""
        return next((f"{step.damage} of {step.nodes[0]}" for step in self.steps if step.action == "damage"), "")

    @property
    def faults(self) -> int:
        """How many things go wrong."""
        return sum(step.action not in ("pause", "start", "thaw") for step in self.steps)


def rounds(seed: int) -> Iterator[Round]:
    """The rounds of this seed, without an end."""
    number = 0
    while True:
        number += 1
        yield plan_round(seed, number)


def plan_round(seed: int, number: int) -> Round:
    return _Planner(Random(f"{seed}:{number}"), number).plan()  # noqa: S311


class _Planner:
    """Writes one round, and knows of each node what it will be then, so that every step makes sense."""

    def __init__(self, chance: Random, number: int) -> None:
        self._chance = chance
        self._number = number
        self._steps: list[Step] = []
        self._frozen: set[str] = set()
        self._down: set[str] = set()
        self._orphaned: set[str] = set()

    def plan(self) -> Round:
        openings = {
            self._all_at_once: 5,
            self._all_in_turn: 2,
            self._master_comes_back: 4,
            self._killed_while_promoting: 2,
            self._sentinels_and_master: 3,
            self._all_frozen: 2,
            self._frozen_master: 2,
            self._handed_over: 3,
            self._stopped: 3,
            self._anything: 3,
        }
        opening = self._chance.choices(list(openings), list(openings.values()))[0]
        opening()
        for _ in range(self._chance.choice((0, 0, 1, 2, 3))):
            self._pause()
            self._stroke()
        away = self._choose_away()
        self._repair(away)
        steps = tuple(self._steps)
        self._steps = []
        self._repair(())
        return Round(self._number, opening.__name__[1:].replace("_", " "), steps, away, tuple(self._steps))

    # How a round begins. Those with a fault that needs a certain order say so here: chance alone would seldom find it.

    def _all_at_once(self) -> None:
        self._pause()
        self._kill(NODES, wholly=True)
        self._damage_one(0.75, DATA)

    def _all_in_turn(self) -> None:
        nodes = self._shuffled(NODES)
        first, rest = nodes[0], nodes[1:]
        self._kill((first,))
        for node in rest:
            self._pause()
            self._kill((node,))
        self._damage_one(0.4, (first,))

    def _master_comes_back(self) -> None:
        self._kill(("master",))
        self._damage_one(0.4, ("master",))
        self._wait(round(self._chance.uniform(0, 4), 2))  # while it is being replaced, that is
        self._start(("master",))

    def _killed_while_promoting(self) -> None:
        self._kill(("master",), wholly=True)
        self._wait(round(self._chance.uniform(2, 5), 2))  # perhaps not every Sentinel knows of the new one yet
        self._kill(NODES[1:], wholly=True)

    def _sentinels_and_master(self) -> None:
        self._kill(("master", *SENTINELS), wholly=True)
        self._damage_one(0.2, ("master",))
        self._pause()
        if self._chance.random() < 0.5:
            self._wait(24)  # longer than Sentinel's own bound for a replica's link

    def _all_frozen(self) -> None:
        self._freeze(NODES)
        self._wait(round(self._chance.uniform(1, 6), 1))
        self._thaw(NODES)
        self._pause()
        self._kill(("master",))

    def _frozen_master(self) -> None:
        self._freeze(("master",))
        self._wait(round(self._chance.uniform(0, 8), 1))
        self._thaw(("master",))
        self._pause()
        self._kill((self._chance.choice(DATA),))

    def _handed_over(self) -> None:
        self._add("hand-over")
        self._wait(round(self._chance.uniform(0, 3), 2))
        self._kill(tuple(self._chance.sample(NODES, self._chance.choice((1, 1, 2)))))

    def _stopped(self) -> None:
        nodes = self._shuffled(NODES)[: self._chance.choice((1, 1, 2, 6))]
        for node in nodes:
            self._add("stop", (node,))
            self._down.add(node)
            self._wait(round(self._chance.uniform(0, 3), 2))
        self._damage_one(0.5, nodes[:1])

    def _anything(self) -> None:
        self._stroke()

    # Strokes.

    def _stroke(self) -> None:
        """One more thing that goes wrong, or right too early."""
        up = [node for node in NODES if node not in self._down | self._frozen]
        strokes: list[tuple[Callable[[tuple[str, ...]], None], int]]
        strokes = [(self._kill_some, 4), (self._freeze_some, 3)] if up else []
        if self._frozen:
            strokes.append((self._thaw_some, 3))
        if self._down:
            strokes.append((self._start_some, 4))
        stroke = self._chance.choices([each for each, _ in strokes], [weight for _, weight in strokes])[0]
        stroke(tuple(up))

    def _kill_some(self, up: tuple[str, ...]) -> None:
        self._kill(self._some(up))

    def _freeze_some(self, up: tuple[str, ...]) -> None:
        self._freeze(self._some(up))

    def _thaw_some(self, _up: tuple[str, ...]) -> None:
        self._thaw(self._some(tuple(sorted(self._frozen))))

    def _start_some(self, _up: tuple[str, ...]) -> None:
        self._start(self._some(tuple(sorted(self._down))))

    # Steps.

    def _kill(self, nodes: tuple[str, ...], *, wholly: bool = False) -> None:
        actions: tuple[Action, ...] = ("kill", "kill-server", "kill-supervisor")
        action: Action = "kill" if wholly else self._chance.choices(actions, (6, 3, 1))[0]
        self._add(action, nodes)
        if action == "kill-supervisor":
            self._orphaned.update(nodes)
        else:
            self._down.update(nodes)
            self._frozen.difference_update(nodes)
            self._orphaned.difference_update(nodes)

    def _freeze(self, nodes: tuple[str, ...]) -> None:
        self._add("freeze", nodes)
        self._frozen.update(nodes)

    def _thaw(self, nodes: tuple[str, ...]) -> None:
        self._add("thaw", nodes)
        self._frozen.difference_update(nodes)

    def _start(self, nodes: tuple[str, ...]) -> None:
        self._add("start", nodes)
        self._down.difference_update(nodes)
        self._orphaned.difference_update(nodes)

    def _damage_one(self, probability: float, among: tuple[str, ...]) -> None:
        """Of those that went down when the data sets were still alike."""
        able = [node for node in among if node in DATA and node in self._down]
        if able and self._chance.random() < probability:
            part = round(self._chance.random(), 3)
            self._add("damage", (self._chance.choice(able),), self._chance.choice(DAMAGES), part)

    def _pause(self) -> None:
        """0 to 30 s, seldom long; often about the time after which a silent master is replaced."""
        ranges = ((0.0, 0.0), (0.0, 1.0), (1.0, 3.0), (3.0, 8.0), (20.0, 30.0))
        self._wait(round(self._chance.uniform(*self._chance.choices(ranges, (25, 30, 28, 14, 3))[0]), 2))

    def _wait(self, seconds: float) -> None:
        if seconds and self._steps and self._steps[-1].action == "pause":
            seconds = round(seconds + self._steps.pop().seconds, 2)
        if seconds:
            self._steps.append(Step("pause", seconds=seconds))

    def _add(self, action: Action, nodes: tuple[str, ...] = (), damage: str = "", part: float = 0.0) -> None:
        self._steps.append(Step(action, nodes, damage, part))

    # The end.

    def _choose_away(self) -> tuple[str, ...]:
        """Who stays away until the others have a master: nobody where a data set is damaged, for it may be the one
        whole holder that stays away. Two data nodes of three have every confirmed key, two Sentinels are a majority.
        """
        if any(step.action == "damage" for step in self._steps) or self._chance.random() < 0.4:
            return ()
        gone = self._down | self._frozen
        away = [node for node in ("master", self._chance.choice(DATA)) if node in gone][:1]
        away += [node for node in (self._chance.choice(SENTINELS),) if node in gone and self._chance.random() < 0.4]
        return tuple(away)

    def _repair(self, away: tuple[str, ...]) -> None:
        for node in self._shuffled(tuple(sorted((self._down | self._frozen | self._orphaned) - set(away)))):
            self._pause()
            if node in self._frozen:
                self._thaw((node,))
            if node in self._down | self._orphaned:
                self._start((node,))

    def _some(self, of: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self._chance.sample(of, self._chance.choice([1, 1, min(2, len(of)), len(of)])))

    def _shuffled(self, nodes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self._chance.sample(nodes, len(nodes)))
