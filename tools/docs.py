"""Writes the generated pages of docs/, and with --check fails when one is stale, dead or silent."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import typer

from engine_bridge import describe
from greenroom.cli import app
from greenroom.settings import Settings

ROOT = Path(__file__).parents[1]
ROWS = [
    *(f"A{n}" for n in range(1, 10)),
    *(f"B{n}" for n in range(1, 10)),
    *(f"C{n}" for n in range(1, 7)),
    *(f"D{n}" for n in range(1, 11)),
    *(f"E{n}" for n in range(1, 8)),
    *(f"F{n}" for n in range(1, 6)),
    *(f"G{n}" for n in range(1, 11)),
    *(f"H{n}" for n in range(1, 7)),
]


def settings_page() -> str:
    """docs/settings.md from the settings tree."""
    lines = [
        "# Settings",
        "",
        "<!-- written by tools/docs.py from greenroom/settings.py -->",
        "",
        "One tree: a TOML file (`--config FILE.toml`), then the environment, then flags; the later wins.",
        "The environment variable of a key is `GREENROOM_SECTION__KEY`: `GREENROOM_MODELS__LOCAL_ONLY=true`.",
        "",
    ]
    for name, section in Settings.model_fields.items():
        kind: Any = section.annotation
        if not hasattr(kind, "model_fields"):
            lines += [f"`{name}` (`GREENROOM_{name.upper()}`): default `{section.default}`", ""]
            continue
        lines += [f"## [{name}]", "", inspect.getdoc(kind) or "", ""]
        lines += ["| key | means | type | default |", "|---|---|---|---|"]
        for key, field in kind.model_fields.items():
            type_name = re.sub(r"\b\w+\.(?=\w)", "", str(field.annotation)).replace("|", "or")
            type_name = re.sub(r"<class '(\w+)'>", r"\1", type_name)
            bounds = ", ".join(
                f"{sign} {getattr(bound, attribute)}"
                for bound in field.metadata
                for attribute, sign in (("ge", "≥"), ("le", "≤"), ("lt", "<"))
                if hasattr(bound, attribute)
            )
            means = (field.description or "").rstrip(".")
            lines.append(
                f"| `{key}` | {means} | {type_name}{', ' if bounds else ''}{bounds} | `{field.default}` |"
            )
        lines.append("")
    return "\n".join(lines)


def cli_page() -> str:
    """docs/cli.md from the command line's own help."""
    group: Any = typer.main.get_command(app)
    lines = [
        "# Command line",
        "",
        "<!-- written by tools/docs.py from the commands' own help -->",
        "",
        "Machine output goes to stdout with `--json`; progress and logs go to stderr.",
        "Exit codes: 0 done, 1 failed, 2 wrong usage.",
        "",
    ]
    lines += _command_section(group, "greenroom")
    return "\n".join(lines)


def _command_section(group: Any, prefix: str) -> list[str]:
    lines: list[str] = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            lines += _command_section(command, f"{prefix} {name}")
            continue
        lines += [f"## {prefix} {name}", "", (command.help or "").strip(), ""]
        rows = [_option_row(one) for one in command.params if one.name != "help"]
        if rows:
            lines += ["| option | what | default |", "|---|---|---|", *rows, ""]
    return lines


def _option_row(one: Any) -> str:
    names = (*one.opts, *one.secondary_opts)
    label = (
        f"`{one.name.upper()}`"
        if one.param_type_name == "argument"
        else ", ".join(f"`{option}`" for option in names)
    )
    default = one.default
    shown = "" if default in (None, False, ()) or callable(default) else f"`{default}`"
    return f"| {label} | {getattr(one, 'help', '') or ''} | {shown} |"


def pages() -> dict[Path, str]:
    """Every generated page, by path."""
    return {
        ROOT / "docs" / "settings.md": settings_page(),
        ROOT / "docs" / "cli.md": cli_page(),
    }


def stale_pages() -> list[str]:
    """Generated pages whose text on disk is not what would be written now."""
    return [
        f"{path.relative_to(ROOT)} is stale: run `make docs`"
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def dead_links() -> list[str]:
    """Relative links in any page that lead nowhere."""
    folders = [ROOT / "docs", ROOT / "clients", ROOT / "training"]
    written = [*ROOT.glob("*.md"), *(page for folder in folders for page in folder.rglob("*.md"))]
    links = [
        (page, target)
        for page in written
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:", target)
    ]
    return [
        f"{page.relative_to(ROOT)} links to {target}, which is not there"
        for page, target in links
        if not (page.parent / target).exists()
    ]


def feature_gaps() -> list[str]:
    """Rows of docs/features.md that are missing, have no honest state, or show no command."""
    text = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    found = []
    for row in ROWS:
        match = re.search(rf"^\| {row} \|([^|]*)\|([^|]*)\|([^|]*)\|(.*)\|$", text, re.MULTILINE)
        if not match:
            found.append(f"docs/features.md has no row {row}")
            continue
        state, where, shown = match[2].strip(), match[3].strip(), match[4].strip()
        if state not in {"works", "thin", "not yet"}:
            found.append(
                f"docs/features.md row {row}: state {state!r} is not works, thin or not yet"
            )
        elif state != "not yet" and ("`" not in shown or not where):
            found.append(f"docs/features.md row {row} is {state} but names no place or no command")
        found += [
            f"docs/features.md row {row} names {path}, which is not there"
            for path in re.findall(r"`([\w/]+(?:\.\w+|/))`", where)
            if not (ROOT / path).exists()
        ]
    return found


def main() -> int:
    """Write, or check. Exit code 1 when the check finds anything."""
    outputs = [str(ROOT / "docs"), str(ROOT / "tests" / "vectors")]
    if "--check" not in sys.argv[1:]:
        for path, text in pages().items():
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
        return describe.main(outputs)
    problems = [*stale_pages(), *dead_links(), *feature_gaps()]
    for problem in problems:
        print(problem)
    code = describe.main([*outputs, "--check"])
    print(f"docs check: {len(problems)} problems")
    return 1 if problems or code else 0


if __name__ == "__main__":
    sys.exit(main())
