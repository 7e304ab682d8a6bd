"""A whole run on a real deployment: quick, tidy, without a password anywhere; and one that is cut short."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path

import pytest

from infra.contract import Endpoint, NodeAddress
from smoke_tests.catalogue import catalogue
from smoke_tests.verdict import Verdict
from tests.deployment import PASSWORDS, Deployment, deployed
from tests.smoke.runner import Outcome, Runner
from tests.smoke.samples import CONTRACT
from tests.unit.samples import MARKER
from tests.waiting import await_that

BUDGET_S = 20.0


def texts(outcome: Outcome) -> str:
    """Everything that a run has put anywhere."""
    files = [path.read_text() for path in outcome.folder.rglob("*") if path.is_file()]
    return "\n".join([outcome.output, *files])


@pytest.mark.timed
@pytest.mark.deployment
def test_a_whole_run_passes_in_time_and_leaves_nothing_behind(deployment: Deployment, runner: Runner) -> None:
    keys_before = deployment.ask(deployment.master(), "DBSIZE")
    outcome = runner.smoke(deployment.contract)
    print(outcome.output)
    assert outcome.code == 0, outcome.output
    assert outcome.evidence is not None
    assert outcome.verdicts() == {spec.id: Verdict.PASS for spec in catalogue()}
    assert outcome.evidence.not_run == ()
    assert outcome.evidence.not_applicable == ()
    assert outcome.evidence.seconds <= BUDGET_S
    assert deployment.ask(deployment.master(), "DBSIZE") == keys_before
    everything = texts(outcome)
    assert not [user for user, password in PASSWORDS.items() if password in everything]
    for samples in filter(None, (check.samples for check in outcome.evidence.checks)):
        content = (outcome.folder / "test" / samples.path).read_bytes()
        assert samples.sha256 == hashlib.sha256(content).hexdigest()
        assert content.splitlines()


@pytest.mark.deployment
def test_an_election_that_nobody_won_is_no_second_failover(deployment: Deployment, runner: Runner) -> None:
    """It had an epoch, too: the check was red in the next run."""
    master, replicas = deployment.master(), deployment.replicas()
    heard = [deployment.hear(name) for name in deployment.sentinels]
    for replica in replicas:
        deployment.ask(replica, "CONFIG", "SET", "replica-priority", 0)
    deployment.kill(master)
    await_that(lambda: any("-failover-abort-no-good-slave" in said() for said in heard), 60, "NOGOODSLAVE")
    deployment.start(master)
    await_that(lambda: deployment.master() == master, 60, "the master again")
    for replica in replicas:
        deployment.ask(replica, "CONFIG", "SET", "replica-priority", 100)
    deployment.await_converged()
    seen = deployment.observe().sentinels
    print({view.name: (view.config_epoch, view.voted_epoch) for view in seen})
    assert max(view.voted_epoch for view in seen) > max(view.config_epoch for view in seen)
    outcome = runner.smoke(deployment.contract, "--only", "failover.epoch")
    assert outcome.code == 0, outcome.output


@pytest.mark.deployment
def test_options_for_pytest_in_the_environment_leave_no_check_out(
    deployment: Deployment, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k nothing --no-such-option")
    outcome = runner.smoke(deployment.contract, "--only", "contract.round-trip")
    assert outcome.code == 0, outcome.output
    assert outcome.verdicts() == {"contract.round-trip": Verdict.PASS}


@pytest.mark.deployment
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_cut_short_leaves_evidence_of_what_it_did(
    how: signal.Signals, deployment: Deployment, runner: Runner
) -> None:
    process = runner.begin(deployment.contract)
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if "persistence.written" in line:  # what comes next is the failover, which takes seconds
            break
    process.send_signal(how)
    outcome = runner.end(process, read)
    assert outcome.code == 3, outcome.output
    assert outcome.evidence is not None
    assert outcome.evidence.interrupted
    assert outcome.evidence.verdict is Verdict.INCONCLUSIVE
    assert set(outcome.verdicts().values()) == {Verdict.PASS}
    assert "failover.gap" in outcome.evidence.not_run
    assert "Traceback" not in outcome.output


# Ctrl-C in the one place where Python drops the exception.
IN_A_FINALIZER = """
import os, signal, sys
from smoke_tests.__main__ import main
from smoke_tests.display import Display

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

ended = Display.ended
def spoil(self, check):
    ended(self, check)
    if check.check == "quorum.value":
        Finalized()

Display.ended = spoil
sys.exit(main())
"""


@pytest.mark.deployment
def test_an_interrupt_that_python_drops_ends_the_run_all_the_same(deployment: Deployment, runner: Runner) -> None:
    outcome = runner.end(runner.begin(deployment.contract, program=IN_A_FINALIZER))
    assert outcome.code == 3, outcome.output
    assert outcome.evidence is not None
    assert outcome.evidence.interrupted
    assert "quorum.value" in outcome.verdicts()
    assert "quorum.peers" in outcome.evidence.not_run


@pytest.mark.deployment
def test_standalone_checks_pass_and_the_rest_is_not_applicable(tmp_path: Path, runner: Runner) -> None:
    for deployment in deployed(tmp_path / "nodes", mode="standalone"):
        outcome = runner.smoke(deployment.contract)
        assert outcome.code == 0, outcome.output
        assert outcome.evidence is not None
        sentinel_only = {spec.id for spec in catalogue() if spec.sentinel_only}
        assert {each.check for each in outcome.evidence.not_applicable} == sentinel_only
        assert outcome.verdicts() == {spec.id: Verdict.PASS for spec in catalogue() if spec.id not in sentinel_only}
        nothing = runner.smoke(deployment.contract, "--only", "quorum.peers,failover.gap")
        assert nothing.code == 3, nothing.output


def test_a_check_that_breaks_is_an_error_and_tells_no_password(runner: Runner) -> None:
    program = """
import sys
from smoke_tests.__main__ import main
from smoke_tests.checks import test_contract

def defect(env):
    raise ValueError(f"what a traceback may show: {env}")

test_contract.render_env = defect
sys.exit(main())
"""
    process = runner.begin(CONTRACT, "--only", "contract.round-trip", program=program)
    outcome = runner.end(process)
    assert outcome.code == 2
    assert outcome.verdicts() == {"contract.round-trip": Verdict.ERROR}
    assert outcome.output.count("ValueError: what a traceback may show") == 1
    assert "***" in outcome.output
    assert MARKER not in texts(outcome)


def test_a_deployment_that_is_not_there_fails(runner: Runner) -> None:
    nobody = Endpoint("127.0.0.1", 1)
    update = {"sentinel_enabled": False, "host": nobody.host, "port": nobody.port, "sentinels": ()}
    contract = CONTRACT.model_copy(update=update | {"nodes": (NodeAddress("data-0", nobody),)})
    gone = "contract.standalone-path,auth.no-password,auth.default-off,persistence.aof"
    outcome = runner.smoke(contract, "--only", gone)
    assert outcome.code == 1, outcome.output
    assert outcome.verdicts() == dict.fromkeys(gone.split(","), Verdict.FAIL)
