"""Puts the ladder of models together: the local engine, and the cloud where a key is set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from foundation.errors import UsageError
from greenroom.folders import user_data
from greenroom.settings import ModelSettings
from models import house
from models.budget import Budgeted, Ledger, Limits, Price
from models.embeddings import Embedder
from models.hashed import HashedEmbedder
from models.llama import minilm
from models.llama.embedder import LlamaEmbedder
from models.llama.host import LlamaHost
from models.request import Backend
from models.router import Router, Rung

LOCAL, CLOUD = "local", "cloud"
MINILM, HASHED = "minilm", "hashed"
# What the cloud may be asked; everything else stays on this machine, key or no key.
CLOUD_PURPOSES = ("plan",)


@dataclass(frozen=True, slots=True)
class Minds:
    """The ladder that actors ask, the local engine on it, and the cloud model's name if one is."""

    router: Router
    engine: LlamaHost
    cloud: str = ""


def gather(settings: ModelSettings) -> Minds | None:
    """The models to think with, loading in the background; None when they are switched off.

    A model file that can't be used does not raise: the engine's state says so, and reflexes answer.
    """
    if not settings.enabled:
        return None
    engine = local_engine(settings)
    rungs = [Rung(LOCAL, engine)]
    routes: dict[str, list[str]] = {}
    cloud = None if settings.local_only else _cloud(settings)
    if cloud is not None:
        ledger = Ledger(
            Limits(
                tokens_per_hour=settings.cloud_tokens_per_hour,
                usd_per_hour=settings.cloud_usd_per_hour,
            )
        )
        price = Price(settings.cloud_input_usd, settings.cloud_output_usd)
        rungs.insert(0, Rung(CLOUD, Budgeted(cloud, ledger, price)))
        routes = {purpose: [CLOUD, LOCAL] for purpose in CLOUD_PURPOSES}
    router = Router(rungs, routes=routes, default=[LOCAL])
    return Minds(router, engine, cloud.name if cloud is not None else "")


def model_file(settings: ModelSettings) -> Path:
    """The GGUF that will be loaded."""
    return settings.file or house.path()


def local_engine(settings: ModelSettings) -> LlamaHost:
    """The local engine for the settings' model file, starting."""
    return LlamaHost(
        model_file(settings),
        threads=settings.threads or 0,
        n_ctx=settings.context,
        n_seq=settings.sequences,
        mode=settings.engine,
    )


def models_folder(settings: ModelSettings) -> Path:
    """Where added models are kept."""
    return settings.folder or user_data() / "models"


def embedding_file(settings: ModelSettings) -> Path | None:
    """The GGUF that turns text into vectors; None when words are hashed instead.

    Raises UsageError when `minilm` is wanted and was never added.
    """
    wanted = settings.embedding_model
    added = models_folder(settings) / minilm.FILE
    if not settings.enabled or wanted == HASHED or (wanted is None and not added.is_file()):
        return None
    if wanted not in (None, MINILM):
        return Path(wanted)
    if not added.is_file():
        raise UsageError(f"{added}: no such file", "greenroom models add minilm")
    return added


def make_embedder(settings: ModelSettings) -> Embedder:
    """What turns text into vectors; a model loads in the background.

    A model file that can't be used does not raise: the embedder's state says so. It is never replaced
    by another embedder, whose vectors would not fit those already kept.
    """
    file = embedding_file(settings)
    if file is None:
        return HashedEmbedder()
    return LlamaEmbedder(
        file,
        threads=settings.threads or 0,
        n_ctx=settings.embedding_context,
        gpu_layers=settings.embedding_gpu_layers,
        mode=settings.engine,
        collect=settings.embedding_collect,
        wait_s=settings.embedding_wait_ms / 1000.0,
    )


def _cloud(settings: ModelSettings) -> Backend | None:
    key = os.environ.get("ANTHROPIC_API_KEY")
    if not key:
        return None
    try:
        from models.cloud.anthropic import AnthropicBackend, AnthropicSettings
    except ImportError as error:
        raise UsageError(
            "ANTHROPIC_API_KEY is set, but the cloud extra is not installed",
            "pip install 'greenroom[cloud]', or use --local-only",
        ) from error
    return AnthropicBackend(
        model=settings.cloud_model,
        api_key=key,
        base_url=settings.cloud_base_url,
        settings=AnthropicSettings(thinking=settings.cloud_thinking),
    )
