"""rollout.yaml: every problem at once, and a hash that stands for the whole plan."""

from __future__ import annotations

import re
import subprocess

import pytest

from rollout import durations
from rollout.plan import PhaseName, Plan, PlanError, read
from tests.rollout.fakes import PLAN
from tools.paths import ROOT


def test_the_projects_own_plan_is_valid() -> None:
    plan = read((ROOT / "rollout.yaml").read_text())
    assert [step.seconds for step in plan.phases["staging"].steps if step.kind == "soak"] == [48 * 3600]
    assert [step.percent for step in plan.phases["canary"].steps if step.percent] == [1, 5, 10]
    assert [step.seconds for step in plan.phases["prod"].steps if step.kind == "monitoring"] == [7 * 86400]


@pytest.mark.parametrize("phase", ["staging", "canary", "prod"])
def test_make_probe_writes_what_the_projects_own_plan_reads(phase: PhaseName) -> None:
    """With other samples, or with those of a release that has another name, no soak earns credit."""
    plan = read((ROOT / "rollout.yaml").read_text()).phases[phase]
    order = ["make", "--no-print-directory", "-n", "probe", f"STACK={plan.stack}"]
    told = subprocess.run(order, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    out, release = re.findall(r"--out (\S+) --release \"(\S+)\"", told)[0]
    assert out == plan.samples
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", release)


def test_the_hash_survives_the_journal_and_sees_every_change() -> None:
    plan = read(PLAN)
    assert Plan.model_validate(plan.to_json()).hash == plan.hash
    assert read(PLAN.replace("1h", "2h")).hash != plan.hash
    assert read(PLAN + "# a remark\n").hash == plan.hash


def test_every_problem_at_once() -> None:
    text = PLAN.replace("2s", "2").replace("share: 10", "share: 90").replace("project: tried", "projekt: tried")
    with pytest.raises(PlanError) as caught:
        read(text, "my.yaml")
    found = {problem.key for problem in caught.value.problems}
    assert found == {"sampleGap", "phases.canary.steps.6", "project", "projekt"}
    assert str(caught.value).startswith("my.yaml: 4 problems, nothing was done")
    assert str(caught.value).count("fix:") == 4


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("preview, approval, up", "approval, preview, up", "approval between preview and up"),
        ("up, smoke, rehearsal", "smoke, up, rehearsal", "preflight before preview before up before smoke"),
        ("up, smoke, rehearsal", "up, rehearsal", "the step smoke once"),
        ("{share: 1}, {share: 10}", "{share: 10}, {share: 1}", "shares that rise"),
        ("smoke, rehearsal,", "smoke,", "a rehearsal of the rollback"),
        (", {share: 0}", "", "`share: 0` in prod"),
        ("stack: canary", "stack: prod", "a stack of its own"),
        ("{monitoring: 30s}", "teeth", "a soak or monitoring step"),
        ("project: tried", "project: tried\nbranch: --all", r"branch: found '--all'"),
        ("preview, up, smoke, rehearsal", "preview, up, {soak: 1s}, smoke, rehearsal", "soak after smoke"),
    ],
)
def test_a_plan_that_would_do_harm_is_refused(old: str, new: str, said: str) -> None:
    assert old in PLAN
    with pytest.raises(PlanError, match=said):
        read(PLAN.replace(old, new))


@pytest.mark.parametrize("text", ["", "[]", "a: [", "phases: 3"])
def test_what_is_no_plan(text: str) -> None:
    with pytest.raises(PlanError):
        read(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("5s", 5), ("30m", 1800), ("48h", 172800), ("7d", 604800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert durations.parse(text) == seconds
    assert durations.parse(durations.show(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "5", "-5s", "5 s", "s", "1w", "1e9h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="such as 48h"):
        durations.parse(text)


CONSUMERS = "[{name: shop, health: 'http://shop/health'}]"


def test_consumers_belong_to_the_phase_whose_stack_they_use() -> None:
    """In the rollback's part they were production's, and a rehearsal in staging restarted them."""
    plan = read(PLAN.replace("prod, samples: prod,", f"prod, samples: prod, consumers: {CONSUMERS},"))
    assert [each.name for each in plan.phases["prod"].consumers] == ["shop"]
    assert plan.phases["staging"].consumers == ()
    for old, new, said in (
        ("watch: 1s", f"watch: 1s, consumers: {CONSUMERS}", "phases.prod.consumers"),
        ("samples: canary", f"samples: canary\n    consumers: {CONSUMERS}", "no consumers in canary"),
    ):
        with pytest.raises(PlanError, match=said):
            read(PLAN.replace(old, new))


def test_a_plan_in_an_older_journal_is_still_read() -> None:
    content = read(PLAN).to_json()
    content["rollback"]["consumers"] = []
    assert Plan.model_validate(content) == read(PLAN)


def test_only_a_rollback_that_moves_applications_must_be_rehearsed() -> None:
    without = PLAN.replace("rehearsal, ", "")
    with pytest.raises(PlanError, match="rehearsal"):
        read(without)
    assert not read(without.replace("contract: standalone", "contract: keep")).rehearses
