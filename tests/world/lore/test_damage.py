"""Broken files: a typed error that names the file, or the same contents again; never a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foundation.errors import GreenroomError
from world.errors import NewerLayout, VectorsDamaged
from world.lore import files
from world.lore.files import Manifest
from world.lore.journal import FileJournal
from world.lore.vectors import VectorStore

Open = Callable[..., VectorStore]
Make = Callable[..., np.ndarray]


@pytest.fixture
def folder(open_store: Open, vectors: Make, tmp_path: Path) -> Path:
    """A closed store of 60 frozen vectors and 20 in the log."""
    store = open_store()
    store.put_many(range(60), vectors(80)[:60])
    assert store.merge(60)
    store.put_many(range(60, 80), vectors(80)[60:])
    store.close()
    return tmp_path / "vectors"


def damaged(data: bytes, how: str) -> bytes:
    if how == "cut short":
        return data[: len(data) // 2]
    if how == "emptied":
        return b""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


@pytest.mark.parametrize("how", ["cut short", "emptied", "altered"])
@pytest.mark.parametrize("which", ["*.vec", "*.rows", "manifest"])
def test_a_damaged_file_is_named(folder: Path, open_store: Open, which: str, how: str) -> None:
    (path,) = folder.glob(which)
    path.write_bytes(damaged(path.read_bytes(), how))
    with pytest.raises(VectorsDamaged) as told:
        open_store()
    assert path.name in told.value.message
    assert "embed" in told.value.hint


@pytest.mark.parametrize("how", ["cut short", "emptied", "altered", "lost"])
@pytest.mark.parametrize("which", ["*.ann", "*.nbr"])
def test_a_damaged_index_is_made_again(
    folder: Path, open_store: Open, vectors: Make, which: str, how: str
) -> None:
    (path,) = folder.glob(which)
    if how == "lost":
        path.unlink()
    else:
        path.write_bytes(damaged(path.read_bytes(), how))
    store = open_store()
    assert store.status()["indexes_lost"] == 1
    for n, row in enumerate(vectors(80)):
        assert store.search(row, k=1)[0].key == n
    assert store.merge(60)
    assert all(one["indexed"] for one in store.status()["segments"])  # type: ignore[attr-defined]


def test_the_torn_end_of_the_log_is_cut_off(folder: Path, open_store: Open) -> None:
    path = max(folder.glob("log-*"))
    path.write_bytes(path.read_bytes()[:-5])
    store = open_store()
    assert len(store) == 79
    assert int(store.status()["journal"]["dropped_bytes"]) > 0  # type: ignore[index]
    store.put("new", np.ones(16))
    store.close()
    assert len(open_store()) == 80


def test_damage_to_what_was_synced_is_told_and_nothing_is_cut(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    for serial in range(1, 6):
        journal.append(serial, b"a record")
        journal.sync()
    journal.close()
    (path,) = tmp_path.glob("log-*")
    data = path.read_bytes()
    broken = data[:66] + b"\0" + data[67:]
    path.write_bytes(broken)
    with pytest.raises(VectorsDamaged, match="byte"):
        list(FileJournal(tmp_path).records(0))
    assert path.read_bytes() == broken


def test_a_hole_in_what_was_never_synced_drops_what_follows(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path, part_bytes=100)
    for serial in range(1, 12):
        journal.append(serial, b"a record")
    journal.close()
    first, second, *_ = sorted(tmp_path.glob("log-*"))
    first.write_bytes(first.read_bytes()[:-1])
    again = FileJournal(tmp_path)
    kept = [serial for serial, _ in again.records(0)]
    assert kept == list(range(1, int(second.stem[4:]) - 1))
    again.append(kept[-1] + 1, b"goes on")
    again.close()
    assert [s for s, _ in FileJournal(tmp_path).records(0)] == [*kept, kept[-1] + 1]


def test_a_log_file_that_is_gone_is_told(folder: Path, open_store: Open) -> None:
    store = open_store()
    store.put("a", np.ones(16))
    store.sync()
    store.put("b", np.ones(16))
    store.close()
    parts = sorted(folder.glob("log-*"))
    assert len(parts) >= 2
    parts[-2].unlink()
    with pytest.raises(VectorsDamaged):
        open_store()


def test_what_an_unfinished_merge_left_is_swept(folder: Path, open_store: Open) -> None:
    for name in ("seg-9-ab.vec", "seg-9-ab.ann", "manifest.tmp"):
        (folder / name).write_bytes(b"half")
    store = open_store()
    assert len(store) == 80
    assert not list(folder.glob("seg-9-*"))
    assert not (folder / "manifest.tmp").exists()


def test_a_manifest_of_a_newer_layout_is_refused(
    tmp_path: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LAYOUT", 2)
    (tmp_path / "vectors").mkdir()
    files.write_manifest(tmp_path / "vectors", Manifest(16, 0, ()))
    monkeypatch.setattr(files, "LAYOUT", 1)
    with pytest.raises(NewerLayout):
        open_store()


def test_a_merge_that_fails_loses_nothing_and_is_told(
    open_store: Open, vectors: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rows = open_store(), vectors(30)
    store.put_many(range(30), rows)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_vectors", full)
        assert not store.merge(60)
    status = store.status()
    assert status["merge_failures"] == 1
    assert "No space" in str(status["merge_error"])
    assert {hit.key for hit in store.search(rows[0], k=30)} == set(range(30))
    assert store.merge(60)
    assert store.status()["merge_error"] == ""


def test_a_put_that_cannot_be_logged_changes_nothing(tmp_path: Path, vectors: Make) -> None:
    class Full(FileJournal):
        broken = False

        def _write(self, data: bytes) -> None:
            if self.broken:
                raise OSError(28, "No space left on device")
            super()._write(data)

    folder = tmp_path / "vectors"
    folder.mkdir()
    journal = Full(folder)
    with VectorStore(folder, 16, journal=journal) as store:
        store.put(1, vectors(2)[0])
        journal.broken = True
        with pytest.raises(GreenroomError, match="No space"):
            store.put(1, vectors(2)[1])
        journal.broken = False
        assert store.search(vectors(2)[0], k=1)[0].score == pytest.approx(1.0, abs=1e-5)
        store.put(2, vectors(2)[1])
        assert len(store) == 2


def test_a_log_never_synced_holds_no_file_open_past_its_trimming(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path, part_bytes=50)
    open_before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc").exists() else 0
    for serial in range(1, 200):
        journal.append(serial, b"a record")
        journal.trim(serial)
    assert len(list(tmp_path.glob("log-*"))) <= 2
    if open_before:
        assert len(list(Path("/proc/self/fd").iterdir())) <= open_before + 3
    journal.close()
