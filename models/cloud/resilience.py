"""What every cloud backend needs to be polite and calm: a token bucket, a breaker, bounded retries.

All three are plain state machines over a clock that is handed in, so they are tested without time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Clock = Callable[[], float]


class TokenBucket:
    """At most `per_minute` calls a minute on average and `burst` at once."""

    def __init__(self, per_minute: float, burst: int, clock: Clock = time.monotonic) -> None:
        if per_minute <= 0 or burst < 1:
            raise ValueError("a bucket needs a rate above 0 and a burst of at least 1")
        self._rate = per_minute / 60.0
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled = clock()

    def take(self) -> float:
        """Take one call's token; returns the seconds to wait before making the call."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._rate)

    def give_back(self) -> None:
        """The call was not made after all."""
        self._tokens += 1.0


class Breaker:
    """Stops calling a service that fails: open after `failures` in a row, tried again after `rest_s`.

    States: closed (calls pass) → open (none does) → half open (one does, and decides).
    """

    def __init__(
        self, failures: int = 5, rest_s: float = 30.0, clock: Clock = time.monotonic
    ) -> None:
        self._limit = failures
        self._rest_s = rest_s
        self._clock = clock
        self._failed = 0
        self._opened: float | None = None
        self._trying = False

    @property
    def state(self) -> str:
        """ "closed", "open" or "half open"."""
        if self._opened is None:
            return "closed"
        return "half open" if self._clock() - self._opened >= self._rest_s else "open"

    def allow(self) -> bool:
        """Whether a call may be made now; in half open the first one to ask may."""
        match self.state:
            case "closed":
                return True
            case "half open" if not self._trying:
                self._trying = True
                return True
        return False

    def succeed(self) -> None:
        """A call was answered, if only with a refusal: the service is there."""
        self._failed, self._opened, self._trying = 0, None, False

    def fail(self) -> None:
        """A call failed for the service's own reasons."""
        self._failed += 1
        self._trying = False
        if self._failed >= self._limit:
            self._opened = self._clock()

    def abandon(self) -> None:
        """A call ended without saying anything about the service (withdrawn, for example)."""
        self._trying = False


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how soon to try again: full jitter over doubling pauses.

    The rule is "exponential backoff and full jitter" (Brooker, AWS Architecture Blog, 2015).
    """

    attempts: int = 3
    first_s: float = 0.5
    most_s: float = 8.0
    chance: Callable[[], float] = field(default=random.Random().random)

    def pause(
        self, attempt: int, seconds_left: float, asked_s: float | None = None
    ) -> float | None:
        """Seconds to wait after the failed `attempt` (from 1); None when it is not worth trying again.

        `asked_s` is what the service asked for. A pause that would reach the deadline is none.
        """
        if attempt >= self.attempts:
            return None
        if asked_s is not None:
            pause = max(0.0, asked_s)
        else:
            pause = self.chance() * min(self.most_s, self.first_s * 2.0 ** (attempt - 1))
        return pause if pause < seconds_left else None
