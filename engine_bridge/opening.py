"""Opens a connection: hello is answered with what holds here, and an old session is taken up again."""

from __future__ import annotations

import hmac

from engine_bridge import messages as m
from engine_bridge.errors import CloseCode, ProtocolError
from engine_bridge.feed import Feed
from engine_bridge.hop import HoppingStage
from engine_bridge.protocol import error_message
from engine_bridge.sessions import Client, Session, Sessions
from engine_bridge.settings import BridgeSettings


class Opening:
    """Carries out hello and resume."""

    def __init__(
        self, stage: HoppingStage, sessions: Sessions, feed: Feed, settings: BridgeSettings
    ) -> None:
        self._stage = stage
        self._sessions = sessions
        self._feed = feed
        self._settings = settings
        self._facts: m.WorldFacts | None = None
        self._server = ""
        self._epoch = -1

    def facts(self) -> m.WorldFacts:
        """What welcome tells of the world, checked; read anew when the epoch changes."""
        if self._facts is None or self._epoch != self._feed.epoch:
            about = dict(self._stage.about())
            self._epoch = about.pop("epoch")
            self._server = about.pop("server")
            self._facts = m.WorldFacts.model_validate(about)
        return self._facts

    def hello(self, client: Client, re: int, body: m.Hello) -> None:
        """Give the client a session, or say why not and close."""
        wanted = self._settings.token
        if wanted is not None and not hmac.compare_digest(
            wanted.encode(), (body.token or "").encode()
        ):
            client.send(
                error_message(
                    re,
                    "unauthorised",
                    "the token is missing or wrong",
                    "put the server's token into hello; on the command line, --token",
                )
            )
            client.close(CloseCode.AUTH, "the token is missing or wrong")
            return
        facts = self.facts()
        try:
            session = self._sessions.open(client)
        except ProtocolError as error:
            client.send(error_message(re, error.code, error.message, error.hint, 1000))
            client.close(CloseCode.FULL, error.message)
            return
        client.session = session
        settings = self._settings
        welcome = m.Welcome(
            session=session.id,
            resume_token=session.token,
            heartbeat_s=settings.heartbeat_s,
            limits=m.LimitFacts(
                max_frame=settings.max_frame,
                max_depth=settings.max_depth,
                rate=settings.rate,
                in_flight=settings.in_flight,
                text=m.MAX_TEXT,
                max_radius=settings.max_radius,
                resume_s=settings.resume_s,
            ),
            server=self._server,
            world=facts,
            epoch=self._epoch,
        )
        client.send(m.reply("welcome", re, welcome))
        client.welcome()

    def resume(self, client: Client, mine: Session, re: int, body: m.Resume) -> None:
        """Put the session of a token in the place of `mine`, which hello has just opened."""
        if mine.entity or mine.running or mine.ring.last:
            raise ProtocolError("resume_failed", "resume comes right after welcome")
        session, missed, lost = self._sessions.resume(body.token, body.last_seq, client)
        self._sessions.drop(mine)
        client.session = session
        resumed = m.Resumed(
            session=session.id,
            epoch=self._feed.epoch,
            replayed=len(missed),
            lost=lost,
            entity=session.entity,
        )
        client.send(m.reply("resumed", re, resumed))
        for message in missed:
            client.send(dict(message))
        client.nudge()
