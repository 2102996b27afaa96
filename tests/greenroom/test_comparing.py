"""Two versions of the prompts are asked at the same moments of one lived world, and told apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from greenroom import comparing, headless
from greenroom.cli import app
from greenroom.settings import ModelSettings
from models.errors import PromptError
from models.request import ModelRequest
from models.scripted import ScriptedBackend, plain_rule
from plugins.manager import build_ruleset
from world.errors import ReplayError
from world.inputs import Input
from world.world import StepResult, World

WORDY = (
    '{% include "panel.j2" %}\n\nLook about you, then choose. Choices: {{ choices | join(", ") }}.'
)
RULES = build_ruleset()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the valley with a few people, on reflexes."""
    out = tmp_path_factory.mktemp("compared") / "run"
    quiet = ModelSettings(enabled=False)
    headless.simulate(
        headless.RunRequest("valley", 240, 7, 12, quiet, out), on_tick=lambda tick: None
    )
    return out


@pytest.fixture(scope="module")
def asked(run: Path) -> list[comparing.Moment]:
    return comparing.moments(run / "world", RULES, 12)


@pytest.fixture
def wordy(tmp_path: Path) -> Path:
    folder = tmp_path / "wordy"
    folder.mkdir()
    (folder / "decide_turn.j2").write_text(WORDY)
    return folder


def test_the_same_moments_are_drawn_each_time_and_lie_all_over_the_run(
    run: Path, asked: list[comparing.Moment]
) -> None:
    again = comparing.moments(run / "world", RULES, 12)
    assert [(m.situation, m.choices) for m in again] == [(m.situation, m.choices) for m in asked]
    ticks = [moment.situation.tick for moment in asked]
    assert ticks == [20 * n + 10 for n in range(12)]
    assert len({moment.situation.entity for moment in asked}) > 3
    assert all(len(moment.choices) > 1 and not moment.situation.downed for moment in asked)


def test_a_run_that_comes_out_otherwise_is_refused_with_its_tick(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the rules had changed since: from a tick on the state is another one.
    told = World.step

    def otherwise(world: World, inputs: Sequence[Input]) -> StepResult:
        result = told(world, inputs)
        return replace(result, hash=result.hash ^ 1) if result.tick == 100 else result

    monkeypatch.setattr(World, "step", otherwise)
    with pytest.raises(ReplayError, match="tick 100 comes out otherwise"):
        comparing.moments(run / "world", RULES, 3)


def test_a_version_compared_with_itself_asks_and_answers_the_same(
    asked: list[comparing.Moment],
) -> None:
    told = comparing.summary(comparing.compare(asked, {}, {}, ScriptedBackend(inline=True)))
    assert (told["moments"], told["prompts_differ"], told["same"]) == (12, 0, 12)
    assert told["a"]["valid"] == told["b"]["valid"] == 12
    assert told["a"]["acts"] == told["b"]["acts"]


def test_both_versions_are_asked_greedily_with_the_same_choices_and_seed(
    asked: list[comparing.Moment],
) -> None:
    heard: list[ModelRequest] = []

    def rule(request: ModelRequest) -> object:
        heard.append(request)
        return plain_rule(request)

    backend = ScriptedBackend(rule, inline=True)  # type: ignore[arg-type]
    comparing.compare(asked, {}, {"decide_turn": WORDY}, backend)
    assert len(heard) == 24
    for n in range(12):
        # Every other moment begins with the second version.
        a, b = heard[2 * n : 2 * n + 2] if n % 2 == 0 else heard[2 * n : 2 * n + 2][::-1]
        assert a.temperature == b.temperature == 0.0
        assert (a.seed, a.schema, a.asker) == (b.seed, b.schema, b.asker)
        assert "Look about you" in b.messages[-1]["content"]
        assert "Look about you" not in a.messages[-1]["content"]


def test_an_answer_that_names_no_choice_is_not_valid_and_never_the_same(
    asked: list[comparing.Moment],
) -> None:
    backend = ScriptedBackend(lambda request: "I would rather not.", inline=True)
    told = comparing.summary(comparing.compare(asked[:2], {}, {}, backend))
    assert (told["a"]["valid"], told["b"]["valid"], told["same"]) == (0, 0, 0)


def test_a_template_that_fails_on_a_real_moment_is_told_and_not_replaced_in_silence(
    asked: list[comparing.Moment],
) -> None:
    # It is always noon in the made-up values that templates are tried on.
    frail = "{{ 1 // (panel.time == 'noon') }} {{ choices | join }}"
    with pytest.raises(PromptError, match=r"version B: decide_turn fails at tick"):
        comparing.compare(asked, {}, {"decide_turn": frail}, ScriptedBackend(inline=True))


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("decide.j2", "go", "there is no prompt named 'decide'"),
        ("decide_turn.j2", "{{ choises }}", "'choises' is undefined"),
        ("decide_turn.j2", "{% if %}", "the prompt 'decide_turn' fails"),
        ("decide_turn.j2", "x" * 65_537, "65537 characters"),
    ],
)
def test_a_template_that_can_not_serve_is_refused_by_its_file(
    tmp_path: Path, name: str, text: str, why: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(PromptError) as refused:
        comparing.templates(tmp_path)
    assert str(tmp_path / name) in refused.value.message
    assert why in refused.value.message
    assert refused.value.hint


@pytest.mark.engine
def test_the_command_tells_both_versions_figures_of_the_house_model(run: Path, wordy: Path) -> None:
    called = ["prompts", str(run), str(wordy), "--moments", "6", "--json"]
    result = CliRunner().invoke(app, called)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["moments"] == told["prompts_differ"] == 6
    assert told["b"]["mean_prompt_tokens"] > told["a"]["mean_prompt_tokens"] > 50
    assert told["a"]["valid"] == told["b"]["valid"] == 6
    result = CliRunner().invoke(app, [*called, "--against", str(wordy)])
    again = json.loads(result.stdout)
    assert (again["prompts_differ"], again["same"]) == (0, 6)
    chose = [[(row["b"]["act"], row["b"]["reason"]) for row in t["answers"]] for t in (told, again)]
    assert chose[0] == chose[1]
