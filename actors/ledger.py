"""What the director must not lose: the world, what waits, what was asked, who listens."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import pykka

from actors.admission import Desk
from actors.attention import Attention, Questions
from actors.battlefield import Alarms
from actors.messages import HZ
from actors.pace import Pace
from actors.rewind import Rewind
from actors.right_of_way import RightOfWay
from actors.settings import CompanySettings
from actors.watch import Watch
from world.compiled import GroupInfo
from world.frame import Frame
from world.moment import Moment
from world.store.records import TickRecord
from world.world import World

__all__ = ["FOR_A_MIND", "FOR_A_PLAYER", "Ledger", "StoreLike"]

FOR_A_PLAYER: Final = "client:say"
FOR_A_MIND: Final = "director:say"
"""Who proposes what an entity says in its stead, each with a counter of its own by entity."""


class StoreLike(Protocol):
    """Where ticks and turns are kept: `world.store.Store`, or a test's stand-in."""

    @property
    def overloaded(self) -> bool: ...

    @property
    def last_tick(self) -> int: ...

    def append(self, record: TickRecord, *, timeout: float = 0.0) -> None: ...

    def on_synced(self, callback: Callable[[int], None]) -> Callable[[], None]: ...

    def checkpoint(
        self, state: Moment, *, state_hash: int | None = None, give_way: Callable[[], None] = ...
    ) -> None: ...

    def put_turn(self, npc_id: int, player: str, turn: Mapping[str, Any]) -> int: ...

    def turns(self, npc_id: int, player: str, limit: int = 8) -> list[dict[str, Any]]: ...


class Ledger:
    """Outlives the director's restarts; touched on the dispatcher only.

    `recruit` starts a mind for an entity that may speak and has none; `dismiss` lets go of what is known of
    one that has left; `reflex` gives a line for one
    whose mind can't; `recast` makes the minds those of another world than the one given; `on_stepped`
    is called at the end of each step, `between_steps` when it is over. `thinks`: there is a model to ask. `held`: no step is taken, since
    another state is being loaded.
    """

    def __init__(
        self,
        world: World,
        settings: CompanySettings,
        store: StoreLike | None,
        *,
        headless: bool = False,
        thinks: bool = False,
        player_species: str = "",
    ) -> None:
        self.world = world
        self.settings = settings
        self.store = store
        self.headless = headless
        self.thinks = thinks
        self.player_species = player_species
        self.desk = Desk(settings.proposals_waiting, settings.outcomes_waiting)
        self.questions = Questions()
        self.attention = Attention(settings.percepts_waiting, world.seed, settings.turn_ticks)
        self.alarms = Alarms(settings.alarm_ticks, settings.group_ticks, settings.plan_every_ticks)
        self.rewind = Rewind(world)
        self.watch = Watch()
        self.pace = Pace(1.0 / HZ)
        self.backlog: deque[TickRecord] = deque()
        self.storage_fault = ""
        self.subscribers: dict[int, Callable[[Frame], None]] = {}
        self.minds: dict[int, pykka.ActorRef[Any]] = {}
        self.groups: dict[int, pykka.ActorRef[Any]] = {}
        self.group_info: Mapping[int, GroupInfo] = dict(world.groups)
        self.coordinator: pykka.ActorRef[Any] | None = None
        self.builder: pykka.ActorRef[Any] | None = None
        self.recruit: Callable[[int], pykka.ActorRef[Any] | None] = lambda entity: None
        self.dismiss: Callable[[int], None] = lambda entity: None
        self.reflex: Callable[[World, int, str], str] = lambda world, entity, text: "..."
        self.recast: Callable[[World], None] = lambda before: None
        self.held = False
        self.on_stepped: Callable[[], None] = lambda: None
        self.between_steps: Callable[[], None] = lambda: None
        self.right_of_way = RightOfWay()
        self.n: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.synced_tick = world.tick

    @property
    def behind(self) -> bool:
        """Whether storage is so late that requests from outside are to come again later."""
        return bool(self.backlog) or (self.store is not None and self.store.overloaded)

    def number(self, proposer: str) -> int:
        """The proposer's next counter."""
        self.n[proposer] += 1
        return self.n[proposer]

    def forget(self, entity: int) -> None:
        """Let go of all that is kept of an entity that has left the world: only a load brings it back."""
        self.attention.forget(entity)
        for proposer in (FOR_A_PLAYER, FOR_A_MIND):
            self.n.pop(f"{proposer}:{entity}", None)
        self.dismiss(entity)
