"""The journal's chain, and what happens when somebody writes at once, dies, or cheats."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest
from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]

from rollout.errors import RolloutError
from rollout.journal import Journal, JournalDamaged
from rollout.store import FolderStore, Missing, ObjectStore, Refused, Store, open_store

pytestmark = pytest.mark.usefixtures("no_power_cut")


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(str(tmp_path) if request.param == "folder" else f"memory://{tmp_path}")


def filled(store: Store, count: int = 3) -> Journal:
    journal = Journal(store)
    for number in range(count):
        journal.append("run", "noted", {"n": number})
    return journal


def overwrite(store: Store, name: str, content: bytes) -> None:
    store.remove(name)
    assert store.create(name, content)


def test_what_is_appended_is_read_back_by_another(store: Store) -> None:
    journal = filled(store)
    again = Journal(store)
    assert (again.entries, again.head) == (journal.entries, journal.head)
    assert [entry.number for entry in again.entries] == [1, 2, 3]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_one_changed_byte_is_noticed(store: Store, number: int) -> None:
    filled(store, 4)
    name = f"journal/{number:06d}.json"
    overwrite(store, name, store.read(name).replace(b"noted", b"Noted"))
    with pytest.raises(JournalDamaged, match=f"entry {number + 1} does not follow"):
        Journal(store)


def test_a_missing_entry_is_noticed(store: Store) -> None:
    filled(store)
    store.remove("journal/000002.json")
    with pytest.raises(JournalDamaged, match="entry 2 is missing"):
        Journal(store)


def test_a_cut_last_entry_is_damage(store: Store) -> None:
    """An entry appears whole, by a link or one request, so no crash leaves this."""
    filled(store)
    cut = store.read("journal/000003.json")[:40]
    overwrite(store, "journal/000003.json", cut)
    with pytest.raises(JournalDamaged, match="entry 3 is not an entry: it was cut"):
        Journal(store)
    assert store.read("journal/000003.json") == cut


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside", "", "."])
def test_no_name_leads_out_of_the_store(store: Store, name: str) -> None:
    for use in (store.read, store.names, store.remove, lambda name: store.create(name, b"")):
        with pytest.raises(Refused, match="leads out"):
            use(name)


def test_no_link_is_followed(tmp_path: Path) -> None:
    journal, elsewhere = tmp_path / "journal", tmp_path / "elsewhere"
    filled(FolderStore(elsewhere))
    journal.mkdir()
    (journal / "journal").symlink_to(elsewhere / "journal")
    with pytest.raises(Refused, match="a link"):
        FolderStore(journal).read("journal/000001.json")
    (journal / "journal").unlink()
    (journal / "journal").mkdir()
    (journal / "journal" / "000001.json").symlink_to(elsewhere / "journal" / "000001.json")
    with pytest.raises(JournalDamaged, match="a link"):
        Journal(FolderStore(journal))


def test_a_torn_entry_in_the_middle_is_damage(store: Store) -> None:
    filled(store)
    overwrite(store, "journal/000002.json", b'{"number":')
    with pytest.raises(JournalDamaged, match="entry 2 is not an entry"):
        Journal(store)


def test_two_writers_cannot_both_write_an_entry(tmp_path: Path) -> None:
    def write(name: str) -> None:
        journal = Journal(FolderStore(tmp_path))
        for _ in range(20):
            journal.append(name, "noted")

    threads = [Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    runs = [entry.run for entry in Journal(FolderStore(tmp_path)).entries]
    assert sorted(runs) == sorted("abc" * 20)


def test_a_place_that_cannot_create_conditionally_is_refused() -> None:
    with pytest.raises(RolloutError, match="two writers could overwrite"):
        ObjectStore(AbstractFileSystem(), "journal", "odd://journal")


def test_the_address_shows_no_password(tmp_path: Path) -> None:
    assert "hidden" not in open_store(f"memory://ann:hidden@{tmp_path}").address


def test_a_file_is_written_once(store: Store) -> None:
    assert store.create("a/b", b"1") and not store.create("a/b", b"2")
    assert (store.read("a/b"), store.names("a"), store.names("none")) == (b"1", ["b"], [])
    with pytest.raises(Missing):
        store.read("a/c")
