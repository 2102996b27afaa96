"""Who hears of what, and when: events, tiles and states to clients without sockets."""

from __future__ import annotations

import pytest
from bridge_hall import FakePeer, Hall, make

from engine_bridge.mirror import Mirror


def heard(peer: FakePeer) -> list[str]:
    return [message["d"]["kind"] for message in peer.take("event")]


def test_events_reach_those_who_see_them_and_their_own_bodies(hall: Hall) -> None:
    near, spectator, blind = hall.player("Ann"), hall.peer(), hall.player("Ben")
    near.reply("watch", {"radius": 3})
    spectator.reply("watch", {"all": True})
    for peer in (near, spectator, blind):
        peer.sent.clear()
    event = hall.stage.event
    hall.step(events=[event("ate", 101), event("fled", 111), event("attacked", 111, 1002)])
    assert heard(near) == ["ate", "attacked"]
    assert heard(spectator) == ["ate", "fled", "attacked"]
    assert heard(blind) == ["attacked"]


def test_whoever_hears_a_voice_is_told_even_out_of_sight(hall: Hall) -> None:
    peer = hall.player()
    hall.step(events=[hall.stage.event("said", 111, text="psst", heard_by=[1001])])
    assert heard(peer) == ["said"]


def test_what_concerns_all_is_told_to_all_who_watch(hall: Hall) -> None:
    watching, blind = hall.player("Ann"), hall.player("Ben")
    watching.reply("watch", {"radius": 1})
    hall.step(
        events=[
            hall.stage.event("time_of_day", 0, name="dusk"),
            hall.stage.event("dam_broken", 111),
        ]
    )
    assert heard(watching) == ["time_of_day", "dam_broken"]
    assert heard(blind) == []


def test_a_change_of_the_map_is_told_once_and_as_tiles(hall: Hall) -> None:
    peer = hall.peer()
    peer.reply("watch", {"all": True})
    rect = (2, 3, 2, 1, b"\x01\x02")
    hall.step(tiles=[rect], events=[hall.stage.event("tiles", 0, x=2, y=3, w=2, h=1)])
    (message,) = peer.take("tiles")
    assert message["seq"] == 1
    assert message["d"] == {"x": 2, "y": 3, "w": 2, "h": 1, "data": b"\x01\x02"}
    assert heard(peer) == []


def test_an_event_that_cannot_be_sent_is_logged_and_harms_nobody(
    hall: Hall, caplog: pytest.LogCaptureFixture
) -> None:
    peer = hall.peer()
    peer.reply("watch", {"all": True})
    bad = hall.stage.event("odd", 100, thing=object())
    hall.step(events=[bad, hall.stage.event("ate", 100)])
    assert heard(peer) == ["ate"]
    assert "odd" in caplog.text


def test_two_spectators_share_one_delta(hall: Hall) -> None:
    peers = [hall.peer(), hall.peer()]
    for peer in peers:
        peer.reply("watch", {"all": True})
    sessions = [peer.session for peer in peers if peer.session]
    assert all(hall.broadcast.state(session) for session in sessions)
    hall.step()
    first, second = (hall.broadcast.state(session) for session in sessions)
    assert first is not None
    assert second is not None
    assert first["t"] == "delta"
    assert first["d"] is second["d"]


def test_a_slow_client_skips_states_and_its_next_delta_still_fits(hall: Hall) -> None:
    peer = hall.player()
    peer.reply("watch", {"radius": 96})
    session = peer.session
    assert session is not None
    mirror = Mirror(64, 48)
    first = hall.broadcast.state(session)
    assert first is not None
    mirror.snapshot(first["d"])
    for _ in range(7):
        hall.step()
    later = hall.broadcast.state(session)
    assert later is not None
    mirror.delta(later["d"])
    assert mirror.entities[100].x == hall.stage.rows[100]["x"]
    assert mirror.tick == hall.stage.tick


def test_an_unchanged_world_is_told_only_now_and_then() -> None:
    hall = make(quiet_ticks=5)
    hall.stage.rows.clear()
    hall.step()
    peer = hall.peer()
    peer.reply("watch", {"all": True})
    session = peer.session
    assert session is not None
    assert hall.broadcast.state(session)
    told = []
    for _ in range(11):
        hall.step()
        message = hall.broadcast.state(session)
        if message is not None:
            told.append(message["d"])
    assert told == [{"tick": 6}, {"tick": 11}]


def test_a_loaded_world_means_a_fresh_snapshot_and_the_loss_of_a_body_it_lacks(
    hall: Hall,
) -> None:
    peer = hall.player()
    peer.reply("watch", {"radius": 96})
    session = peer.session
    assert session is not None
    assert hall.broadcast.state(session)
    hall.stage.epoch = 2
    del hall.stage.rows[1001]
    hall.step()
    hall.settle()
    hall.publish()
    message = hall.broadcast.state(session)
    assert message is not None
    assert (message["t"], message["d"]["epoch"]) == ("snapshot", 2)
    assert peer.code("move", {"x": 1, "y": 1, "key": "m"}) == "not_joined"
