"""PURE  The phases of a rollout as data: rollout.yaml -> Plan, strict, every problem at once.

A step is a word (`smoke`) or a word with its amount (`share: 5`, `soak: 48h`). What a plan may not do, such as to
deploy before it has shown a preview, is refused here and not met at run time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, cast, get_args

import yaml  # type: ignore[import-untyped]  # comes with pulumi, without types
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError
from securesystemslib.signer import Key

from infra.problems import Problem
from rollout import durations
from rollout.entries import canonical, digest
from rollout.errors import RolloutError
from rollout.keys import NAME, public_key

Kind = Literal[
    "preflight",
    "preview",
    "approval",
    "up",
    "smoke",
    "teeth",
    "faults",
    "rehearsal",
    "share",
    "failover",
    "soak",
    "monitoring",
]
PhaseName = Literal["staging", "canary", "prod"]
Suite = Literal["unit", "integration", "failover", "performance", "load"]
PHASES: tuple[PhaseName, ...] = get_args(PhaseName)
TIMED = ("soak", "monitoring")
# Before `up` nothing of the phase's stack is touched: these may be repeated at will and fail without a rollback.
UNTOUCHING = ("preflight", "preview", "approval")
_STACK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


class PlanError(RolloutError):
    """rollout.yaml cannot be used. The message lists every problem."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{file}: {count}, nothing was done\n{lines}")


def _refused(expected: str, fix: str) -> PydanticCustomError:
    # Braces would be read as a template's.
    context = {"expected": expected, "fix": fix}
    return PydanticCustomError("refused", "{expected}", context)


def _seconds(value: Any) -> float:
    if isinstance(value, str):
        try:
            return durations.parse(value)
        except ValueError as error:
            raise _refused(str(error), "write a duration such as 5s, 30m, 48h or 7d") from None
    raise _refused("a number with ms, s, m, h or d, such as 48h", "write a duration such as 5s, 30m, 48h or 7d")


# Canonical form and JSON carry seconds; only the file carries words.
Seconds = Annotated[float, BeforeValidator(lambda value: value if isinstance(value, float) else _seconds(value))]


def _public(pem: str) -> str:
    try:
        public_key(pem)
    except ValueError:
        raise _refused("a public key as PEM", "paste what `rollout key NAME` printed") from None
    return pem


KeyName = Annotated[str, Field(pattern=f"^{NAME}$")]
PublicPem = Annotated[str, AfterValidator(_public)]


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class Step(_Model):
    """One step. `percent` only for share, `seconds` only for soak and monitoring."""

    kind: Kind
    percent: int | None = None
    seconds: float | None = None

    @property
    def label(self) -> str:
        return self.kind if self.percent is None else f"{self.kind}-{self.percent}"


def _step(value: Any) -> Any:
    if isinstance(value, Mapping) and "kind" in value:
        return value  # canonical form
    word, amount = next(iter(value.items())) if isinstance(value, Mapping) and len(value) == 1 else (value, None)
    if word not in get_args(Kind):
        raise _refused(f"a step: {', '.join(get_args(Kind))}", "correct the step's name, or remove the line")
    if word == "share":
        if not isinstance(amount, int) or isinstance(amount, bool) or not 0 <= amount <= 50:
            raise _refused("a whole percentage from 0 to 50", "write `share: 5`")
        return {"kind": word, "percent": amount}
    if word in TIMED:
        if not isinstance(amount, str):
            raise _refused("a duration such as 48h", f"write `{word}: 48h`")
        return {"kind": word, "seconds": _seconds(amount)}
    if amount is not None:
        raise _refused(f"`{word}` alone", f"write `- {word}`")
    return {"kind": word}


class Consumer(_Model):
    """An application of a stack that a rollback restarts and watches: a Kubernetes Deployment, or a command.

    Where the Deployment is: `namespace`, `context` and `kubeconfig`; the stack's settings say what is not said here.
    """

    name: str
    health: str
    deployment: str | None = None
    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    command: tuple[str, ...] | None = None

    @field_validator("health")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise _refused("an http(s) URL", "write the URL of its /health")
        return url


class Phase(_Model):
    """One stack's way. `samples`: the folder with the samples of the prober beside the stack.

    `clients`: a command that asks production's clients where they are and prints {"clients": 400, "canary": 41}.
    `consumers`: the applications that use the stack; a rollback moves prod's, its rehearsal staging's.
    """

    stack: str
    samples: str
    clients: tuple[str, ...] | None = None
    consumers: tuple[Consumer, ...] = ()
    steps: tuple[Annotated[Step, BeforeValidator(_step)], ...]

    @field_validator("stack")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not _STACK_NAME.fullmatch(name):
            raise _refused("a stack's name: letters, digits, '_' and '-'", "name the stack, such as staging")
        return name

    @field_validator("steps")
    @classmethod
    def _in_order(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        kinds = [step.kind for step in steps]
        for kind in ("preflight", "preview", "up", "smoke"):
            if kinds.count(kind) != 1:
                raise _refused(f"the step {kind} once", f"add or remove `- {kind}`")
        order = [kinds.index(kind) for kind in ("preflight", "preview", "up", "smoke")]
        if order != sorted(order):
            raise _refused("preflight before preview before up before smoke", "reorder the steps")
        if "approval" in kinds and not kinds.index("preview") < kinds.index("approval") < kinds.index("up"):
            raise _refused("approval between preview and up", "move `- approval` between them")
        early = [kind for kind in kinds[: kinds.index("smoke")] if kind in ("failover", "faults", "soak", "monitoring")]
        if early:
            raise _refused(f"{early[0]} after smoke", f"move `- {early[0]}` below `- smoke`")
        shares = [step.percent for step in steps if step.percent]
        if shares != sorted(set(shares)):
            raise _refused("shares that rise", "reorder the share steps")
        if not any(kind in TIMED for kind in kinds):
            raise _refused("a soak or monitoring step", "add `- soak: 48h`")
        return steps


class Rollback(_Model):
    """What a rollback does beside taking the canary's share away. `standalone`: the contract leaves Sentinel."""

    contract: Literal["standalone", "keep"] = "standalone"
    within: Seconds = 300.0
    watch: Seconds = 1800.0

    @model_validator(mode="before")
    @classmethod
    def _has_no_consumers(cls, content: Any) -> Any:
        """Plans had them here, and a rehearsal in staging restarted production's; journals have them empty."""
        if not isinstance(content, Mapping) or "consumers" not in content:
            return content
        if content["consumers"]:
            raise _refused("no consumers here: each phase has its own", "move them to phases.prod.consumers")
        return {key: value for key, value in content.items() if key != "consumers"}


class Signing(_Model):
    """Who signs the journal: `keys`, public ones by their name. `none`: nobody, which every report then says."""

    none: bool = False
    keys: dict[KeyName, PublicPem] = {}

    @model_validator(mode="before")
    @classmethod
    def _is_none(cls, content: Any) -> Any:
        if isinstance(content, Mapping):
            return content
        if content != "none":
            raise _refused("`none`, or `keys` with a public key by its name", "see docs/rollout.md, Signatures")
        return {"none": True}

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if self.none and self.keys:
            raise _refused("`none` or `keys`, not both", "remove one of them")
        return self

    @property
    def public_keys(self) -> dict[str, Key]:
        return {name: public_key(pem) for name, pem in self.keys.items()}

    @property
    def signers(self) -> str:
        """Whose signatures count, for people."""
        return ", ".join(f"{name} {key.keyid[:16]}" for name, key in self.public_keys.items())

    @property
    def missing(self) -> str:
        """Why what is signed by it proves nothing to a stranger; '' when it does."""
        if self.none:
            return "rollout.yaml says `signing: none`"
        return "" if self.keys else "rollout.yaml lists no key under signing.keys"


class Approvals(_Model):
    """Who may approve. `self`: also whoever started the rollout. `keys`: public ones by the approver's name."""

    own: bool = Field(default=False, alias="self")
    keys: dict[KeyName, PublicPem] = {}

    @field_validator("keys")
    @classmethod
    def _are_different(cls, keys: dict[str, str]) -> dict[str, str]:
        if len({public_key(pem).keyid for pem in keys.values()}) < len(keys):
            raise _refused("a key of their own for each approver", "`rollout key NAME` makes one")
        return keys

    @property
    def public_keys(self) -> dict[str, Key]:
        return {name: public_key(pem) for name, pem in self.keys.items()}


class Plan(_Model):
    """A whole rollout. `branch`: the one that releases come from; `sample_gap`: silence of a prober that pauses the

    soak, s; ages and durations in s.
    `tests`: the suites without whose results its report does not pass.
    """

    project: str = Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9._-]+$")
    branch: str = Field(default="main", max_length=200, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$")
    journal: str = Field(min_length=1)
    sample_gap: Seconds = 5.0
    rehearsal_max_age: Seconds = 7 * 86400.0
    rollback: Rollback = Rollback()
    signing: Signing = Signing()
    approvals: Approvals = Approvals()
    tests: tuple[Suite, ...] = ()
    phases: dict[PhaseName, Phase]

    @field_validator("phases")
    @classmethod
    def _fit_together(cls, phases: dict[PhaseName, Phase]) -> dict[PhaseName, Phase]:
        missing = [name for name in PHASES if name not in phases]
        if missing:
            raise _refused(f"the phases {', '.join(PHASES)}", f"add the phase {missing[0]}")
        stacks = [phase.stack for phase in phases.values()]
        if len(set(stacks)) != len(stacks):
            raise _refused("a stack of its own for each phase", "name three different stacks")
        if any(step.percent for step in phases["staging"].steps):
            raise _refused("no share in staging: it has no share of production's clients", "remove it there")
        if phases["canary"].consumers:
            raise _refused("no consumers in canary: a rollback takes its clients away, not its contract", "remove them")
        opens = any(step.percent for step in phases["canary"].steps)
        if opens and not any(step.percent == 0 for step in phases["prod"].steps):
            raise _refused("`share: 0` in prod: else the canary keeps its clients", "add `- share: 0` after up")
        return {name: phases[name] for name in PHASES}

    @model_validator(mode="after")
    def _rehearses(self) -> Self:
        if self.rollback.contract == "standalone" and not self.rehearses:
            fix = "add `- rehearsal` to its steps; or `rollback: {contract: keep}`, which leaves applications alone"
            raise _refused("a rehearsal of the rollback in staging", fix)
        return self

    @model_validator(mode="after")
    def _signs_approvals(self) -> Self:
        if self.approvals.keys and not self.signing.keys:
            raise _refused("signing.keys beside approvals.keys", "list the key that signs the journal, too")
        if any(self.signing.keys.get(name, pem) != pem for name, pem in self.approvals.keys.items()):
            raise _refused("one key for one name", "give the key of signing or of approvals another name")
        return self

    @property
    def rehearses(self) -> bool:
        """Whether the rollback is rehearsed before production opens."""
        steps = [step for name in ("staging", "prod") for step in self.phases[name].steps]
        return any(step.kind == "rehearsal" for step in steps)

    @property
    def hash(self) -> str:
        """What an approval is bound to: the digest of everything the plan says."""
        return digest(canonical(self.to_json()))

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def steps(self) -> Iterator[tuple[PhaseName, str, Step]]:
        """Every step in order: its phase, its id, itself."""
        for name, phase in self.phases.items():
            for number, step in enumerate(phase.steps, start=1):
                yield name, f"{name}/{number:02d}-{step.label}", step


def read(text: str, file: str = "rollout.yaml") -> Plan:
    """The plan that a YAML text spells. Raises PlanError with every problem found."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PlanError(file, [Problem(file, "no YAML", "YAML", f"correct it: {_one_line(error)}")]) from None
    if not isinstance(content, dict):
        raise PlanError(file, [Problem(file, type(content).__name__, "a mapping", "see docs/rollout.md")])
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        raise PlanError(file, [_problem(each) for each in error.errors(include_url=False)]) from None


def _problem(error: Any) -> Problem:
    key = ".".join(map(str, error["loc"])).removesuffix(".[key]")
    found = "a private key" if "PRIVATE KEY" in str(error["input"]) else repr(error["input"])
    found = found if len(found) <= 60 else found[:60] + "..."
    if error["type"] == "missing":
        return Problem(key, "nothing", "a value", f"add `{error['loc'][-1]}`; see docs/rollout.md")
    if error["type"] == "extra_forbidden":
        return Problem(key, "an unknown key", "a known one", "remove it, or see docs/rollout.md for the right name")
    context = cast(Mapping[str, Any], error.get("ctx") or {})
    expected = str(context.get("expected") or error["msg"])
    return Problem(key, found, expected, str(context.get("fix") or "correct the value; see docs/rollout.md"))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
