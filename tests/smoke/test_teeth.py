"""Each check has been seen red: a real deployment is broken, the named checks fail; once repaired, every one passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from infra.contract import OperatorContract
from smoke_tests.catalogue import Question, catalogue, spec_of
from smoke_tests.checks import test_contract as contract_checks
from smoke_tests.checks import test_failover as failover_checks
from smoke_tests.drill import Drill
from smoke_tests.result import NotAsClaimed, Result
from smoke_tests.verdict import Verdict
from tests.deployment import Deployment, free_ports
from tests.smoke.breaks import (
    acl,
    aof_off,
    contract_with,
    ghost_sentinel,
    orphan_master,
    replica_link_cut,
    replica_stopped,
    sentinel_killed,
    sentinel_with_wrong_auth_pass,
    snapshot_failed,
    wrong_quorum,
    wrong_secret,
)
from tests.smoke.runner import Runner
from tests.smoke.samples import CONTRACT, GOOD_DRILL

DEFAULT_OFF = r"^user default off.*"
DEFAULT_ON = "user default on nopass ~* &* +@all"
REPLICATION = "replication.wait replication.read-back replication.offsets"

# what is broken: how, and the checks that must fail
BREAKS: dict[str, tuple[Callable[[Deployment], Any], str]] = {
    "a Sentinel has quorum 1": (wrong_quorum, "quorum.value topology.agreement"),
    "a replica was told REPLICAOF NO ONE": (orphan_master, f"topology.agreement quorum.agreement {REPLICATION}"),
    "a Sentinel has a wrong auth-pass": (sentinel_with_wrong_auth_pass, "quorum.agreement topology.agreement"),
    "a replica cannot log in to the master": (replica_link_cut, f"topology.agreement {REPLICATION}"),
    "a replica hangs": (replica_stopped, f"topology.agreement {REPLICATION}"),
    "a Sentinel is dead": (sentinel_killed, "quorum.ckquorum quorum.peers quorum.agreement topology.agreement"),
    "a Sentinel that nobody declared": (ghost_sentinel, "quorum.peers topology.agreement"),
    "default user on, at a node": (acl("data-1", DEFAULT_OFF, DEFAULT_ON), "auth.no-password auth.default-off"),
    "default user on, at a Sentinel": (acl("sentinel-1", DEFAULT_OFF, DEFAULT_ON), "auth.no-password auth.default-off"),
    "an account without password": (acl("data-2", r"^(user app on) \S+", r"\1 nopass"), "auth.wrong-password"),
    "app may do all, at a node": (
        acl("data-0", r"^(user app .*)", r"\1 &* +@all"),
        "auth.rights-refused auth.hello-channel",
    ),
    "app may do all, at a Sentinel": (
        acl("sentinel-2", r"^(user app .*)", r"\1 &* +@all"),
        "auth.rights-refused auth.hello-channel",
    ),
    "operator may not read CONFIG": (acl("data-0", r" \+config\|get", ""), "auth.rights-granted"),
    "monitor may not ask for CKQUORUM": (acl("sentinel-0", r" \+sentinel\|ckquorum", ""), "auth.rights-granted"),
    "a replica's AOF is off": (aof_off, "persistence.aof persistence.written"),
    "a replica's snapshot failed": (snapshot_failed, "persistence.snapshot"),
    "another password and port in the contract": (
        contract_with(sentinel_password=wrong_secret, port=lambda: free_ports(1)),
        "contract.sentinel-path contract.standalone-path",
    ),
}


@pytest.mark.deployment
@pytest.mark.parametrize(("break_it", "red"), BREAKS.values(), ids=BREAKS)
def test_the_named_checks_fail_while_it_is_broken(
    break_it: Callable[[Deployment], Any], red: str, deployment: Deployment, runner: Runner
) -> None:
    checks = red.split()
    with break_it(deployment) as contract:
        outcome = runner.smoke(contract, "--only", ",".join(checks))
    print(outcome.output)
    assert outcome.verdicts() == dict.fromkeys(checks, Verdict.FAIL), outcome.output
    assert outcome.code == 1


@pytest.mark.deployment
def test_a_gap_above_the_threshold_fails(deployment: Deployment, runner: Runner) -> None:
    outcome = runner.smoke(deployment.contract, "--only", "failover.gap", "--max-gap-ms", "1")
    assert outcome.verdicts() == {"failover.gap": Verdict.FAIL}, outcome.output
    assert outcome.code == 1


@pytest.mark.deployment
def test_after_all_these_repairs_every_check_passes(deployment: Deployment, runner: Runner) -> None:
    outcome = runner.smoke(deployment.contract)
    assert outcome.verdicts() == {spec.id: Verdict.PASS for spec in catalogue()}, outcome.output
    assert outcome.code == 0


# What a real, fenced failover cannot be made to do: the report of one that went wrong.
FAILOVER_TEETH: dict[str, tuple[Callable[[Drill, Result], None], Drill]] = {
    "a write is lost": (
        failover_checks.test_no_lost_acks,
        replace(GOOD_DRILL, report=replace(GOOD_DRILL.report, lost=("smoke:1:7",))),
    ),
    "nothing was written": (
        failover_checks.test_no_lost_acks,
        replace(GOOD_DRILL, report=replace(GOOD_DRILL.report, acknowledged=0)),
    ),
    "a gap of 1.3 s": (
        failover_checks.test_gap,
        replace(GOOD_DRILL, report=replace(GOOD_DRILL.report, longest_gap_ms=1300.0)),
    ),
    "two elections": (failover_checks.test_epoch, replace(GOOD_DRILL, epochs=frozenset({6}))),
    "no election": (failover_checks.test_epoch, replace(GOOD_DRILL, epochs=frozenset({4}))),
    "Sentinels at two epochs": (failover_checks.test_epoch, replace(GOOD_DRILL, epochs=frozenset({4, 5}))),
    "the old master stays away": (failover_checks.test_old_master, replace(GOOD_DRILL, old_master_back_s=None)),
    "the old master is late": (failover_checks.test_old_master, replace(GOOD_DRILL, old_master_back_s=10.1)),
    "no agreement": (failover_checks.test_agreement, replace(GOOD_DRILL, agreed_s=None, findings=("it is late",))),
}


@pytest.mark.parametrize(("check", "drill"), FAILOVER_TEETH.values(), ids=FAILOVER_TEETH)
def test_a_failover_that_went_wrong_fails(check: Callable[[Drill, Result], None], drill: Drill) -> None:
    with pytest.raises(AssertionError):
        check(drill, result_for(check))


@pytest.mark.parametrize("check", {check for check, _ in FAILOVER_TEETH.values()}, ids=lambda check: spec_of(check).id)
def test_a_failover_that_went_well_passes(check: Callable[[Drill, Result], None]) -> None:
    result = result_for(check)
    check(GOOD_DRILL, result)
    assert result.measured is not None


class Forgetful(OperatorContract):
    """A contract whose text form is not what it says."""

    def to_env(self) -> dict[str, str]:
        return super().to_env() | {"REDIS_HOST": "elsewhere"}


def test_a_contract_that_changes_in_its_text_form_fails() -> None:
    check = contract_checks.test_round_trip
    check(CONTRACT, result_for(check))
    with pytest.raises(NotAsClaimed, match="host"):
        check(Forgetful.model_validate(dict(CONTRACT)), result_for(check))


def test_every_check_has_been_seen_red() -> None:
    live = {check for _, red in BREAKS.values() for check in red.split()}
    unit = {spec_of(check).id for check, _ in FAILOVER_TEETH.values()} | {"contract.round-trip"}
    assert live | unit == {spec.id for spec in catalogue()}


def result_for(check: Any) -> Result:
    return Result(spec_of(check).threshold(Question(CONTRACT, max_gap_ms=1200)))
