"""The store's bounds: how much is queued, kept and grown before a policy applies."""

from __future__ import annotations

from pydantic import Field

from foundation.strict import StrictModel

MIB = 1 << 20
GIB = 1 << 30


class StoreOptions(StrictModel):
    """Bounds of one `Store`; the defaults suit a live world at 20 ticks a second.

    What happens at each bound: `queue_jobs`/`queue_bytes` refuse with `LimitError` (model calls are
    dropped and counted instead), `max_lag` sets `Store.overloaded`, `keep_checkpoints`,
    `turns_per_pair`, `turns_total` and `calls_kept` let the oldest go, `snapshots_kept` refuses one
    more, `max_map_bytes` stops writing and is surfaced as `Store.error`.
    """

    keep_checkpoints: int = Field(default=4, ge=1, le=1024)
    """Checkpoints kept; the journal reaches back to the oldest of them."""
    snapshots_kept: int = Field(default=16, ge=1, le=1024)
    """Named snapshots in the world's folder."""
    window_s: float = Field(default=0.01, ge=0.0, le=0.1)
    """Longest wait, in seconds, for company before a group is synced."""
    group_jobs: int = Field(default=1024, ge=1)
    group_bytes: int = Field(default=16 * MIB, ge=MIB)
    """Most writes, and about most bytes, in one transaction."""
    max_lag: int = Field(default=20, ge=1)
    """Ticks the disk may be behind before the store calls itself overloaded."""
    queue_jobs: int = Field(default=2400, ge=1)
    queue_bytes: int = Field(default=256 * MIB, ge=MIB)
    record_bytes: int = Field(default=64 * MIB, ge=1024)
    """Largest packed tick record."""
    slice_bytes: int = Field(default=4 * MIB, ge=64)
    """A checkpoint is written and synced in slices of this size; ticks are synced in between."""
    map_bytes: int = Field(default=GIB, ge=MIB)
    """First size of LMDB's map; doubled when three quarters are used."""
    max_map_bytes: int = Field(default=64 * GIB, ge=MIB)
    turns_per_pair: int = Field(default=200, ge=1)
    turns_total: int = Field(default=200_000, ge=1)
    turn_bytes: int = Field(default=16 * 1024, ge=256)
    calls_kept: int = Field(default=20_000, ge=1)
    call_bytes: int = Field(default=256 * 1024, ge=256)
