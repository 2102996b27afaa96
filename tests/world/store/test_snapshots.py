"""One damaged snapshot hides no other, and a folder that can't be is refused before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from foundation.errors import UsageError
from world.store import Store, TickRecord
from world.store.snapshots import CARD_NAME, find, list_snapshots

Opened = Callable[..., Store]
Record = Callable[..., TickRecord]


@pytest.fixture
def kept(tmp_path: Path, opened: Opened, record: Record) -> Store:
    """A world of three ticks, kept as "first" and, a tick later, as "second"."""
    store = opened(tmp_path / "world")
    for tick in range(3):
        store.append(record(tick))
    store.flush()
    store.snapshots.take("first", 10)
    store.append(record(3))
    store.flush()
    store.snapshots.take("second", 20)
    return store


@pytest.mark.parametrize("card", ["{", "", None])
def test_a_card_that_is_damaged_is_made_anew_from_what_it_tells_of(
    kept: Store, card: str | None
) -> None:
    whole = {one.name: one for one in kept.snapshots.list()}
    place = find(kept.path, "second") / CARD_NAME
    place.unlink() if card is None else place.write_text(card)
    again = {one.name: one for one in kept.snapshots.list()}
    assert again["first"] == whole["first"]
    assert again["second"].tick == whole["second"].tick == 3
    assert again["second"].bytes == whole["second"].bytes


def test_a_snapshot_that_is_damaged_itself_is_left_out_and_can_be_removed(kept: Store) -> None:
    folder = find(kept.path, "first")
    (folder / CARD_NAME).unlink()
    (folder / "world.mdb").write_bytes(b"no database")
    assert [one.name for one in list_snapshots(kept.path)] == ["second"]
    kept.snapshots.remove("first")
    assert not folder.exists()


def test_a_branch_whose_name_no_disk_takes_is_refused(kept: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be looked at"):
        kept.branch(tmp_path / ("n" * 300))
