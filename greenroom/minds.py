"""Puts the ladder of models together: the local engine, and the cloud where a key is set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.errors import UsageError
from greenroom import layouts
from greenroom.adapters import model_name
from greenroom.answers import Answers, remembered
from greenroom.folders import user_data
from greenroom.settings import ModelSettings
from greenroom.switchboard import Switchboard
from models import house
from models.budget import Budgeted, Ledger, Limits, Price
from models.embeddings import Embedder
from models.errors import ModelDoesNotFit, ModelError, ModelFileError
from models.hashed import HashedEmbedder
from models.llama import facts, minilm
from models.llama.embedder import LlamaEmbedder
from models.llama.fit import Plan, shrinking
from models.llama.gguf_file import inspect
from models.llama.host import LlamaHost
from models.llama.layout_file import Notebook
from models.llama.machine import Machine, measure
from models.llama.settings import EngineSettings
from models.llama.sizing import Wishes
from models.request import WINDOW, Backend
from models.router import Router, Rung
from plugins.manager import PluginManager

LOCAL, CLOUD = "local", "cloud"
MINILM, HASHED = "minilm", "hashed"
# What the cloud may be asked; everything else stays on this machine, key or no key.
CLOUD_PURPOSES = ("plan",)
PURPOSES = ("speech", "decide", "plan")
"""All that minds ask for."""


@dataclass(frozen=True, slots=True)
class Minds:
    """The ladder that actors ask, the local engine on it, and the cloud model's name if one is.

    Where no engine fits the machine, `unfit` says why. `answers` is the cache in front of it all, where
    there is one.
    """

    router: Router
    engine: LlamaHost | None
    cloud: str = ""
    unfit: ModelError | None = None
    answers: Answers | None = None

    @property
    def backend(self) -> Backend:
        """Whom actors ask: the ladder, or the cache in front of it."""
        return self.answers.backend if self.answers is not None else self.router

    def close(self) -> None:
        """End every model, and what is under way with `Cancelled`."""
        (self.answers or self.router).close()

    def wait_ready(self, timeout_s: float) -> str:
        """Block until the local engine takes requests; returns its name.

        Raises the error that prevents it, or ModelUnavailable.
        """
        if self.engine is None:
            raise self.unfit or ModelError("there is no local engine")
        self.engine.wait_ready(timeout_s)
        return self.engine.name


def gather(
    settings: ModelSettings,
    plugins: PluginManager | None = None,
    *,
    cache_in: Path | None = None,
) -> Minds | None:
    """The models to think with, loading in the background; None when they are switched off.

    The local engine gets the adapters that `plugins` have for its model. `cache_in` is the folder in which
    a cache of answers keeps its file; None: no cache.

    A model file that can't be used, or is too large for the machine, does not raise: the engine's
    state or `unfit` says so, and reflexes answer. Raises ModelDoesNotFit for a setting that can't be
    kept, which it names, and UsageError as `make_embedder` does.
    """
    if not settings.enabled:
        return None
    # What may be refused comes before anything is started that would have to be stopped again.
    if cache_in is not None:
        embedding_file(settings)
    cloud = None if settings.local_only else _cloud(settings)
    engine: LlamaHost | None = None
    unfit: ModelError | None = None
    files = {"": model_file(settings)}
    try:
        engine = local_engine(settings)
        if plugins is not None:
            files |= _adapt(engine, settings, plugins)
    except ModelDoesNotFit as error:
        if error.named:
            raise
        unfit = error
    local = [LOCAL] if engine is not None else []
    rungs = [Rung(LOCAL, engine, window=window(settings))] if engine is not None else []
    routes: dict[str, list[str]] = {}
    if cloud is not None:
        ledger = Ledger(
            Limits(
                tokens_per_hour=settings.cloud_tokens_per_hour,
                usd_per_hour=settings.cloud_usd_per_hour,
            )
        )
        price = Price(settings.cloud_input_usd, settings.cloud_output_usd)
        only = frozenset(CLOUD_PURPOSES)
        rungs.insert(0, Rung(CLOUD, Budgeted(cloud, ledger, price), only))
        routes = {purpose: [CLOUD, *local] for purpose in CLOUD_PURPOSES}
    router = Router(rungs, routes=routes, default=local)
    answers = None
    if cache_in is not None:
        answers = remembered(router, engine, make_embedder(settings), settings, cache_in, files)
    return Minds(router, engine, cloud.name if cloud is not None else "", unfit, answers)


def switchboard(
    gathered: Minds, settings: ModelSettings, plugins: PluginManager | None = None
) -> Switchboard:
    """What changes the ladder while it runs; a GGUF that it adds gets the plugins' adapters for it."""

    def load(file: Path, sizes: Mapping[str, Any]) -> LlamaHost:
        wanted = ModelSettings(file=file, engine=settings.engine, **sizes)
        engine = local_engine(wanted)
        if plugins is not None:
            _adapt(engine, wanted, plugins)
        return engine

    def window_of(file: Path, sizes: Mapping[str, Any]) -> int:
        return window(ModelSettings(file=file, **sizes))

    engines = {LOCAL: gathered.engine} if gathered.engine is not None else {}
    return Switchboard(gathered.router, engines, load, PURPOSES, window_of=window_of)


def _adapt(engine: LlamaHost, settings: ModelSettings, plugins: PluginManager) -> dict[str, Path]:
    """Give the engine its adapters; their files by species and scale."""
    try:
        header = inspect(model_file(settings))
    except ModelFileError:
        return {}
    files = {}
    for species, adapter in plugins.adapters(model_name(header)).items():
        engine.add_adapter(species, adapter.path, adapter.scale)
        files[f"{species} {adapter.scale:g}"] = Path(adapter.path)
    return files


def window(settings: ModelSettings) -> int:
    """Tokens of a conversation, the answer included; the house model was trained on short ones."""
    if settings.window is not None:
        return settings.window
    return house.WINDOW if _is_house(settings) else WINDOW


def _is_house(settings: ModelSettings) -> bool:
    return settings.file is None or settings.file.resolve() == house.path().resolve()


def model_file(settings: ModelSettings) -> Path:
    """The GGUF that will be loaded."""
    return settings.file or house.path()


def plan(
    settings: ModelSettings, machine: Machine | None = None, notebook: Notebook | None = None
) -> Plan:
    """The engine's sizes for the settings' model on this machine (measured if not given).

    Heeds what `notebook` remembers of the layouts of its KV memory, the user's own if not given.

    Raises ModelFileError for a file that can't be read, ModelDoesNotFit for a model that is too large
    or a setting that can't be kept.
    """
    file = model_file(settings)
    model = facts.read(file)
    known = layouts.remembered() if notebook is None else notebook
    return layouts.heed(file, model, machine or measure(), wishes_of(settings), known)


def wishes_of(settings: ModelSettings) -> Wishes:
    """What the settings ask of an engine's sizes."""
    return Wishes(
        threads=settings.threads,
        context=settings.context,
        sequences=settings.sequences,
        gpu_layers=settings.gpu_layers,
        kv_type=settings.kv_type,
        streams=settings.streams,
        flash=settings.flash,
        window=settings.window or (house.WINDOW if _is_house(settings) else None),
    )


def local_engine(settings: ModelSettings) -> LlamaHost:
    """The local engine for the settings' model file, sized by `plan`, starting.

    After a death of memory it goes on smaller, as far as the settings' own sizes can be kept. A damaged file is left to the engine to tell of. Raises ModelDoesNotFit.
    """
    file = model_file(settings)
    try:
        planned = plan(settings)
    except ModelFileError:
        return LlamaHost(file, settings=EngineSettings(), mode=settings.engine)
    return LlamaHost(
        file, settings=planned.settings, mode=settings.engine, shrink=shrinking(planned)
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
        settings=AnthropicSettings(
            thinking=settings.cloud_thinking, concurrent=settings.cloud_concurrent
        ),
    )
