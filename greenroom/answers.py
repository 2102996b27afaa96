"""The cache of answers in front of the ladder of models: what it is made of and when it may answer."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import structlog

from actors.lines import check
from greenroom.settings import ModelSettings
from models.cache import CacheSettings, SemanticCache
from models.cache_file import FileKeeper
from models.cached import CachedBackend
from models.embeddings import Embedder
from models.llama.gguf_file import fingerprint
from models.llama.host import LlamaHost
from models.request import ModelRequest, Reply
from models.router import Router

log = structlog.get_logger("greenroom")

FILE = "answers.cache"
"""The cache's file in the world's folder."""


@dataclass(frozen=True, slots=True)
class Answers:
    """A cache at work: the backend that actors ask, and what it needs."""

    backend: CachedBackend
    embedder: Embedder
    cache: SemanticCache

    def close(self) -> None:
        """Close the ladder, then the rest, so that what is under way ends once and is not kept."""
        self.backend.close()
        self.embedder.close()
        self.cache.close()


def remembered(
    router: Router,
    engine: LlamaHost | None,
    embedder: Embedder,
    settings: ModelSettings,
    folder: Path,
    files: dict[str, Path],
) -> Answers:
    """A cache in front of `router`, kept in `folder` over a restart.

    `files` are those that the engine answers with, by name: the model's, and each adapter's by its
    species; when one changes, older answers are not used. A file of the cache that can't be opened
    costs only its memory of earlier runs.
    """
    keeper = None
    try:
        keeper = FileKeeper(folder / FILE)
    except OSError as error:
        log.warning("answers are not kept over a restart", why=str(error))
    cache = SemanticCache(
        CacheSettings(
            similarity=settings.cache_similarity,
            ttl_s=settings.cache_minutes * 60.0,
            entries=settings.cache_entries,
        ),
        keeper,
    )

    def model_of(request: ModelRequest) -> str:
        ladder = router.ladder(request.purpose, request.backend)
        if not ladder:
            return ""
        # Of a rung that was added since, the file is not known to be the same after a restart.
        first = ladder[0].backend
        return engine.source_for(request.adapter) if engine is not None and first is engine else ""

    backend = CachedBackend(
        router, embedder, cache, model_of=model_of, version=_digest(files), worth=_worth
    )
    return Answers(backend, embedder, cache)


def _worth(request: ModelRequest, reply: Reply) -> bool:
    """A line that is cut or spoiled is better asked for anew."""
    return request.purpose != "speech" or not check(reply.text, None).fault


def _digest(files: dict[str, Path]) -> str:
    found = {}
    for name, path in sorted(files.items()):
        try:
            found[name] = fingerprint(path)
        except OSError:
            # The engine tells what is wrong with it, and answers nothing with it.
            found[name] = ""
    return hashlib.blake2b(json.dumps(found).encode(), digest_size=8).hexdigest()
