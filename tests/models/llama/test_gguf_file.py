"""Reading a GGUF's header: a sound file is described, a damaged one is named with its fault."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import ModelFileError
from models.llama.gguf_file import inspect

Factory = Callable[..., Path]


def test_a_sound_file_is_described(gguf_factory: Factory) -> None:
    path = gguf_factory()
    info = inspect(path)
    assert (info.name, info.architecture, info.version) == ("random", "llama", 3)
    assert (info.context_length, info.tensors, info.size) == (2048, 21, path.stat().st_size)


def faulty(path: Path, data: bytes) -> ModelFileError:
    path.write_bytes(data)
    with pytest.raises(ModelFileError) as caught:
        inspect(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "is empty"),
        (b"GGUF", "cut off after 4 bytes"),
        (b"<!DOCTYPE html><html><body>Not Found</body></html>", "is no GGUF"),
        (b"<html>", "is no GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 1, 1, 1), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 1, 1), "big-endian"),
        (b"GGUF" + struct.pack("<IQQQ1sIB", 3, 0, 1, 1, b"a", 0, 1), "claims 0 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1), "claims 1152921504606846976 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1 << 60), "metadata entries"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 1 << 62), "claims 4611686018427387904 bytes"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 9), "ends inside a metadata key"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, data: bytes, fault: str) -> None:
    assert fault in faulty(tmp_path / "model.gguf", data).message


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path, fault in ((tmp_path / "none.gguf", "no such file"), (tmp_path, "not a file")):
        with pytest.raises(ModelFileError, match=fault):
            inspect(path)


@pytest.mark.parametrize("kept", [0.01, 0.1, 0.5, 0.99])
def test_a_file_cut_off_anywhere_is_refused(
    gguf_factory: Factory, tmp_path: Path, kept: float
) -> None:
    data = gguf_factory().read_bytes()
    error = faulty(tmp_path / "cut.gguf", data[: int(len(data) * kept)])
    faults = ("cut off", "ends inside", "more than the file can hold")
    assert any(fault in error.message for fault in faults)


def test_random_damage_ends_in_a_description_or_a_named_fault(
    gguf_factory: Factory, tmp_path: Path
) -> None:
    whole = gguf_factory().read_bytes()
    chance = random.Random(5)
    path = tmp_path / "damaged.gguf"
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(2000)] = chance.randrange(256)
        path.write_bytes(data)
        try:
            inspect(path)
        except ModelFileError as error:
            assert str(path) in error.message
