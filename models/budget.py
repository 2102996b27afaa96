"""Who may spend how much: reserved before a call, reconciled after it, so no bill passes its limit.

Two kinds of account: "all", and one for each asker. Each has limits per clock hour and, if wanted,
for good. A reservation is the most a call can cost; what a call really took replaces it. When it is
unknown what a failed call took, its reservation stays spent.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from models.errors import (
    BudgetExceeded,
    ModelError,
    ModelFileError,
    ModelUnavailable,
    RateLimited,
    RequestRefused,
)
from models.request import Backend, Handle, Listener, ModelRequest, Reply

ALL = "all"
_MAX_ACCOUNTS = 100_000
_HOUR_S = 3600
_MICRO = 1_000_000
_TOKENS_PER_MESSAGE = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one account; None means no bound."""

    tokens_per_hour: int | None = None
    usd_per_hour: float | None = None
    usd_total: float | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """What a backend charges, in US dollars per million tokens."""

    input_usd: float = 0.0
    output_usd: float = 0.0

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars for one call."""
        return (input_tokens * self.input_usd + output_tokens * self.output_usd) / _MICRO


@dataclass(slots=True)
class _Account:
    hour: int = -1
    hour_tokens: int = 0
    hour_micro: int = 0
    total_micro: int = 0

    def roll(self, hour: int) -> None:
        if hour != self.hour:
            self.hour, self.hour_tokens, self.hour_micro = hour, 0, 0

    def add(self, hour: int, tokens: int, micro: int) -> None:
        """Add, or take back when negative; what belongs to an hour gone by changes the total only."""
        if hour == self.hour:
            self.hour_tokens += tokens
            self.hour_micro += micro
        self.total_micro += micro


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is set aside for one call."""

    asker: str
    hour: int
    tokens: int
    micro_usd: int


class Ledger:
    """Keeps the accounts; safe to use from any thread. `off` means that nothing may be spent at all.

    `clock` gives seconds since the epoch. The accounts are plain data (`get_state`, `set_state`), so
    that limits for good survive a restart.
    """

    def __init__(
        self,
        everyone: Limits | None = None,
        each_asker: Limits | None = None,
        *,
        off: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.off = off
        self._everyone = everyone or Limits()
        self._each_asker = each_asker or Limits()
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: dict[str, _Account] = {ALL: _Account()}
        self._refused = 0

    def reserve(self, asker: str, tokens: int, usd: float) -> Reservation:
        """Set aside the most a call can take. Raises BudgetExceeded naming the limit reached."""
        micro = math.ceil(usd * _MICRO)
        hour = int(self._clock() // _HOUR_S)
        with self._lock:
            if self.off:
                self._refused += 1
                raise BudgetExceeded("spending is switched off", "switch it on in the settings")
            for name, limits in ((ALL, self._everyone), (asker, self._each_asker)):
                account = self._account(name)
                account.roll(hour)
                fault = _fault(account, limits, tokens, micro)
                if fault:
                    self._refused += 1
                    raise BudgetExceeded(f"the account {name!r} would pass {fault}")
            for name in (ALL, asker):
                self._account(name).add(hour, tokens, micro)
        return Reservation(asker, hour, tokens, micro)

    def reconcile(self, reservation: Reservation, tokens: int, usd: float) -> None:
        """Replace a reservation by what the call really took. Once per reservation."""
        micro = math.ceil(usd * _MICRO)
        with self._lock:
            for name in (ALL, reservation.asker):
                self._account(name).add(
                    reservation.hour, tokens - reservation.tokens, micro - reservation.micro_usd
                )

    def spent(self, account: str = ALL) -> dict[str, float]:
        """Tokens and dollars of this hour, and dollars for good."""
        with self._lock:
            found = self._accounts.get(account, _Account())
            current = found.hour == int(self._clock() // _HOUR_S)
            return {
                "tokens_this_hour": found.hour_tokens if current else 0,
                "usd_this_hour": (found.hour_micro if current else 0) / _MICRO,
                "usd_total": found.total_micro / _MICRO,
            }

    def status(self) -> dict[str, object]:
        """For metrics: what everyone spent, and how often a limit refused."""
        return {**self.spent(), "refused": self._refused, "off": self.off}

    def get_state(self) -> dict[str, Any]:
        """Plain values that `set_state` takes."""
        with self._lock:
            return {
                name: [a.hour, a.hour_tokens, a.hour_micro, a.total_micro]
                for name, a in self._accounts.items()
            }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state. Raises ValueError when it is none."""
        try:
            accounts = {str(name): _Account(*map(int, row)) for name, row in state.items()}
        except (TypeError, AttributeError) as error:
            raise ValueError(f"this is no ledger's state: {error}") from error
        with self._lock:
            self._accounts = {ALL: _Account(), **accounts}

    def _account(self, name: str) -> _Account:
        account = self._accounts.get(name)
        if account is None:
            if len(self._accounts) >= _MAX_ACCOUNTS:
                raise BudgetExceeded(f"the ledger holds {_MAX_ACCOUNTS} accounts already")
            account = self._accounts[name] = _Account()
        return account


def _fault(account: _Account, limits: Limits, tokens: int, micro: int) -> str:
    if limits.tokens_per_hour is not None and account.hour_tokens + tokens > limits.tokens_per_hour:
        return f"{limits.tokens_per_hour} tokens an hour"
    if (
        limits.usd_per_hour is not None
        and account.hour_micro + micro > limits.usd_per_hour * _MICRO
    ):
        return f"{limits.usd_per_hour:g} USD an hour"
    if limits.usd_total is not None and account.total_micro + micro > limits.usd_total * _MICRO:
        return f"{limits.usd_total:g} USD in all"
    return ""


def most_tokens(request: ModelRequest) -> int:
    """The most tokens a request's prompt can have: one for every byte."""
    return sum(
        len(message["content"].encode()) + _TOKENS_PER_MESSAGE for message in request.messages
    )


# After these nothing was produced, so nothing is charged. A backend that breaks off in the middle
# of a reply tells another error.
_FREE = (RequestRefused, RateLimited, ModelUnavailable, ModelFileError, BudgetExceeded)


class Budgeted:
    """A backend that asks the ledger first. Without room there, the call is never made."""

    def __init__(self, backend: Backend, ledger: Ledger, price: Price) -> None:
        self._backend = backend
        self._ledger = ledger
        self._price = price

    @property
    def name(self) -> str:
        """The backend's."""
        return self._backend.name

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Reserve, then submit; the listener hears `BudgetExceeded` when the limit is reached."""
        prompt = most_tokens(request)
        asker = request.asker or "unnamed"
        try:
            reservation = self._ledger.reserve(
                asker, prompt + request.max_tokens, self._price.cost(prompt, request.max_tokens)
            )
        except BudgetExceeded as error:
            listener.on_error(request.id, error)
            return _Refused(request)
        bill = _Bill(listener, self._ledger, reservation, self._price)
        return self._backend.submit(request, bill)

    def status(self) -> dict[str, object]:
        """The backend's, with the ledger's under "budget"."""
        return {**self._backend.status(), "budget": self._ledger.status()}

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()


@dataclass(frozen=True, slots=True)
class _Refused:
    request: ModelRequest

    def cancel(self) -> None:
        """Nothing is under way."""


@dataclass(frozen=True, slots=True)
class _Bill:
    """Reconciles on the way back."""

    listener: Listener
    ledger: Ledger
    reservation: Reservation
    price: Price

    def on_text(self, request_id: int, text: str) -> None:
        self.listener.on_text(request_id, text)

    def on_done(self, reply: Reply) -> None:
        usd = reply.cost_usd or self.price.cost(reply.prompt_tokens, reply.completion_tokens)
        self.ledger.reconcile(self.reservation, reply.prompt_tokens + reply.completion_tokens, usd)
        self.listener.on_done(replace(reply, cost_usd=usd))

    def on_error(self, request_id: int, error: ModelError) -> None:
        if isinstance(error, _FREE):
            self.ledger.reconcile(self.reservation, 0, 0.0)
        self.listener.on_error(request_id, error)
