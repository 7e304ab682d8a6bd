"""A signed journal and its report, forged by who can write there and has no key: each is refused, by its reason.

Each is tried twice: in the journal's folder, which the next command reads, and in a report's journal, which a stranger
verifies with the public key and nothing but the report's folder.
"""

from __future__ import annotations

import json
import shutil
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner
from typer.testing import CliRunner

from rollout import lock
from rollout.attestation import opened, sealed, subject_of
from rollout.cli import make_app
from rollout.entries import NO_PREDECESSOR, Entry, canonical, digest
from rollout.evidence import seal
from rollout.keys import public_pem
from rollout.report import html
from rollout.report.inputs import Manifest
from rollout.report.write import write
from tests.rollout.fakes import PLAN, FolderStacks
from tests.rollout.report_sample import junit
from tests.rollout.signers import BEN, CI, CLEO, SIGNED, STRANGER, environment, signed

pytestmark = pytest.mark.usefixtures("no_power_cut")

Lines = list[bytes]


class Desk:
    """A rollout's signed journal, and its report in another folder."""

    def __init__(self, home: Path, plan: str = SIGNED) -> None:
        self.home, self.plan = home, plan
        self.report = home / "elsewhere" / "report"
        (home / "plan.yaml").write_text(plan)
        for name, signer in (("ci", CI), ("stranger", STRANGER)):
            (home / f"{name}.pub.pem").write_text(public_pem(signer))

    def call(self, *arguments: str, signer: CryptoSigner | None = CI, actor: str = "ann") -> tuple[int, str]:
        where = {"ROLLOUT_PLAN": str(self.home / "plan.yaml"), "ROLLOUT_JOURNAL": str(self.home / "journal")}
        theirs = where | environment(signer) | {"ROLLOUT_ACTOR": actor}
        app = make_app(lambda *_: FolderStacks(self.home / "stacks", plan=self.plan))
        done = CliRunner().invoke(app, arguments, env=theirs)
        assert not done.exception or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, " ".join(done.output.split())

    def verify(self, *more: str, key: str = "ci") -> tuple[int, str]:
        """As a stranger: no key of ours, another folder."""
        public = str(self.home / f"{key}.pub.pem")
        return self.call("verify", str(self.report / "report.json"), "--key", public, *more, signer=None)

    @property
    def files(self) -> list[Path]:
        return sorted((self.home / "journal" / "journal").glob("*.json"))

    @property
    def told(self) -> str:
        """The head that the report was made of."""
        return str(json.loads((self.report / "journal" / "facts.json").read_bytes())["journal's head"])

    def forge(self, change: Callable[[Lines], Lines]) -> None:
        """The journal's folder."""
        lines = change([file.read_bytes() for file in self.files])
        for file in self.files:
            file.unlink()
        for number, line in enumerate(lines, start=1):
            (self.home / "journal" / "journal" / f"{number:06d}.json").write_bytes(line)

    def forge_report(self, change: Callable[[Lines], Lines]) -> None:
        """The journal in the report, and everything that follows from it."""
        file = self.report / "journal" / "entries.jsonl"
        self.reseal(file, b"".join(change(file.read_bytes().splitlines(keepends=True))))

    def reseal(self, file: Path, content: bytes) -> None:
        """A raw file of the report, and everything that follows from it."""
        file.write_bytes(content)
        manifest = Manifest.model_validate(json.loads((self.report / "report.json").read_bytes())["manifest"])
        raw = seal(self.report, file)
        inputs = [
            each.model_copy(update={"raw": raw}) if each.raw.path == raw.path else each for each in manifest.inputs
        ]
        write(manifest.model_copy(update={"inputs": tuple(inputs)}), self.report)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "plots", lambda *_: {})


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rollout that ann started and ben approved, signed by ci and ben; with its report."""
    desk = Desk(tmp_path_factory.mktemp("honest"))
    assert desk.call("start", "--release", "r1")[0] == 0
    for _ in ("canary", "prod"):
        assert desk.call("advance")[0] == 20
        assert desk.call("approve", "--name", "ben", "--reason", "read", signer=BEN, actor="ben")[0] == 0
    assert desk.call("advance")[0] == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "plots", lambda *_: {})
        (desk.home / "unit.xml").write_text(junit(200, release="r1", ran=datetime.now(UTC)))
        tests = f"unit={desk.home / 'unit.xml'}"
        assert desk.call("report", "--out", str(desk.report), "--junit", tests)[0] == 40  # made-up stacks show little
    return desk.home


@pytest.fixture
def desk(honest: Path, tmp_path: Path) -> Desk:
    return Desk(Path(shutil.copytree(honest, tmp_path / "home")))


def test_what_was_not_forged_holds_by_the_public_key_alone(desk: Desk, tmp_path: Path) -> None:
    head = desk.told
    desk.report = Path(shutil.move(desk.report, tmp_path / "another place"))
    shutil.rmtree(desk.home / "journal")
    assert desk.verify("--head", head) == (0, "the report is what its raw files say")
    assert desk.call("verify", str(desk.report / "report.json"), signer=None)[0] == 0


def test_every_entry_is_about_the_release_and_no_private_key_is_anywhere(desk: Desk) -> None:
    said = desk.call("status")[1]
    for file in desk.files:
        assert told(file.read_bytes())["subject"] == [{"digest": {"gitCommit": "r1"}, "name": "release"}]
    secrets = [each.private_bytes.splitlines()[1] for each in (CI, BEN)]
    everything = [said.encode(), *(file.read_bytes() for file in desk.home.rglob("*") if file.is_file())]
    assert not [1 for content in everything for secret in secrets if secret in content]


def test_the_report_does_not_say_that_it_is_unsigned(desk: Desk) -> None:
    assert (desk.report / "report.md").read_text().startswith("# Release gate report")
    assert "Not signed" not in (desk.report / "report.html").read_text()


# Forgeries of entries. What has no key keeps the signatures that there are, or makes its own.


def told(line: bytes) -> dict[str, Any]:
    return dict(json.loads(b64decode(json.loads(line)["payload"])))


def chained(lines: Lines, change: Callable[[list[dict[str, Any]]], None]) -> Lines:
    """Statements changed and chained anew, under the signatures that they had."""
    statements = [told(line) for line in lines]
    change(statements)
    made, previous = [], NO_PREDECESSOR
    for line, said in zip(lines, statements, strict=True):
        said["predicate"]["entry"]["previous"] = previous
        envelope = json.loads(line) | {"payload": b64encode(canonical(said)).decode()}
        made.append(canonical(envelope) + b"\n")
        previous = digest(made[-1])
    return made


def resigned(lines: Lines, signer_of: Callable[[Entry], CryptoSigner], **data: Any) -> Lines:
    """Every entry signed anew and chained; `data` goes into each approval."""
    made, previous = [], NO_PREDECESSOR
    for line in lines:
        entry = opened(line).model_copy(update={"previous": previous})
        entry = entry.model_copy(update={"data": entry.data | data}) if entry.kind == "approved" else entry
        made.append(sealed(entry, subject_of(entry, "r1"), signer_of(entry)).content)
        previous = digest(made[-1])
    return made


def without_signatures(lines: Lines) -> Lines:
    """Without any envelope."""
    made, previous = [], NO_PREDECESSOR
    for line in lines:
        made.append(Entry(**opened(line).model_dump() | {"previous": previous}).content)
        previous = digest(made[-1])
    return made


def an_entry_altered_and_chained_anew(lines: Lines) -> Lines:
    def change(statements: list[dict[str, Any]]) -> None:
        entry = next(each["predicate"]["entry"] for each in statements if each["predicate"]["entry"]["kind"] == "done")
        entry["data"]["reason"] = "fine after all"

    return chained(lines, change)


def another_commit_as_subject(lines: Lines) -> Lines:
    def change(statements: list[dict[str, Any]]) -> None:
        statements[4]["subject"][0]["digest"] = {"gitCommit": "r9"}
        for each in statements[4]["predicate"].get("configuration", ()):
            each["digest"] = {"gitCommit": "r9"}

    return chained(lines, change)


def everything_signed_by_a_stranger(lines: Lines) -> Lines:
    return resigned(lines, lambda _entry: STRANGER)


def _last(lines: Lines, **fields: Any) -> Lines:
    """The last entry's envelope changed: no later entry's chain tells."""
    return [*lines[:-1], canonical(json.loads(lines[-1]) | fields) + b"\n"]


def _signature(line: bytes, signer: CryptoSigner) -> dict[str, str]:
    made = signer.sign(Envelope.from_dict(json.loads(line)).pae())
    return {"keyid": made.keyid, "sig": b64encode(bytes.fromhex(made.signature)).decode()}


def a_stranger_under_a_known_keys_name(lines: Lines) -> Lines:
    return _last(lines, signatures=[_signature(lines[-1], STRANGER) | {"keyid": CI.public_key.keyid}])


def the_signature_of_another_entry(lines: Lines) -> Lines:
    return _last(lines, signatures=json.loads(lines[2])["signatures"])


def another_payload_type(lines: Lines) -> Lines:
    return _last(lines, payloadType="text/plain")


def no_signature(lines: Lines) -> Lines:
    return _last(lines, signatures=[])


def an_empty_signature(lines: Lines) -> Lines:
    return _last(lines, signatures=[{"keyid": CI.public_key.keyid, "sig": ""}])


def a_second_signature(lines: Lines) -> Lines:
    (ours,) = json.loads(lines[-1])["signatures"]
    return _last(lines, signatures=[ours, _signature(lines[-1], STRANGER)])


def something_beside_the_signature(lines: Lines) -> Lines:
    (ours,) = json.loads(lines[-1])["signatures"]
    return _last(lines, signatures=[ours | {"note": "trusted"}])


def _more(lines: Lines, **fields: Any) -> Entry:
    """One more entry that follows."""
    last = opened(lines[-1])
    return Entry(**last.model_dump() | {"number": last.number + 1, "previous": last.head} | fields)


def an_unsigned_entry_at_the_end(lines: Lines) -> Lines:
    return [*lines, _more(lines, kind="resumed").content]


def a_strangers_entry_at_the_end(lines: Lines) -> Lines:
    more = _more(lines, kind="resumed")
    return [*lines, sealed(more, subject_of(more, "r1"), STRANGER).content]


def a_release_let_in_by_a_stranger(lines: Lines) -> Lines:
    more = _more(lines, kind="released", run="", data={"release": "r9"})
    return [*lines, sealed(more, subject_of(more, "r9"), STRANGER).content]


def an_approval_signed_by_another_approver(lines: Lines) -> Lines:
    """CI's key is in it, too: even so it cannot approve as ben."""
    return resigned(lines, lambda entry: CLEO if entry.kind == "approved" else CI)


def an_approval_signed_by_ci(lines: Lines) -> Lines:
    return resigned(lines, lambda _entry: CI)


def an_approval_of_who_has_no_key(lines: Lines) -> Lines:
    return resigned(lines, lambda entry: BEN if entry.kind == "approved" else CI, name="the board")


BY_CI = "has a signature by {ci} that is of something else"
ENTRIES: dict[Callable[[Lines], Lines], str] = {
    an_entry_altered_and_chained_anew: BY_CI,
    another_commit_as_subject: "entry 5 is attested for gitCommit r9, and belongs to gitCommit r1",
    everything_signed_by_a_stranger: "is signed by the key {stranger}, expected {ci}",
    a_stranger_under_a_known_keys_name: BY_CI,
    the_signature_of_another_entry: BY_CI,
    another_payload_type: "is in an envelope of 'text/plain'",
    no_signature: "has 0 signatures, expected 1",
    an_empty_signature: BY_CI,
    a_second_signature: "has 2 signatures, expected 1",
    something_beside_the_signature: "is in an envelope that no rollout spells so",
    an_unsigned_entry_at_the_end: "is not signed, though entry",
    a_strangers_entry_at_the_end: "is signed by the key {stranger}, expected {ci}",
    a_release_let_in_by_a_stranger: "is signed by the key {stranger}, expected {ci}",
    without_signatures: "entry 1 is not signed, though its rollout's plan lists keys",
    an_approval_signed_by_another_approver: "expected ben: the approval is ben's to sign",
    an_approval_signed_by_ci: "expected ben: the approval is ben's to sign",
    an_approval_of_who_has_no_key: "approves as the board, who has no key; those who have: ben, cleo",
}


@pytest.mark.parametrize("forge", ENTRIES, ids=lambda forge: forge.__name__)
def test_a_forged_journal_is_not_gone_on_with(forge: Callable[[Lines], Lines], desk: Desk) -> None:
    desk.forge(forge)
    before = [file.read_bytes() for file in desk.files]
    for command in (["advance"], ["rollback", "--reason", "x"], ["report", "--out", str(desk.home / "another")]):
        code, said = desk.call(*command)
        expected = ENTRIES[forge].format(ci="ci", stranger=STRANGER.public_key.keyid[:16])
        assert (code, expected in said) == (1, True), said
    assert [file.read_bytes() for file in desk.files] == before


# Whatever reads the journal and does something, a message to people included.
COMMANDS = {
    "pause": ["pause", "--reason", "x"],
    "resume": ["resume"],
    "abort": ["abort", "--reason", "x"],
    "approve": ["approve", "--name", "ben", "--reason", "x"],
    "release": ["release", "r1", "--reason", "x"],
    "unlock": ["unlock", "--holder", "gone"],
    "verify": ["verify", "REPORT", "--journal", "JOURNAL"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_does_anything_with_a_forged_journal(command: str, desk: Desk) -> None:
    desk.forge(everything_signed_by_a_stranger)
    if command == "unlock":
        gone = lock.myself("rollout advance").model_copy(update={"id": "gone", "boot_id": "another"})
        (desk.home / "journal" / lock.NAME).write_text(gone.model_dump_json())
    places = {"REPORT": str(desk.report / "report.json"), "JOURNAL": str(desk.home / "journal")}
    before = {file: file.read_bytes() for file in (desk.home / "journal").rglob("*.json")}
    code, said = desk.call(*(places.get(word, word) for word in COMMANDS[command]))
    assert (code, "cannot be trusted: entry 1 is signed by the key" in said) == (1, True), said
    assert {file: file.read_bytes() for file in (desk.home / "journal").rglob("*.json")} == before


def test_a_report_of_a_forged_journal_looks_at_no_stack(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(FolderStacks, "passwords", lambda _self, stack: asked.append(stack))
    desk.forge(everything_signed_by_a_stranger)
    assert desk.call("report", "--out", str(desk.home / "another"))[0] == 1
    assert not asked and not (desk.home / "another").exists()


def test_status_says_in_its_first_line_that_the_signatures_hold(desk: Desk) -> None:
    code, said = desk.call("status", signer=None)
    begins = f"journal: the signatures hold, by ci {CI.public_key.keyid[:16]} rollout "
    assert (code, said.startswith(begins)) == (0, True), said


@pytest.mark.parametrize("forge", ENTRIES, ids=lambda forge: forge.__name__)
def test_status_says_in_its_first_line_that_they_do_not(forge: Callable[[Lines], Lines], desk: Desk) -> None:
    desk.forge(forge)
    code, said = desk.call("status", signer=None)
    expected = ENTRIES[forge].format(ci="ci", stranger=STRANGER.public_key.keyid[:16])
    first = said.partition(" fix: ")[0]
    assert (code, expected in first, "Traceback" in said) == (1, True, False), said


def test_status_knows_a_journal_that_was_made_anew_without_signatures(desk: Desk) -> None:
    """It lists no key itself: only the commit's plan tells."""
    bare = Desk(desk.home, PLAN)
    shutil.rmtree(desk.home / "journal")
    (desk.home / "stacks" / "trees" / "r1" / "rollout.yaml").write_text(PLAN)
    bare.call("start", "--release", "r1", signer=None)
    (desk.home / "stacks" / "trees" / "r1" / "rollout.yaml").write_text(SIGNED)
    for command in (["status"], ["report", "--out", str(desk.home / "another")]):
        code, said = desk.call(*command)
        assert (code, "is not that of commit r1" in said.partition(" fix: ")[0]) == (1, True), said


@pytest.mark.parametrize("forge", ENTRIES, ids=lambda forge: forge.__name__)
def test_a_report_with_a_forged_journal_does_not_hold(forge: Callable[[Lines], Lines], desk: Desk) -> None:
    desk.forge_report(forge)
    code, said = desk.verify()
    expected = ENTRIES[forge].format(ci=desk.home / "ci.pub.pem", stranger=STRANGER.public_key.keyid[:16])
    assert (code, expected in said) == (30, True), said


# Forgeries of the whole.


def test_a_cut_journal_is_known_by_a_head_that_was_told(desk: Desk) -> None:
    head = desk.told
    desk.forge_report(lambda lines: lines[:-3])
    code, said = desk.verify("--head", head)
    assert (code, f"the journal never had the head {head}" in said) == (30, True), said


def test_a_journal_beside_the_report_is_held_against_the_head_too(desk: Desk) -> None:
    """With --journal the head may be of a later entry than the report has: that journal must have had it."""
    beside = ["--journal", str(desk.home / "journal"), "--plan", str(desk.home / "plan.yaml")]
    later = digest(desk.files[-1].read_bytes())
    assert desk.verify("--head", later, *beside)[0] == 0
    desk.forge(lambda lines: lines[:-1])
    code, said = desk.verify("--head", later, *beside)
    assert (code, f"the journal never had the head {later}" in said) == (30, True), said
    assert f"{desk.report.name}.json is no report that the journal names" in said


def test_who_compares_no_head_is_told_so(desk: Desk) -> None:
    code, said = desk.verify()
    assert (code, "; its journal's head was not compared: --head" in said) == (0, True), said


def test_a_report_of_a_cut_journal_is_not_the_one_that_was_signed(desk: Desk) -> None:
    desk.forge_report(lambda lines: lines[:-3])
    code, said = desk.verify()
    assert (code, "report.attestation.json is of another report" in said) == (30, True), said


def test_a_strangers_journal_is_whole_and_still_a_strangers(desk: Desk) -> None:
    """Made with care, its plan lists the stranger's key: only the key that a reader has tells."""
    plan = signed().replace(public_pem(CI).splitlines()[1], public_pem(STRANGER).splitlines()[1])
    (desk.home / "another").mkdir()
    theirs = Desk(desk.home / "another", plan)
    theirs.call("start", "--release", "r1", signer=STRANGER)
    theirs.call("advance", signer=STRANGER)
    assert theirs.call("report", "--out", str(theirs.report), signer=STRANGER)[0] == 40
    assert theirs.verify(key="stranger")[0] == 0
    code, said = theirs.verify(key="ci")
    assert (code, f"entry 1 is signed by the key {STRANGER.public_key.keyid[:16]}" in said) == (30, True), said


def test_tests_that_were_written_anew(desk: Desk) -> None:
    """They are in no journal: the report's own signature covers them."""
    file = desk.report / "tests" / "unit.xml"
    desk.reseal(file, file.read_bytes())
    assert desk.verify()[0] == 0
    desk.reseal(file, junit(300, release="r1", ran=datetime.now(UTC)).encode())
    code, said = desk.verify()
    assert (code, said.count("FAIL")) == (30, 1), said
    assert "report.attestation.json is of another report" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "nobody signed the report itself"),
        (b"{}", "report.attestation.json is in no envelope"),
        (b"\xff", "report.attestation.json is in no envelope"),
    ],
)
def test_a_report_without_its_attestation(content: bytes | None, said: str, desk: Desk) -> None:
    file = desk.report / "report.attestation.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    code, told = desk.verify()
    assert (code, said in told) == (30, True), told


def test_an_attestation_of_the_report_by_a_stranger(desk: Desk) -> None:
    file = desk.report / "report.attestation.json"
    entry = opened(file.read_bytes())
    file.write_bytes(sealed(entry, subject_of(entry, "r1"), STRANGER).content)
    code, said = desk.verify()
    assert (code, "is signed by the key" in said) == (30, True), said


@pytest.mark.parametrize("key", ["none.pem", "private.pem", "text.pem"])
def test_a_key_that_cannot_be_read_is_said(key: str, desk: Desk) -> None:
    (desk.home / "private.pem").write_bytes(CI.private_bytes)
    (desk.home / "text.pem").write_text("hello")
    code, said = desk.call("verify", str(desk.report / "report.json"), "--key", str(desk.home / key))
    assert (code, "fix: name the file of the public key" in said, "PRIVATE" in said) == (1, True, False), said
