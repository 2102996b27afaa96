"""The floors: who may import whom, read from the source itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    "foundation": 0,
    "world": 1,
    "models": 1,
    "actors": 2,
    "engine_bridge": 3,
    "plugins": 3,
    "greenroom": 4,
}


def modules(package: str) -> Iterator[Path]:
    return iter(sorted((ROOT / package).rglob("*.py")))


def imported_names(path: Path) -> Iterator[str]:
    """Absolute names of every module imported anywhere in the file, lazily or not."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the floor; name the package"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", FLOORS)
def test_a_floor_imports_only_from_the_floors_below_it(package: str) -> None:
    offences = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imported_names(path)
        if (top := name.split(".")[0]) in FLOORS
        and top != package
        and FLOORS[top] >= FLOORS[package]
    ]
    assert offences == []


@pytest.mark.parametrize("package", FLOORS)
def test_no_floor_imports_the_trainer_the_benchmarks_or_the_tests(package: str) -> None:
    # The front door may start a benchmark: it finds it by path, not by import.
    offences = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imported_names(path)
        if name.split(".")[0] in {"training", "benchmarks", "tests", "clients"}
    ]
    assert offences == []


def test_modules_of_one_package_never_import_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    known = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in FLOORS
        for path in modules(package)
    }
    for package in FLOORS:
        for path in modules(package):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            graph[name] = {n for n in imported_names(path) if n in known and n != name}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_every_module_says_in_its_first_line_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for package in FLOORS
        for path in modules(package)
        if not (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").strip()
    ]
    assert silent == []
