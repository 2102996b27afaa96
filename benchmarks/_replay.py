"""Replays a trace over a simulated model server: in lock-step, and by what each call in fact had to wait for.

Only the model's time is counted: the world's own steps are taken as free, in all alike.
"""

from __future__ import annotations

from actors.trace import Trace
from benchmarks._server import Server


def lock_step(trace: Trace, server: Server) -> float:
    """Seconds until all is answered, where a tick waits for every answer that is due in it."""
    asked, due = trace.column("asked"), trace.column("due")
    missing: set[int] = set()
    next_ = 0
    for tick in sorted({*asked, *due}):
        # What is due in a tick has come before the tick is lived; what is asked is asked after it.
        while any(due[call] <= tick for call in missing):
            missing -= set(server.next())
        while next_ < len(asked) and asked[next_] <= tick:
            _submit(trace, server, next_)
            missing.add(next_)
            next_ += 1
    return _drain(server)


def oracle(trace: Trace, server: Server) -> float:
    """Seconds until all is answered, where each call is asked as soon as those are answered that it waits for.

    No schedule that asks only what is certain can be shorter on as many slots, but for the order in which
    calls that wait for a slot get one (the first asked first).
    """
    left = [0] * len(trace.calls)
    behind: dict[int, list[int]] = {}
    for call, before in trace.waits.tolist():
        left[call] += 1
        behind.setdefault(before, []).append(call)
    for call, waits in enumerate(left):
        if not waits:
            _submit(trace, server, call)
    while done := server.next():
        for call in sorted(later for answered in done for later in behind.get(answered, ())):
            left[call] -= 1
            if not left[call]:
                _submit(trace, server, call)
    return server.now


def _submit(trace: Trace, server: Server, call: int) -> None:
    _, asked, *_rest, prompt, fresh, reply = trace.calls[call].tolist()
    server.submit(call, prompt, prompt - fresh, reply, (asked,))


def _drain(server: Server) -> float:
    while server.next():
        pass
    return server.now
