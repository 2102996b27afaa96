"""Which layout of the KV memory is faster here: measured when asked for, remembered, heeded by every plan."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from foundation.errors import UsageError
from greenroom.folders import user_cache
from models.errors import ModelDoesNotFit
from models.llama import layout_file, layout_measure
from models.llama.facts import ModelFacts
from models.llama.fit import Plan, fit
from models.llama.gguf_file import fingerprint
from models.llama.layout_file import Notebook
from models.llama.layouts import Circumstances
from models.llama.machine import Machine
from models.llama.settings import EngineSettings
from models.llama.sizing import Wishes

FILE = "layouts.json"

_log = logging.getLogger("greenroom.layouts")


def path() -> Path:
    """The file that remembers."""
    return user_cache() / FILE


def remembered() -> Notebook:
    """What was measured on this machine before; a damaged file is ignored and named in the log."""
    notebook = layout_file.read(path())
    if notebook.trouble:
        _log.warning(
            "%s; it is ignored, and written anew by greenroom doctor --measure", notebook.trouble
        )
    return notebook


def heed(
    file: Path, model: ModelFacts, machine: Machine, wishes: Wishes, notebook: Notebook
) -> Plan:
    """The plan for a model in a file, with the layout that was measured to be faster, if one was.

    Raises as `fit` does.
    """
    # Each layout was timed with the attention that is its own by rule.
    if notebook.entries and not model.recurrent and wishes.flash is None:
        # What does not fit, or can't be read any more, is told of by those whose concern it is.
        with suppress(ModelDoesNotFit, OSError):
            entry = notebook.find(circumstances(file, machine, unified(model, machine, wishes)))
            if entry is not None:
                wishes = replace(wishes, measured=entry.layouts)
    return fit(model, machine, wishes)


def unified(model: ModelFacts, machine: Machine, wishes: Wishes) -> EngineSettings:
    """The sizes that layouts are measured with, whichever layout and context are asked for.

    Raises as `fit` does.
    """
    return fit(model, machine, replace(wishes, streams=False, context=None)).settings


def circumstances(file: Path, machine: Machine, settings: EngineSettings) -> Circumstances:
    """What a measurement with these sizes holds for. Raises OSError when the file can't be read."""
    try:
        library = metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        library = ""
    layers = settings.gpu_layers if machine.gpus else 0
    return Circumstances(
        model=f"{fingerprint(file)} {file.stat().st_size}",
        threads=settings.threads,
        gpu_layers=layers,
        kv_type=settings.kv_type,
        library=library[:64],
        cpu=machine.cpu[:200],
        gpus=tuple(f"{gpu.name} {gpu.description}"[:200] for gpu in machine.gpus) if layers else (),
    )


def measure(
    file: Path,
    model: ModelFacts,
    machine: Machine,
    wishes: Wishes,
    tell: Callable[[str], None],
) -> Notebook:
    """Time both layouts of a model now; what was measured before and this, not yet remembered.

    Raises UsageError for a recurrent model, ModelUnavailable when it could not be measured, and as `fit` does.
    """
    if model.recurrent:
        raise UsageError(
            f"{model.name} is a recurrent model, which keeps no cells to lay out",
            "leave --measure out",
        )
    if wishes.flash is not None:
        raise UsageError(
            "each layout is timed with the attention that is its own by rule",
            "leave --flash and --no-flash out, or --measure",
        )
    fit(model, machine, wishes)
    settings = unified(model, machine, wishes)
    here = circumstances(file, machine, settings)
    found = layout_measure.measure(file, settings, tell)
    return layout_file.read(path()).noting(here, found, datetime.now(UTC))
