"""Settings: one tree, from a TOML file < the environment (GREENROOM_…) < flags."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from foundation.errors import UsageError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ServerSettings(_Section):
    """Where the game socket and the HTTP pages listen, and who may come in.

    Beyond loopback set a `token`: clients send it in hello, pages and administration as a bearer.
    """

    host: str = "127.0.0.1"
    """The address that both sockets listen on."""
    port: int = Field(8765, ge=0, le=65535)
    """The game socket; 0 picks a free one."""
    http_port: int = Field(8766, ge=0, le=65535)
    """The dashboard's and the pages'; 0 picks a free one."""
    max_clients: int = Field(256, ge=1, le=10_000)
    """Connections at once; who comes later is closed with 4010."""
    token: str | None = Field(None, min_length=8, max_length=256)
    """What clients must know, at least 8 characters; none: anyone who reaches the address."""
    allowed_hosts: tuple[str, ...] = ()
    """Names this server is reached by, beside localhost and IP addresses."""
    allowed_origins: tuple[str, ...] = ()
    """Web origins, beside the server's own, whose pages may open the socket."""
    spectators: bool = True
    """Whether clients may watch everything at once."""


class WorldSettings(_Section):
    """Which world, how big, and where it is kept."""

    scene: str = "valley"
    """A shipped scene's name, or a folder."""
    seed: int | None = Field(None, ge=0, lt=2**63)
    """The world's chance; the scene's own if not given."""
    npcs: int | None = Field(None, ge=0, le=20_000)
    """Fill the scene up with generated villagers to so many."""
    data: Path | None = None
    """The world's folder; `data/<scene>` if not given."""
    checkpoint_ticks: int = Field(1200, ge=20, le=1_000_000)
    """A checkpoint every so many ticks; 1,200 are a minute."""
    detail_tiles: int = Field(0, ge=0, le=4096)
    """How far around a player all are lived in full, in tiles; beyond, whoever nothing happens to lives in strides; 0: all are lived in full (docs/detail.md)."""
    snapshots: int = Field(16, ge=1, le=1024)
    """Named snapshots kept; one more is refused."""


class ModelSettings(_Section):
    """Who thinks. All text stays on this machine, unless ANTHROPIC_API_KEY is set: then battle plans, and
    nothing else, are asked of the cloud, within the hourly limits below. `local_only` prevents that.

    The engine is sized from the machine's cores, memory and GPUs; `greenroom doctor` shows the plan.
    What is given of `threads`, `context`, `sequences`, `gpu_layers`, `kv_type`, `streams` and `flash` is kept exactly, or
    refused by name where it can't be.

    `cloud_input_usd` and `cloud_output_usd` are dollars a million tokens of `cloud_model`: the hourly
    limit is counted with them, so change all three together. A model that can't be kept from
    thinking wants `cloud_thinking = "between_tools"` or `"adaptive"`.

    With `cache` players who ask an NPC the same thing first hear the same sentence (docs/cache.md).
    """

    enabled: bool = True
    """`false`: not one call to any model."""
    local_only: bool = False
    """No text leaves this machine, key or no key."""
    file: Path | None = None
    """Any GGUF; the house model if not given."""
    engine: Literal["process", "thread"] = "process"
    """Where llama.cpp runs: in a child process, which may die alone, or in a thread."""
    threads: int | None = Field(None, ge=1, le=256)
    """The engine's; all performance cores but one if not given."""
    context: int | None = Field(None, ge=512, le=1_048_576)
    """Tokens of the engine's whole cache, for all sequences; as many as fit if not given."""
    sequences: int | None = Field(None, ge=1, le=256)
    """Requests decoded at once; planned if not given."""
    gpu_layers: int | None = Field(None, ge=0, le=10_000)
    """Layers on the GPU, the output counted as one; as many as fit if not given."""
    kv_type: Literal["f16", "q8_0", "f32"] | None = None
    """What the cache is kept in; `q8_0` takes half of `f16`; planned if not given."""
    streams: bool | None = None
    """Whether each sequence has its own part of the cache, or all share it; as `greenroom doctor --measure` found, else by rule, if not given."""
    flash: bool | None = None
    """Whether attention is flash attention; in streams on a CPU it is not, else it is, if not given."""
    window: int | None = Field(None, ge=256, le=1_048_576)
    """Tokens of a conversation, the answer included; 16384 if not given, 704 for the house model."""
    embedding_model: str | None = None
    """What turns text into vectors: `minilm`, `hashed` or a GGUF; `minilm` if added, else `hashed`, if not given."""
    embedding_context: int = Field(2048, ge=64, le=8192)
    """Tokens of the longest text that is read whole, and of a batch."""
    embedding_gpu_layers: int = Field(-1, ge=-1, le=10_000)
    """Layers of the embedding model on a GPU; -1: all that fit, where llama.cpp was built for one."""
    embedding_collect: int = Field(10, ge=1, le=256)
    """Calls for vectors that are sent together at the most."""
    embedding_wait_ms: float = Field(5.0, ge=0.0, le=1000.0)
    """The longest a call waits for others to be sent with."""
    cache: Literal["off", "live", "always"] = "off"
    """Whether first lines of conversations may be answered from a cache: `live` where a world is served, `always` in headless runs too."""
    cache_similarity: float = Field(0.95, gt=0.0, le=1.0)
    """The least cosine between two lines that get the same answer."""
    cache_minutes: float = Field(60.0, gt=0.0, le=525_600.0)
    """How long an answer stays good."""
    cache_entries: int = Field(10_000, ge=1, le=1_000_000)
    """Answers kept; past it the one not used for longest goes."""
    folder: Path | None = None
    """Where `greenroom models add` keeps what it makes; the user's data folder if not given."""
    cloud_model: str = "claude-haiku-5-5"
    """Who plans the battles where a key is set."""
    cloud_thinking: Literal["disabled", "between_tools", "adaptive"] = "disabled"
    """Whether the cloud model thinks before it answers."""
    cloud_input_usd: float = Field(0.1, ge=0.0)
    """Its price, dollars a million tokens read."""
    cloud_output_usd: float = Field(0.5, ge=0.0)
    """Its price, dollars a million tokens written."""
    cloud_base_url: str | None = None
    """Another address that speaks the provider's API."""
    cloud_concurrent: int = Field(10, ge=1, le=256)
    """Calls to it under way together; 64 more may wait."""
    cloud_usd_per_hour: float = Field(1.0, ge=0.0)
    """No cloud call that could pass it; the local model plans then."""
    cloud_tokens_per_hour: int = Field(200_000, ge=0)
    """The same in tokens."""


class Settings(BaseSettings):
    """Everything a server can be told. Unknown keys are refused by name."""

    model_config = SettingsConfigDict(
        env_prefix="GREENROOM_", env_nested_delimiter="__", extra="forbid"
    )

    server: ServerSettings = ServerSettings()
    world: WorldSettings = WorldSettings()
    models: ModelSettings = ModelSettings()
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags win over the environment, the environment over the file."""
        file = TomlConfigSettingsSource(settings_cls, _config_file)
        return init_settings, env_settings, file


_config_file: Path | None = None


def thinking(
    file: Path | None, *, no_models: bool, local_only: bool, **sizes: int | str | None
) -> dict[str, Any]:
    """The flags of the commands that start models, as `load` takes them for `models`.

    `sizes` are the engine's: threads, context, sequences, gpu_layers, kv_type, streams, flash.
    """
    return {
        "file": file,
        "enabled": False if no_models else None,
        "local_only": True if local_only else None,
        **sizes,
    }


def load(config: Path | None = None, **flags: dict[str, Any]) -> Settings:
    """The settings tree.

    `flags` holds a dict a section, `None` values meaning "not given". Raises `UsageError` naming
    file, key and mend.
    """
    global _config_file
    if config is not None and not config.is_file():
        raise UsageError(f"{config}: no such file", "give --config a TOML file that exists")
    given = {
        section: kept
        for section, values in flags.items()
        if (kept := {key: value for key, value in values.items() if value is not None})
    }
    _config_file = config
    try:
        return Settings(**given)  # type: ignore[arg-type]  # sections arrive as plain dicts
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{config}: not valid TOML: {error}", "mend the line it names") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"setting {key!r}: {first['msg']} (got {first.get('input')!r})",
            f"see docs/settings.md for {key.split('.')[0]!r}",
        ) from error
    finally:
        _config_file = None
