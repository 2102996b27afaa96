"""What NPCs and players said to one another, and what models were asked: kept, bounded, oldest first to go."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import lmdb

from foundation.errors import LimitError
from world.errors import StorageError
from world.store.layout import Databases, number_key, pair_prefix
from world.store.options import StoreOptions
from world.store.reader import Reader
from world.store.records import pack_map, unpack_value
from world.store.writer import Job, Writer


class Conversations:
    """Turns by pair of NPC and player. What was put is seen by `last` at once, synced or not."""

    def __init__(
        self, dbs: Databases, reader: Reader, writer: Writer, options: StoreOptions
    ) -> None:
        self._dbs = dbs
        self._reader = reader
        self._writer = writer
        self._options = options
        self._lock = threading.Lock()
        self._pending: dict[tuple[int, str], deque[tuple[int, bytes]]] = {}
        self._number = reader.last_number("turn_order")

    def put(self, npc_id: int, player: str, turn: Mapping[str, Any]) -> int:
        """Queue a turn and return its number, which rises. Raises `StorageError`, `LimitError`."""
        data = pack_map("the turn", dict(turn), self._options.turn_bytes)
        prefix, pair = pair_prefix(npc_id, player), (npc_id, player)
        conversations, order = self._dbs.conversations, self._dbs.turn_order
        with self._lock:
            number = self._number + 1
            key = prefix + number_key(number)

            def apply(txn: lmdb.Transaction[bytes]) -> None:
                txn.put(key, data, db=conversations)
                txn.put(number_key(number), key, db=order)
                self._bound(txn, prefix)

            self._writer.submit(Job(apply, len(data), committed=lambda: self._settle(pair, number)))
            self._number = number
            self._pending.setdefault(pair, deque()).append((number, data))
        return number

    def _settle(self, pair: tuple[int, str], number: int) -> None:
        with self._lock:
            waiting = self._pending[pair]
            while waiting and waiting[0][0] <= number:
                waiting.popleft()
            if not waiting:
                del self._pending[pair]

    def _bound(self, txn: lmdb.Transaction[bytes], prefix: bytes) -> None:
        conversations, order = self._dbs.conversations, self._dbs.turn_order
        stale: list[bytes] = []
        with txn.cursor(conversations) as cursor:
            at = cursor.prev() if cursor.set_range(prefix + b"\xff" * 8) else cursor.last()
            kept = 0
            while at and cursor.key().startswith(prefix):
                kept += 1
                if kept > self._options.turns_per_pair:
                    stale.append(cursor.key())
                at = cursor.prev()
        for key in stale:
            txn.delete(key, db=conversations)
            txn.delete(key[-8:], db=order)
        excess = txn.stat(order)["entries"] - self._options.turns_total
        with txn.cursor(order) as cursor:
            while excess > 0 and cursor.first():
                txn.delete(cursor.value(), db=conversations)
                cursor.delete()
                excess -= 1

    def forget_after(self, txn: lmdb.Transaction[bytes], tick: int) -> None:
        """Delete turns whose `tick` is later than `tick`; they belong to an abandoned epoch."""
        with txn.cursor(self._dbs.turn_order) as order:
            at = order.first()
            while at:
                key = order.value()
                turn = unpack_value("a turn", txn.get(key, b"\xc0", db=self._dbs.conversations))
                if isinstance(turn, dict) and turn.get("tick", tick) > tick:
                    txn.delete(key, db=self._dbs.conversations)
                    order.delete()
                    at = bool(order.key())
                else:
                    at = order.next()

    def last(self, npc_id: int, player: str, limit: int) -> list[dict[str, Any]]:
        """The last `limit` turns of the pair, oldest first. Raises `StorageError`."""
        if limit <= 0:
            return []
        limit = min(limit, self._options.turns_per_pair)
        with self._lock:
            pending = list(self._pending.get((npc_id, player), ()))
        merged = dict(self._reader.turns(npc_id, player, limit))
        merged |= {number: unpack_value("a turn", data) for number, data in pending}
        return [merged[number] for number in sorted(merged)[-limit:]]


class CallLog:
    """A ring of model calls. Behind the world's own needs in the queue: dropped, and counted, first."""

    def __init__(
        self, dbs: Databases, reader: Reader, writer: Writer, options: StoreOptions
    ) -> None:
        self.dropped = 0
        self._dbs = dbs
        self._reader = reader
        self._writer = writer
        self._options = options
        self._lock = threading.Lock()
        self._number = reader.last_number("calls")

    def put(self, call: Mapping[str, Any]) -> bool:
        """Queue a call; false when storage is behind and it was dropped. Raises `StorageError`."""
        data = pack_map("the model call", dict(call), self._options.call_bytes)
        calls = self._dbs.calls
        with self._lock:
            number = self._number + 1

            def apply(txn: lmdb.Transaction[bytes]) -> None:
                if not txn.put(number_key(number), data, db=calls, append=True):
                    raise StorageError(f"model call {number} is stored already")
                excess = txn.stat(calls)["entries"] - self._options.calls_kept
                with txn.cursor(calls) as cursor:
                    while excess > 0 and cursor.first():
                        cursor.delete()
                        excess -= 1

            try:
                if self._writer.queued >= self._options.queue_jobs // 2:
                    raise LimitError("storage is behind")
                self._writer.submit(Job(apply, len(data)))
            except LimitError:
                self.dropped += 1
                return False
            self._number = number
        return True

    def after(self, number: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
        """Up to `limit` synced calls numbered above `number`, with their numbers, oldest first."""
        return self._reader.calls(number, limit)
