"""What can go wrong between actors.

::

    GreenroomError
    ├── ActorError           actor            an actor could not do what it was told
    │   ├── WouldDeadlock    would_deadlock   a handler waits for an actor of its own dispatcher
    │   ├── DispatcherClosed dispatcher_closed nothing can be started or scheduled any more
    │   ├── Escalation       escalation       a supervisor fails in the place of a child it can't keep up
    │   └── InjectedFault    injected_fault   a failure that a plan of faults asked for
    └── LimitError
        ├── MailboxFull      mailbox_full     a mailbox at its bound refused or dropped a message
        ├── TooManyTimers    too_many_timers  the dispatcher holds as many timers as it may
        └── PoolFull         pool_full        the blocking pool has as much queued as it may
"""

from __future__ import annotations

from foundation.errors import GreenroomError, LimitError


class ActorError(GreenroomError):
    """An actor could not do what it was told."""

    code = "actor"


class WouldDeadlock(ActorError):
    """A handler waits on `.get()` for an actor that shares its dispatcher and so can't answer."""

    code = "would_deadlock"


class DispatcherClosed(ActorError):
    """The dispatcher has been closed."""

    code = "dispatcher_closed"


class Escalation(ActorError):
    """A supervisor fails in the place of a child that is past its budget."""

    code = "escalation"


class InjectedFault(ActorError):
    """A handler failed because a plan of faults asked for it."""

    code = "injected_fault"


class MailboxFull(LimitError):
    """A mailbox at its bound refused the message, or dropped it for a newer one."""

    code = "mailbox_full"


class TooManyTimers(LimitError):
    """The dispatcher holds as many timers as it may."""

    code = "too_many_timers"


class PoolFull(LimitError):
    """The blocking pool has as much work queued as it may."""

    code = "pool_full"
