"""A real Godot plays against a real server: looking on, talking, fighting, losing the line."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.godot

ROOT = Path(__file__).parents[2]
BEASTS = "wolf,deer,boar,hare,fox,sheep,rat"


def played(scenario: Any) -> dict[str, Any]:
    return {line.what: line.data for line in scenario.finish()}


def test_a_spectator_sees_the_whole_map_and_everyone_move(server: Any, play: Any) -> None:
    told = played(play("look_on", server.url))

    world, snapshot, deltas = told["world"], told["snapshot"], told["deltas"]
    assert world["scene"] == "valley"
    assert snapshot["tiles"] == world["width"] * world["height"]
    assert snapshot["count"] > 20
    assert snapshot["names"] >= 12
    assert snapshot["time"]
    assert deltas["ticks"] == sorted(deltas["ticks"])
    assert deltas["moved"] > 0
    assert told["watching"]["all"] is True
    assert told["refused"]["code"] == "not_joined"


def test_a_player_is_answered_in_pieces_that_add_up(server: Any, play: Any) -> None:
    told = played(play("talk", server.url))

    joined, speech = told["joined"], told["speech"]
    assert joined["in_sight"]
    assert joined["name"] == "Robin"
    assert joined["player"]
    assert told["panel"]["entity"] == speech["to"]
    assert speech["ok"], speech
    assert speech["reply"]["text"]
    assert speech["reply"]["source"]
    assert {speaker for speaker, _, _ in speech["pieces"]} == {speech["to"]}
    streamed = "".join(piece for _, piece, _ in speech["pieces"])
    assert streamed.split() == speech["reply"]["text"].split()
    assert any(
        event["entity"] == told["said"]["me"] and "news from the mill" in event["text"]
        for event in told["said"]["events"]
    )
    assert told["nobody"]["ok"] is False
    assert told["nobody"]["reply"]["code"] == "no_valid_target"
    wish = told["wish"]
    assert (wish["body"]["backend"], wish["body"]["cache"]) == ("nobody", "off")
    assert wish["reply"]["code"] == "backend_refused"
    assert wish["errors"] == [["say", wish["reply"]]] and wish["reply"]["hint"]


def test_a_player_hunts_a_beast_and_the_blow_is_committed_and_seen(server: Any, play: Any) -> None:
    fight = played(play("fight", server.url, BEASTS))["fight"]

    assert fight["committed"]["tick"] > 0, fight
    (blow, *_) = [one for one in fight["blows"] if one["kind"] == "attacked"]
    assert blow["target"] == fight["target"]
    assert blow["data"]["damage"] > 0
    assert fight["hp_at"] < fight["hp_before"]


def test_after_the_line_is_cut_the_same_body_goes_on(
    server: Any, cutting_proxy: Any, play: Any
) -> None:
    scenario = play("resume", cutting_proxy.url)
    me = scenario.wait_for("ready")["me"]

    cutting_proxy.cut()
    mended = played(scenario)["mended"]

    assert mended["opened"] == [False, True]
    assert [one["retrying"] for one in mended["lost"]] == [True]
    assert mended["me"] == me
    assert mended["in_sight"]
    assert mended["newer"]
    assert mended["walk_ok"], mended["walk"]
    assert cutting_proxy.accepted == 2


def test_a_speech_that_is_cut_off_goes_on_where_it_was_without_repeats(
    halting: Any, play: Any
) -> None:
    scenario = play("cut_speech", halting.proxy.url)
    scenario.wait_for("speaking")

    halting.proxy.cut()
    scenario.wait_for("mended")
    halting.go_on.set()
    heard = played(scenario)["heard"]

    assert heard["ok"], heard
    assert heard["text"] == halting.line
    assert "".join(heard["pieces"]) == halting.line
    assert len(heard["pieces"]) > 2
    assert heard["opened"] == [False, True]


def test_the_demo_shows_the_answer_in_a_bubble(server: Any, play: Any) -> None:
    told = played(play("demo", server.url))

    ((_, answer),) = told["bubbles"]["done"]
    assert answer in told["bubbles"]["texts"]
    assert "What is the news?" in told["bubbles"]["texts"]
    assert told["map"]["placed"] > 1
    assert told["map"]["ground"] == told["map"]["world"]


def test_the_ten_lines_of_the_readme_make_an_npc_talk(
    server: Any, play: Any, godot_project: Path
) -> None:
    readme = (ROOT / "clients/godot/addons/greenroom/README.md").read_text()
    example = readme.split("```gdscript\n", 1)[1].split("```", 1)[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    assert "ws://127.0.0.1:8765" in example
    (godot_project / "tests/readme_example.gd").write_text(
        example.replace("ws://127.0.0.1:8765", server.url)
    )

    label = played(play("ten_lines"))["label"]

    assert label["text"].split() == label["answer"].split()
    assert label["answer"]


def test_what_piled_up_is_worked_off_within_each_frames_budget(server: Any, play: Any) -> None:
    told = played(play("frames", server.url))

    assert sum(told["frugal"]) > 5
    assert max(told["frugal"]) == 1
    assert max(told["generous"]) > 1


class Oddity:
    """A TCP server that takes connections and does what `behave` says with each."""

    def __init__(self, behave: Any) -> None:
        self.met = 0
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self.met += 1
            threading.Thread(target=self._behave, args=(line,), daemon=True).start()

    def close(self) -> None:
        self._listener.close()


def hang_up(line: socket.socket) -> None:
    line.close()


def talk_rubbish(line: socket.socket) -> None:
    line.sendall(b"\x00\xff" * 2000)
    line.close()


@pytest.mark.parametrize("behave", [hang_up, talk_rubbish])
def test_a_server_that_makes_no_sense_is_tried_again_while_frames_go_on(
    behave: Any, play: Any
) -> None:
    oddity = Oddity(behave)
    try:
        told = played(play("keep_trying", oddity.url))
    finally:
        oddity.close()

    assert told["tries"]["lost"] >= 3
    assert told["tries"]["retrying"] is True
    assert told["tries"]["frames"] > 60
    assert told["asked"]["code"] == "disconnected"
    assert oddity.met >= 3


def test_without_connect_to_every_request_fails_with_the_mend(play: Any) -> None:
    told = played(play("not_connected"))

    assert told["failed"]["code"] == "not_connected"
    assert "connect_to" in told["failed"]["message"]
    assert told["signal"] == ["say", "not_connected"]
    assert told["error"] == [["say", told["failed"]]]
    assert set(told["failed"]) == {"code", "message", "hint", "retryable", "retry_after_ms"}
