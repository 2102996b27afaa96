"""An opponent's process: it gets the cores on the terms that our engine gets them on."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from benchmarks.llm.child import Child
from benchmarks.llm.sides import SideError

_SAYS = "import json, os; print(json.dumps({'session': os.getsid(0), 'group': os.getpgrp()}))"


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are POSIX")
def test_it_is_in_the_benchs_session_and_in_a_group_that_can_be_ended_alone() -> None:
    async def told() -> dict[str, int]:
        child = Child([sys.executable, "-c", _SAYS], "child")
        await child.start()
        try:
            return await child.hear()
        finally:
            await child.close()

    found = asyncio.run(told())
    assert found["session"] == os.getsid(0)
    assert found["group"] != os.getpgrp()


def test_its_last_words_are_told_when_it_ends_early() -> None:
    async def ended() -> None:
        child = Child([sys.executable, "-c", "raise SystemExit('no such model')"], "child")
        await child.start()
        try:
            await child.hear()
        finally:
            await child.close()

    with pytest.raises(SideError, match="child ended: no such model"):
        asyncio.run(ended())
