"""Modules keep what is private to themselves, import each other in no circle, and stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "reverie"
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 350  # lines
OTHERS = {"os", "torch"}  # whose names with an underscore are used, and documented
PUBLIC = {"_asdict", "_replace"}  # of every NamedTuple


def name_of(file: Path) -> str:
    """The module, as it is imported."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def defined(tree: ast.AST) -> Iterator[str]:
    """The private names that a module, or a class, defines: by def, class or assignment, to itself or to self."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found = node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found = node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and own(node):
            found = node.attr
        else:
            continue
        if is_private(found):
            yield found


def own(node: ast.Attribute) -> bool:
    """Whether it is of an object that the code itself is a method of."""
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def foreign(tree: ast.AST) -> Iterator[str]:
    """The private names of others that a module touches: imported from them, or asked of what is theirs."""
    mine = set(defined(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("reverie"):
            yield from (alias.name for alias in node.names if is_private(alias.name))
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in mine:
            if not (isinstance(node.value, ast.Name) and node.value.id in OTHERS):
                yield ast.unparse(node)
        elif isinstance(node, ast.Compare) and "__name__" in {getattr(n, "attr", "") for n in ast.walk(node)}:
            yield f"{ast.unparse(node)}, a class that is told by its name"


@cache
def classes() -> dict[str, list[tuple[Path, ast.ClassDef]]]:
    """Every class of the package, by its name."""
    found: dict[str, list[tuple[Path, ast.ClassDef]]] = {}
    for file in FILES:
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append((file, node))
    return found


def ancestors(kind: ast.ClassDef) -> Iterator[tuple[Path, ast.ClassDef]]:
    """The classes of the package that a class inherits from, by their names."""
    for base in kind.bases:
        for found in classes().get(ast.unparse(base).partition("[")[0].rpartition(".")[2], []):
            if found[1] is not kind:
                yield found
                yield from ancestors(found[1])


def inherited(file: Path, kind: ast.ClassDef) -> Iterator[str]:
    """The private names of classes of other modules that a class inherits and defines anew."""
    for place, base in ancestors(kind):
        if place != file:
            yield from (f"{kind.name}.{name}" for name in set(defined(kind)) & set(defined(base)))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_module_touches_what_is_private_to_another(file: Path) -> None:
    tree = parsed(file)
    kinds = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert [*foreign(tree), *(name for kind in kinds for name in inherited(file, kind))] == []


def test_what_is_private_is_found() -> None:
    """The test above sees what it is to see."""
    code = (
        "from reverie.files import _sync\n"
        "class Mine(Draw):\n"
        "    def again(self):\n        self._calls()\n        super()._bits()\n"
        "        self._own = 1\n        self._own\n"
        "found = pools._slots\n"
        "known = type(error).__name__ == 'Error'\n"
    )
    told = set(foreign(ast.parse(code)))
    assert told == {
        *("_sync", "self._calls", "super()._bits", "pools._slots"),
        "type(error).__name__ == 'Error', a class that is told by its name",
    }
    anew = ast.parse("class Mine(DrawEach):\n    def __init__(self):\n        self._slots = 0\n").body[0]
    assert isinstance(anew, ast.ClassDef)
    assert list(inherited(PACKAGE / "other.py", anew)) == []
    private = ast.parse("class Loader2(BatchLoader):\n    def _fetch(self):\n        pass\n").body[0]
    assert isinstance(private, ast.ClassDef)
    assert list(inherited(PACKAGE / "other.py", private)) == ["Loader2._fetch"]


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules that a module imports, wherever it does, but for what only types need."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in names)
        yield from imported(node)


def test_modules_import_each_other_in_no_circle() -> None:
    graph = {name: {other for other in imported(parsed(file)) if other in MODULES} for name, file in MODULES.items()}
    graph["reverie"] = set()  # which imports lazily whatever is asked of it
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, and names the circle
    assert order.index("reverie.errors") < order.index("reverie.data.open") < order.index("reverie.training.recipe")


def test_no_file_is_long() -> None:
    lengths = {file.relative_to(PACKAGE).as_posix(): len(file.read_text("utf-8").splitlines()) for file in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
