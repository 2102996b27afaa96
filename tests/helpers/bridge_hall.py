"""Gateway, sessions, feed and broadcast without sockets: fake clients, stage and clock around them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from bridge_fakes import FakeStage

from engine_bridge.broadcast import Broadcast
from engine_bridge.errors import CloseCode
from engine_bridge.feed import Feed
from engine_bridge.gateway import Gateway
from engine_bridge.messages import SERVER, parse_request
from engine_bridge.sessions import Session, Sessions
from engine_bridge.settings import BridgeSettings
from models.errors import BackendRefused


class FakePeer:
    """A client without a socket: keeps what it was sent."""

    def __init__(self, hall: Hall) -> None:
        self.session: Session | None = None
        self.sent: deque[dict[str, Any]] = deque()
        self.closed: CloseCode | None = None
        self._hall = hall
        self._ids = iter(range(1, 10_000))

    def send(self, message: dict[str, Any]) -> None:
        if self.closed is None:
            SERVER[message["t"]].body.model_validate(message["d"])
            self.sent.append(message)

    def nudge(self) -> None:
        pass

    def close(self, code: CloseCode, reason: str) -> None:
        self.closed = code

    def welcome(self) -> None:
        pass

    def ask(self, t: str, d: dict[str, Any] | None = None, id: int | None = None) -> int:
        number = next(self._ids) if id is None else id
        message = {"t": t, "id": number, "d": d or {}}
        if t == "ack":
            del message["id"]
        self._hall.gateway.handle(self, parse_request(message))
        return number

    def reply(self, t: str, d: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask and take the one answer."""
        number = self.ask(t, d)
        self._hall.settle()
        (answer,) = [message for message in self.sent if message.get("re") == number]
        self.sent.remove(answer)
        return answer

    def code(self, t: str, d: dict[str, Any] | None = None) -> str:
        answer = self.reply(t, d)
        assert answer["t"] == "error", answer
        code: str = answer["d"]["code"]
        return code

    def take(self, t: str) -> list[dict[str, Any]]:
        """All messages of a type that came, taken out."""
        found = [message for message in self.sent if message["t"] == t]
        self.sent = deque(message for message in self.sent if message["t"] != t)
        return found


class NowStage(FakeStage):
    """A fake stage whose answers wait until the test settles them, on the test's thread."""

    def __init__(self) -> None:
        super().__init__()
        self.close()
        self.waiting: deque[Callable[[], None]] = deque()
        self._thread = self  # type: ignore[assignment]

    def submit(self, call: Callable[..., None], *args: object) -> None:
        self.waiting.append(lambda: call(*args))

    def shutdown(self, wait: bool) -> None:
        pass


class Hall:
    """Gateway, sessions, feed and broadcast over one fake stage and one fake clock."""

    def __init__(self, stage: NowStage, **settings: Any) -> None:
        self.stage = stage
        self.now = 0.0
        self.backends = ["local", "big"]
        self.settings = BridgeSettings(**settings)
        self.sessions = Sessions(self.settings)
        self.feed = Feed(stage, lambda: None)
        self.broadcast = Broadcast(self.feed, self.settings.quiet_ticks, stage.give_way)
        self.gateway = Gateway(
            stage,
            self.sessions,
            self.feed,
            self.settings,
            clock=lambda: self.now,
            wall_ms=lambda: 1_000,
            hop=lambda function, *args: function(*args),
            admit=self.admit,
        )
        self.feed.start()
        self.settle()
        self.publish()

    def admit(self, backend: str, purpose: str) -> None:
        if backend not in self.backends or purpose != "speech":
            raise BackendRefused(f"no {backend!r}; for {purpose}: {', '.join(self.backends)}")

    def settle(self) -> None:
        """Let the stage answer all that waits."""
        while self.stage.waiting:
            self.stage.waiting.popleft()()

    def publish(self) -> None:
        batch = self.feed.collect()
        if batch is not None:
            self.broadcast.publish(batch, self.sessions)

    def step(self, **changes: Any) -> None:
        self.stage.step(**changes)
        self.publish()

    def peer(self, hello: bool = True) -> FakePeer:
        peer = FakePeer(self)
        if hello:
            assert peer.reply("hello", {"client": "c", "sdk": "s"})["t"] == "welcome"
        return peer

    def player(self, name: str = "Ann") -> FakePeer:
        peer = self.peer()
        assert peer.reply("join", {"name": name, "key": "join"})["t"] == "joined"
        self.step()
        return peer

    def reconnect(self, old: FakePeer, last_seq: int = 0) -> FakePeer:
        """A new connection that takes up the session of one that was cut."""
        assert old.session is not None
        token = old.session.token
        self.gateway.lost(old)
        peer = self.peer()
        answer = peer.reply("resume", {"token": token, "last_seq": last_seq})
        assert answer["t"] == "resumed", answer
        return peer


def make(**settings: Any) -> Hall:
    return Hall(NowStage(), **settings)


def talk(hall: Hall) -> tuple[FakePeer, int, Any]:
    peer = hall.player()
    number = peer.ask("say", {"to": 100, "text": "Good day", "key": "s"})
    return peer, number, hall.stage.lines[0].listener
