"""What a scene says that everyone knows is given to the minds of a served world and of a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from greenroom import app, headless
from greenroom.app import App
from greenroom.settings import ModelSettings, Settings
from world.compiled import CommonKnowledge

MILLPOND = Path(__file__).parents[2] / "examples" / "scenes" / "millpond"


def test_a_scenes_common_knowledge_reaches_the_company_of_a_server_and_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Path(shutil.copytree(MILLPOND, tmp_path / "millpond"))
    text = (scene / "scene.toml").read_text()
    said = 'seed = 7\ncommon_knowledge = "The mill has stood still since the flood."'
    (scene / "scene.toml").write_text(text.replace("seed = 7", said, 1))
    given: list[object] = []

    class Enough(Exception):
        pass

    def company(*_: object, common: CommonKnowledge, **__: object) -> None:
        given.append(common)
        raise Enough

    monkeypatch.setattr(app, "Company", company)
    monkeypatch.setattr(headless, "Company", company)
    none = ModelSettings(enabled=False)
    wanted = Settings(world={"scene": str(scene), "data": tmp_path / "world"}, models=none)  # type: ignore[arg-type]
    with pytest.raises(Enough):
        App(wanted).start()
    request = headless.RunRequest(str(scene), 2, 7, None, none, tmp_path / "run")
    with pytest.raises(Enough):
        headless.simulate(request, lambda tick: None)
    assert given == [CommonKnowledge("The mill has stood still since the flood.")] * 2
