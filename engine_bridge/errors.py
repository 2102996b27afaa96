"""What can go wrong on the wire, on either side of it; codes are those of the protocol.

::

    GreenroomError
    ├── BridgeError            bridge          the bridge can't start or go on
    │   └── AddressInUse       address_in_use  another program holds the port
    ├── ProtocolError          bad_message …   a frame or message that breaks the protocol
    └── ClientError            client          what a client of the bridge can meet
        ├── CantConnect        cant_connect    no server there, or it refused the connection
        ├── ConnectionLost     connection_lost the socket ended before the answer came
        ├── SessionLost        resume_failed   the server no longer knows the session
        └── RequestFailed      <wire code>     the server answered with an error
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import Final

from foundation.errors import GreenroomError


class CloseCode(IntEnum):
    """Why the server closed the connection: application close codes of the WebSocket."""

    PROTOCOL = 4000
    VERSION = 4001
    HELLO_TIMEOUT = 4002
    FLOOD = 4003
    TOO_SLOW = 4004
    HEARTBEAT = 4005
    TOO_LARGE = 4006
    GOING_DOWN = 4007
    REPLACED = 4008
    AUTH = 4009
    FULL = 4010


CLOSE_MEANINGS: dict[CloseCode, str] = {
    CloseCode.PROTOCOL: "a frame was not a strict msgpack or JSON map; mend the client",
    CloseCode.VERSION: "no offered subprotocol is spoken here; the reason names those that are",
    CloseCode.HELLO_TIMEOUT: "hello did not come in time; send it first, at once",
    CloseCode.FLOOD: "far more frames than the rate in welcome; slow down, then resume",
    CloseCode.TOO_SLOW: "the client read too slowly for its reliable events; resume, or watch less",
    CloseCode.HEARTBEAT: "no sign of life from the client for three heartbeats; resume",
    CloseCode.TOO_LARGE: "a frame was larger than max_frame in welcome; mend the client",
    CloseCode.GOING_DOWN: "the server is shutting down; connect again later",
    CloseCode.REPLACED: "the session was resumed on another connection; this one is over",
    CloseCode.AUTH: "hello carried no token, or a wrong one, and this server asks for it",
    CloseCode.FULL: "the server takes no more clients; connect again later",
}

ERROR_MEANINGS: dict[str, str] = {
    "bad_message": "the message does not have the fields its type asks for; the message names them",
    "unknown_type": "no message has this type",
    "not_ready": "hello comes first",
    "too_large": "the frame is larger than max_frame; the connection closes with 4006",
    "too_deep": "the frame nests deeper than max_depth",
    "rate_limited": "faster than the rate in welcome; wait retry_after_ms",
    "unsupported_version": "the subprotocol is not spoken here; the connection closes with 4001",
    "unauthorised": "the token is missing or wrong; the connection closes with 4009",
    "resume_failed": "the session is unknown or has expired; join again",
    "not_joined": "the request needs a body in the world; join first",
    "busy": "too much under way, or the place is taken; try again later",
    "retry": "storage lags behind the world; try again after retry_after_ms",
    "no_answer": "no answer came in time, and whether it happened is not known; ask again with the "
    "same key",
    "unknown_entity": "no entity has this id, or it is out of sight",
    "cancelled": "the request was withdrawn by cancel",
    "internal": "a fault of the server; it is in the server's log",
    "no_such_entity": "the world has no entity with this id",
    "dead": "the body, or its target, is dead",
    "no_valid_target": "the target can't be acted upon so",
    "out_of_range": "the target is too far away",
    "cooling_down": "too soon after the last time",
    "blocked": "something is in the way",
    "unknown_action": "the vocabulary in welcome has no such action",
    "bad_body": "the action's body has wrong fields; the message names them",
    "not_yours": "the entity is not this session's body",
    "too_late": "the tick it was meant for has passed",
    "backend_refused": "the backend named is unknown, switched off or not asked for this; the message "
    "names those that may be",
}

HINTS: dict[str, str] = {
    "not_joined": "send join first",
    "busy": "wait retry_after_ms and ask again",
    "retry": "wait retry_after_ms and ask again",
    "no_answer": "ask again with the same key",
    "unknown_entity": "take an id that a snapshot or delta has shown",
    "no_such_entity": "take an id that a snapshot or delta has shown",
    "dead": "a dead body may be replaced: join again",
    "no_valid_target": "choose another target",
    "out_of_range": "move closer",
    "cooling_down": "wait retry_after_ms and ask again",
    "blocked": "find another way",
    "bad_body": "the reference page lists each action's fields",
    "not_yours": "act with the entity that joined named",
    "too_late": "ask again without a tick",
    "backend_refused": "name one of those, or leave `backend` out",
}
"""The mend that is told with a code when the refusal names none of its own."""

RETRYABLE = frozenset({"rate_limited", "busy", "retry", "no_answer", "cooling_down", "too_late"})
"""Error codes after which the same request may succeed."""

RETRY_MS: Final = {"retry": 250, "busy": 500, "cooling_down": 250, "too_late": 0}
"""After how long a request may well succeed, in milliseconds, where that can be told."""


class BridgeError(GreenroomError):
    """The bridge can't start or go on."""

    code = "bridge"


class AddressInUse(BridgeError):
    """Another program holds the port; the message names it."""

    code = "address_in_use"


def address_error(error: OSError, host: str, port: int) -> BridgeError:
    """A typed error for a port that can't be listened on."""
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(
            f"port {port} of {host} is taken by another program",
            "stop it, or choose another port; 0 takes a free one",
        )
    return BridgeError(f"can't listen on {host} port {port}: {error}", "check host and port")


class ProtocolError(GreenroomError):
    """A frame or message breaks the protocol.

    `code` is the wire's error code. `close` is the close code when the connection can't go on.
    """

    def __init__(
        self, code: str, message: str, hint: str = "", close: CloseCode | None = None
    ) -> None:
        super().__init__(message, hint)
        self.code = code
        self.close = close
        self.retryable = code in RETRYABLE


class ClientError(GreenroomError):
    """What a client of the bridge can meet."""

    code = "client"


class CantConnect(ClientError):
    """No server answers at the address, or it refused the connection."""

    code = "cant_connect"
    retryable = True


class ConnectionLost(ClientError):
    """The socket ended before the answer came. `close_code` is the server's, when it gave one."""

    code = "connection_lost"
    retryable = True

    def __init__(self, message: str, hint: str = "", close_code: int | None = None) -> None:
        super().__init__(message, hint)
        self.close_code = close_code


class SessionLost(ClientError):
    """The server no longer knows the session: the body is gone; join again."""

    code = "resume_failed"


class RequestFailed(ClientError):
    """The server answered with an error; `code` is the wire's."""

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        retryable: bool = False,
        retry_after_ms: int = 0,
    ) -> None:
        super().__init__(message, hint)
        self.code = code
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms
