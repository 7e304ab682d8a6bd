"""PURE  Whether each entry of a journal is signed by whoever may write it.

From the first signed entry on, and from the beginning of a rollout whose plan lists keys, every entry is signed: what
came before is vouched for by the chain. An approval is signed by the approver's own key, all else by a key of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping

from securesystemslib.signer import Key, Signer

from rollout.attestation import Subject, attested_subject, key_id, sealed, signed_by, subject_of
from rollout.entries import Entry
from rollout.people import same
from rollout.plan import Plan


class Signatures:
    """Goes through a journal's entries in their order. `keys`: whose signatures count, by name."""

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = keys
        self._owed = ""
        self._plans: dict[str, Plan] = {}
        self._releases: dict[str, str] = {}
        self._starters: dict[str, str] = {}

    def signed(self, entry: Entry, signer: Signer) -> Entry:
        """The next entry with its signature. Raises whatever the signer raises."""
        return sealed(entry, self._subject(entry), signer)

    def problem(self, entry: Entry) -> str:
        """What is wrong with the next entry's signature; '' when nothing is."""
        if not entry.is_signed:
            owed = self._owed or _lists_keys(entry)
            return f"entry {entry.number} is not signed, {owed}" if owed else ""
        if (found := attested_subject(entry)) != (wanted := self._subject(entry)):
            return f"entry {entry.number} is attested for {_told(found)}, and belongs to {_told(wanted)}"
        return self._approval(entry) if entry.kind == "approved" else self._by(entry, self._keys)

    def add(self, entry: Entry) -> None:
        """Take up the entry. Raises ValueError or KeyError for one that no rollout writes."""
        if entry.kind == "started":
            self._plans[entry.run] = Plan.model_validate(entry.data["plan"])
            self._releases[entry.run] = str(entry.data["release"])
            self._starters[entry.run] = key_id(entry) if entry.is_signed else ""
        if entry.is_signed:
            self._owed = f"though entry {entry.number} is"
        elif not self._owed:
            self._owed = _lists_keys(entry)

    def _subject(self, entry: Entry) -> Subject:
        known = self._releases.get(entry.run, "")
        return subject_of(entry, str(entry.data.get("release")) if entry.kind in ("started", "released") else known)

    def _by(self, entry: Entry, keys: Mapping[str, Key]) -> str:
        if signed_by(entry, keys):
            return ""
        claimed = key_id(entry)
        name = next((name for name, key in keys.items() if key.keyid == claimed), "")
        if name:
            return f"entry {entry.number} has a signature by {name} that is of something else"
        return f"entry {entry.number} is signed by the key {claimed[:16]}, expected {' or '.join(keys) or 'none'}"

    def _approval(self, entry: Entry) -> str:
        plan, name = self._plans.get(entry.run), str(entry.data.get("name"))
        listed = plan.approvals.public_keys if plan else {}
        if not listed:
            return self._by_ci(entry)
        own = {each: key for each, key in listed.items() if same(each, name)}
        if not own:
            return f"entry {entry.number} approves as {name}, who has no key; those who have: {', '.join(listed)}"
        if problem := self._by(entry, own):
            return f"{problem}: the approval is {name}'s to sign"
        if plan and not plan.approvals.own and key_id(entry) == self._starters.get(entry.run):
            return f"entry {entry.number} approves with the key that signed the start, and who starts cannot approve"
        return ""

    def _by_ci(self, entry: Entry) -> str:
        """Where no approver has a key, CI's own approval counts: that of its protected environment."""
        if not (entry.data.get("ci_run") and entry.data.get("by")):
            return f"entry {entry.number} approves outside of CI, and the plan lists no approver's key"
        return self._by(entry, self._keys)


def _lists_keys(entry: Entry) -> str:
    """Why a rollout that begins so is to be signed; '' when it need not be."""
    if entry.kind != "started" or not Plan.model_validate(entry.data["plan"]).signing.keys:
        return ""
    return "though its rollout's plan lists keys"


def _told(subject: Subject) -> str:
    kind, value = next(iter(dict(subject.get("digest") or {"nothing": ""}).items()))
    return f"{kind} {value}"
