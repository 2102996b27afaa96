"""What `greenroom doctor` does and says about the layouts of the KV memory."""

from __future__ import annotations

from typing import Any, get_args

from rich.markup import escape

from foundation.errors import GreenroomError
from greenroom import console, layouts, minds, settings
from greenroom.findings import Finding
from models.errors import ModelFileError
from models.llama import facts, layout_file
from models.llama.fit import Plan
from models.llama.layout_file import Notebook
from models.llama.layouts import BUDGET_S, Layout
from models.llama.machine import Machine

_LAYOUTS = "KV layouts"


def findings(plan: Plan | None, notebook: Notebook) -> list[Finding]:
    """What was measured of the model's KV layouts, and a file of such measurements that is damaged."""
    found: list[Finding] = []
    if notebook.trouble:
        seen = f"{notebook.trouble}; nothing that was measured is heeded"
        found.append(
            Finding("measurements", True, seen, "greenroom doctor --measure writes it anew")
        )
    measured = plan.wishes.measured if plan is not None else None
    if measured is not None:
        found.append(Finding(_LAYOUTS, True, f"{measured.words}; {measured.verdict}"))
    return found


def measure(config: settings.Settings, machine: Machine) -> tuple[Notebook | None, list[Finding]]:
    """Time the model's KV layouts and remember them; what is remembered now, and what went wrong."""
    if not config.models.enabled:
        return None, [
            Finding(_LAYOUTS, False, "models are off by the settings", "leave --measure out")
        ]
    file = minds.model_file(config.models)
    said = f"Timing both KV layouts of {file.name}, for some {BUDGET_S:g} s once it is loaded"
    console.people.print(escape(said))
    try:
        model = facts.read(file)
        with console.people.status("starting") as line:
            notebook = layouts.measure(
                file,
                model,
                machine,
                minds.wishes_of(config.models),
                lambda doing: line.update(escape(doing)),
            )
    except ModelFileError:
        # What is wrong with the model is a finding of its own.
        return None, []
    except GreenroomError as error:
        return None, [Finding(_LAYOUTS, False, error.message, error.hint)]
    try:
        layout_file.write(layouts.path(), notebook)
    except OSError as error:
        seen = f"{layouts.path()}: not remembered: {error.strerror or error}"
        mend = "make the folder writable, or name another in XDG_CACHE_HOME"
        return notebook, [Finding("measurements", False, seen, mend)]
    return notebook, []


def packed(plan: Plan | None) -> dict[str, Any] | None:
    """The layouts that a plan heeds, for JSON: times, and a request's by both."""
    measured = plan.wishes.measured if plan is not None else None
    if measured is None:
        return None
    requests = {layout: round(measured.request_ms(layout), 3) for layout in get_args(Layout)}
    return {**measured.model_dump(), "request_ms": requests, "faster": measured.faster}
