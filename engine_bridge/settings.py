"""The bridge's settings: where it listens and every bound it keeps."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class BridgeSettings(BaseModel):
    """Where the bridge listens and what it allows. Times are seconds, sizes bytes.

    Port 0 takes a free port; `Bridge.address` tells which.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8765, ge=0, le=65535)
    http_port: int | None = Field(default=8766, ge=0, le=65535, description="None: no HTTP pages")
    token: str | None = Field(default=None, min_length=8, max_length=256)
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="names this server is reached by, beside localhost and IP addresses"
    )
    allowed_origins: tuple[str, ...] = Field(
        default=(),
        description="web origins, beside this host's own, whose pages may open the socket",
    )

    max_clients: int = Field(default=256, ge=1, le=10_000)
    max_frame: int = Field(default=64 * 1024, ge=1024, le=1024 * 1024)
    max_depth: int = Field(default=16, ge=4, le=64)
    rate: float = Field(default=100.0, gt=0, description="frames a second; 4 KiB count as one more")
    burst: float = Field(default=200.0, gt=0, description="frames above the rate before warnings")
    flood: float = Field(default=200.0, gt=0, description="frames refused in a row before 4003")
    in_flight: int = Field(default=32, ge=1, le=1024, description="requests under way, a session")

    answer_s: float = Field(default=60.0, gt=0, description="then a request ends with no_answer")
    hello_s: float = Field(default=5.0, gt=0)
    heartbeat_s: float = Field(default=10.0, gt=0)
    close_s: float = Field(default=5.0, gt=0, description="how long a closing socket may take")
    resume_s: float = Field(
        default=60.0, ge=0, description="how long a session outlives its socket"
    )

    ring: int = Field(
        default=1024, ge=1, le=65_536, description="reliable messages kept for resume"
    )
    ring_bytes: int = Field(default=1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    keys: int = Field(
        default=256, ge=1, le=65_536, description="idempotency keys remembered, a session"
    )
    outbox: int = Field(
        default=2048, ge=8, le=65_536, description="messages waiting for a slow socket"
    )
    outbox_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    send_buffer: int = Field(default=128 * 1024, ge=4096, description="the kernel's, a socket")

    radius: int = Field(default=32, ge=1, le=1024, description="default area of interest, tiles")
    max_radius: int = Field(default=96, ge=1, le=1024)
    max_visible: int = Field(
        default=2048, ge=1, description="entities in one area; the nearest count"
    )
    spectators: bool = Field(default=True, description="whether `watch {all}` is allowed")
    quiet_ticks: int = Field(
        default=10, ge=1, description="an empty delta is sent this often at least"
    )

    @model_validator(mode="after")
    def _bounds_agree(self) -> BridgeSettings:
        if self.radius > self.max_radius:
            raise ValueError(f"radius {self.radius} is above max_radius {self.max_radius}")
        if self.outbox <= self.ring or self.outbox_bytes <= self.ring_bytes:
            raise ValueError("outbox must be larger than ring, or a resume could not be sent")
        if self.keys < self.in_flight:
            raise ValueError("keys must be at least in_flight, or work under way could be repeated")
        return self
