"""Who signs a rollout, who approves it, and what is refused when nobody can be held to it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # comes with pulumi, without types
from securesystemslib.signer import CryptoSigner
from typer.testing import CliRunner

from rollout.cli import make_app
from rollout.errors import RolloutError
from rollout.journal import Journal
from rollout.key_files import read_public
from rollout.keys import public_pem
from rollout.plan import PlanError, read
from rollout.report import html
from rollout.signing import VARIABLE, from_environment, signer
from rollout.store import FolderStore
from tests.rollout.fakes import PLAN, UNATTENDED, FolderStacks
from tests.rollout.signers import BEN, CI, CLEO, SIGNED, STRANGER, environment, listed, signed

pytestmark = pytest.mark.usefixtures("no_power_cut")


class Desk:
    """A journal, and commands on it."""

    def __init__(self, home: Path, plan: str) -> None:
        self.home, self.plan = home, plan
        (home / "plan.yaml").write_text(plan)

    def call(self, *arguments: str, key: CryptoSigner | None = CI, **more: str | None) -> tuple[int, str]:
        where = {"ROLLOUT_PLAN": str(self.home / "plan.yaml"), "ROLLOUT_JOURNAL": str(self.home / "journal")}
        ours = {"ROLLOUT_ACTOR": "ann", "GITHUB_RUN_ID": None, "CI_PIPELINE_ID": None, "BUILD_ID": None}
        app = make_app(lambda *_: FolderStacks(self.home / "stacks", plan=self.plan))
        done = CliRunner().invoke(app, arguments, env=where | ours | environment(key) | more)
        assert not done.exception or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, " ".join(done.output.split())

    def approve(self, name: str, key: CryptoSigner | None, **more: str) -> tuple[int, str]:
        return self.call("approve", "--name", name, "--reason", "read", key=key, **{"ROLLOUT_ACTOR": name} | more)

    def waiting(self) -> Desk:
        """At the canary's approval."""
        assert self.call("start", "--release", "r1")[0] == 0
        assert self.call("advance")[0] == 20
        return self

    @property
    def entries(self) -> int:
        return len(Journal(FolderStore(self.home / "journal")).entries)


# Production and a journal that nobody signed.


def test_a_rollout_does_not_begin_when_nobody_could_believe_its_end(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PLAN.replace("signing: none\n", ""))
    code, said = desk.call("start", "--release", "r1")
    assert (code, desk.entries) == (1, 0)
    assert "rollout.yaml lists no key" in said and "fix: rollout key ci" in said and "`signing: none`" in said


def test_production_is_not_touched_by_a_rollout_that_an_older_version_began_unsigned(tmp_path: Path) -> None:
    plan = UNATTENDED.replace("signing: none\n", "")
    desk, told = Desk(tmp_path, plan), read(plan)
    begun = {"release": "r1", "plan": told.to_json(), "plan_hash": told.hash, "by": "ann"}
    Journal(FolderStore(tmp_path / "journal")).append("1", "started", begun)
    code, said = desk.call("advance")
    assert code == 40 and "canary/01-preflight: not begun: rollout.yaml lists no key" in said, said
    assert not [each for each in FolderStacks(tmp_path / "stacks").actions if "staging" not in each]


def test_who_wants_no_signature_gets_a_report_that_says_so_in_its_first_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "plots", lambda *_: {})
    desk = Desk(tmp_path, UNATTENDED)
    (tmp_path / "ci.pub.pem").write_text(public_pem(CI))
    desk.call("start", "--release", "r1", key=None)
    assert desk.call("advance", key=None)[0] == 0
    desk.call("report", "--out", str(tmp_path / "report"), key=None)
    first = (tmp_path / "report" / "report.md").read_text().splitlines()[0]
    assert first.startswith("**Not signed: rollout.yaml says `signing: none`.**")
    assert "Not signed: rollout.yaml says" in (tmp_path / "report" / "report.html").read_text().partition("<h1>")[0]
    report = str(tmp_path / "report" / "report.json")
    assert desk.call("verify", report, key=None)[0] == 0
    code, said = desk.call("verify", report, "--key", str(tmp_path / "ci.pub.pem"), key=None)
    assert (code, "the report's journal is not signed: rollout.yaml says `signing: none`" in said) == (30, True), said


def test_a_key_that_is_there_signs_nothing_when_the_plan_wants_none(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PLAN).waiting()
    assert not any(each.is_signed for each in Journal(FolderStore(desk.home / "journal")).entries)


def test_an_old_unsigned_journal_is_gone_on_with_and_signed_from_then_on(tmp_path: Path) -> None:
    old = Desk(tmp_path, UNATTENDED)
    old.call("start", "--release", "r1", key=None)
    assert old.call("advance", key=None)[0] == 0
    before = old.entries
    new = Desk(tmp_path, signed(UNATTENDED))
    (tmp_path / "stacks" / "trees" / "r2").mkdir()
    (tmp_path / "stacks" / "trees" / "r2" / "rollout.yaml").write_text(new.plan)
    (tmp_path / "stacks" / "trees" / "r2" / "setting").write_text("r2")
    assert new.call("start", "--release", "r2")[0] == 0
    entries = Journal(FolderStore(tmp_path / "journal")).entries
    assert [each.is_signed for each in entries] == [False] * before + [True] * (len(entries) - before)
    code, said = new.call("pause", "--reason", "x", key=None)
    assert (code, "is not signed, though entry" in said) == (1, True), said


def test_a_signed_journal_does_not_go_back_to_none(tmp_path: Path) -> None:
    desk = Desk(tmp_path, signed(UNATTENDED))
    desk.call("start", "--release", "r1")
    desk.call("abort", "--reason", "x")
    again = Desk(tmp_path, UNATTENDED)
    (tmp_path / "stacks" / "trees" / "r1" / "rollout.yaml").write_text(UNATTENDED)
    code, said = again.call("start", "--release", "r1")
    assert (code, "entry 1 is signed by the key" in said, "expected none" in said) == (1, True, True), said


# Whose key.


@pytest.mark.parametrize("command", [["advance"], ["pause", "--reason", "x"], ["abort", "--reason", "x"]])
@pytest.mark.parametrize(("key", "said"), [(None, "is not signed, though"), (STRANGER, "expected ci"), (BEN, "ci")])
def test_who_has_no_key_of_the_plan_writes_nothing(
    command: list[str], key: CryptoSigner | None, said: str, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, SIGNED)
    desk.call("start", "--release", "r1")
    before = desk.entries
    code, told = desk.call(*command, key=key)
    assert (code, said in told, f"fix: name a key that rollout.yaml lists in ${VARIABLE}" in told) == (1, True, True)
    assert (desk.entries, FolderStacks(tmp_path / "stacks").actions) == (before, [])
    assert desk.call("status", key=None)[0] == 0


def test_a_key_may_be_a_file_a_text_or_a_uri_of_the_library(tmp_path: Path) -> None:
    file, keys = tmp_path / "ci.pem", {"ci": CI.public_key}
    file.write_bytes(CI.private_bytes)
    for given in (str(file), CI.private_bytes.decode(), f"ci=file2:{file}"):
        assert signer(given, keys).public_key.keyid == CI.public_key.keyid


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("/nowhere/key.pem", "FileNotFoundError"),
        ("-----BEGIN PRIVATE KEY-----\nsecret", "no private key as PEM"),
        (public_pem(CI), "no private key as PEM"),
        ("ben=awskms:alias/x", "names the key ben, rollout.yaml lists ci"),
        ("ci=odd:x", "ValueError: Unsupported private key scheme odd"),
        ("ci=file2:/nowhere", "FileNotFoundError"),
        ("ci=awskms:alias/x", "cannot be used: "),
    ],
)
def test_a_key_that_cannot_be_used_is_said_and_not_shown(given: str, said: str) -> None:
    with pytest.raises(RolloutError, match="\n  fix: ") as found:
        signer(given, {"ci": CI.public_key})
    assert said in str(found.value) and "secret" not in str(found.value) and "BEGIN" not in str(found.value)


def test_no_command_that_a_rollout_starts_inherits_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, CI.private_bytes.decode())
    signing = from_environment()
    assert VARIABLE not in os.environ
    found = signing({"ci": CI.public_key})
    assert found is not None and found.public_key.keyid == CI.public_key.keyid
    assert from_environment()({}) is None


# Whose approval.


def test_an_approver_signs_with_their_own_key(tmp_path: Path) -> None:
    desk = Desk(tmp_path, SIGNED).waiting()
    assert desk.approve("Ben", BEN)[0] == 0
    assert desk.call("advance")[0] == 20  # at production's approval


@pytest.mark.parametrize(
    ("name", "key", "said"),
    [
        ("ben", CLEO, "the approval is ben's to sign"),
        ("ben", CI, "the approval is ben's to sign"),
        ("ben", STRANGER, "the approval is ben's to sign"),
        ("ben", None, "is not signed, though"),
        ("dan", BEN, "approves as dan, who has no key; those who have: ben, cleo"),
        ("ann", CI, "ann started this rollout"),
    ],
)
def test_an_approval_by_anothers_key_is_not_written(
    name: str, key: CryptoSigner | None, said: str, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, SIGNED).waiting()
    before = desk.entries
    code, told = desk.approve(name, key)
    assert (code, said in told, desk.entries) == (1, True, before), told


def test_who_started_with_their_key_cannot_approve_with_it_whatever_name_they_gave(tmp_path: Path) -> None:
    plan = PLAN.replace("signing: none\n", f"signing:{listed(ci=CI, ben=BEN)}approvals:{listed(ben=BEN)}")
    desk = Desk(tmp_path, plan)
    assert desk.call("start", "--release", "r1", key=BEN)[0] == 0
    assert desk.call("advance")[0] == 20
    code, said = desk.approve("ben", BEN)
    assert (code, "the key that signed the start" in said) == (1, True), said


def test_without_approvers_keys_cis_own_approval_counts_with_its_run_and_actor(tmp_path: Path) -> None:
    desk = Desk(tmp_path, signed()).waiting()
    code, said = desk.approve("ben", CI)
    assert (code, "approves outside of CI, and the plan lists no approver's key" in said) == (1, True), said
    assert desk.approve("ben", CI, GITHUB_RUN_ID="4711")[0] == 0
    data = Journal(FolderStore(tmp_path / "journal")).entries[-1].data
    assert (data["by"], data["ci_run"]) == ("ben", "4711")
    assert desk.call("advance")[0] == 20


# The plan, and the command that makes keys.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"signing": "yes"}, "expected `none`, or `keys`"),
        ({"signing": None}, "expected `none`, or `keys`"),
        ({"signing": {"none": True, "keys": {"ci": public_pem(CI)}}}, "`none` or `keys`, not both"),
        ({"signing": {"keys": {"ci": "x"}}}, "expected a public key as PEM"),
        ({"signing": {"keys": {"../ci": public_pem(CI)}}}, "signing.keys.../ci"),
        ({"signing": {"keys": {"ci": CI.private_bytes.decode()}}}, "found a private key"),
        ({"approvals": {"keys": {"ben": public_pem(BEN)}}}, "signing.keys beside approvals.keys"),
        (
            {"signing": {"keys": {"ci": public_pem(CI)}}, "approvals": {"keys": dict.fromkeys("ab", public_pem(BEN))}},
            "a key of their own for each approver",
        ),
        (
            {"signing": {"keys": {"ben": public_pem(CI)}}, "approvals": {"keys": {"ben": public_pem(BEN)}}},
            "one key for one name",
        ),
    ],
)
def test_a_mistake_in_the_plans_keys_is_told_in_words(changes: dict[str, object], said: str) -> None:
    content = yaml.safe_load(PLAN) | changes
    with pytest.raises(PlanError) as found:
        read(yaml.safe_dump(content))
    assert said in str(found.value) and "fix: " in str(found.value)
    assert CI.private_bytes.decode().splitlines()[1][:20] not in str(found.value)


def test_a_pair_of_keys_is_made_once_and_its_private_part_is_the_owners(tmp_path: Path) -> None:
    app = make_app(lambda *_: FolderStacks(tmp_path))
    done = CliRunner().invoke(app, ["key", "ci", "--out", str(tmp_path / "keys")])
    private, public = (tmp_path / "keys" / name for name in ("ci.pem", "ci.pub.pem"))
    assert (done.exit_code, stat.S_IMODE(private.stat().st_mode)) == (0, 0o600)
    plan = read(PLAN.replace("signing: none", f"signing:\n{done.output}"))
    assert (
        plan.signing.public_keys["ci"].keyid == read_public(public).keyid == signer(str(private), {}).public_key.keyid
    )
    assert private.read_text().splitlines()[1] not in done.output
    kept = private.read_bytes()
    for name, said in (("ci", "exists; no key was made"), ("../ci", "expected letters, digits")):
        again = CliRunner().invoke(app, ["key", name, "--out", str(tmp_path / "keys")])
        assert (again.exit_code, said in again.output, "fix: " in again.output) == (1, True, True)
    assert private.read_bytes() == kept


def test_the_journal_is_json_lines_that_other_tools_read(tmp_path: Path) -> None:
    desk = Desk(tmp_path, SIGNED).waiting()
    for file in sorted((desk.home / "journal" / "journal").iterdir()):
        assert set(json.loads(file.read_bytes())) == {"payload", "payloadType", "signatures"}
