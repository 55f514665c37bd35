"""The tree is the architecture: imports point one way, files and functions stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import irgrad

ROOT = Path(irgrad.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))

BASE, IR, OPS, RUNTIME, PUBLIC = "base", "ir", "ops", "runtime", "public"
MIDDLE = ("frontend", "passes", "codegen")
BASE_MODULES = ("config", "errors", "version", "pytree")
BELOW = {BASE: {BASE}, IR: {BASE, IR}, OPS: {BASE, IR, OPS}}
BELOW |= {each: {BASE, IR, OPS, each} for each in MIDDLE}
BELOW[RUNTIME] = {BASE, IR, OPS, *MIDDLE, RUNTIME}
BELOW[PUBLIC] = {*BELOW[RUNTIME], PUBLIC}

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
# What is over the limit, with the length that it must not exceed. These lists only ever shrink: a line that is not needed fails.
LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}


def layer(module: str) -> str:
    """The layer of a dotted module name."""
    parts = module.split(".")
    if len(parts) == 1:
        return PUBLIC
    if parts[1] in (IR, OPS, RUNTIME, *MIDDLE):
        return parts[1]
    return BASE if parts[1] in BASE_MODULES else PUBLIC


def module_of(file: str) -> str:
    return ".".join(("irgrad", *Path(file).with_suffix("").parts)).removesuffix(".__init__")


def imports(file: str) -> Iterator[str]:
    """Every module that a file imports, inside functions and by name too, but not for type checkers only."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    unseen = {id(inner) for node in ast.walk(tree) if _is_for_checkers(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are absolute"
            yield from (_target(node.module or "", name.name) for name in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "import_module", "__import__"):
            yield from (str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant))


def _is_for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _target(module: str, name: str) -> str:
    """What ``from module import name`` reaches: a submodule of irgrad or the module."""
    head, *parts = module.split(".")
    path = ROOT.joinpath(*parts, name)
    return f"{module}.{name}" if head == "irgrad" and (path.with_suffix(".py").exists() or path.is_dir()) else module


def test_imports_point_one_way() -> None:
    found: dict[str, list[str]] = {}
    for file in FILES:
        allowed = BELOW[layer(module_of(file))]
        wrong = {target for target in imports(file) if target.split(".")[0] == "irgrad" and layer(target) not in allowed}
        if wrong:
            found[file] = sorted(wrong)
    assert found == {}


HOMES = {"numba": "codegen/", "llvmlite": "codegen/", "networkx": "ir/graph.py", "optree": "pytree.py"}


@pytest.mark.parametrize(("package", "home"), HOMES.items())
def test_a_dependency_has_one_home(package: str, home: str) -> None:
    users = [file for file in FILES if any(target.split(".")[0] == package for target in imports(file))]
    assert users
    assert [file for file in users if not file.startswith(home)] == []


UPWARDS = ["import irgrad.runtime.jit", "from irgrad.frontend import trace", "def f():\n    from irgrad import passes"]


@pytest.mark.parametrize("broken", UPWARDS)
def test_an_upward_import_is_seen(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "codegen").mkdir()
    (tmp_path / "passes").mkdir()
    (tmp_path / "codegen" / "new.py").write_text(broken, encoding="utf-8")
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    monkeypatch.setattr(f"{__name__}.FILES", ["codegen/new.py"])
    with pytest.raises(AssertionError):
        test_imports_point_one_way()


def test_files_are_short() -> None:
    lengths = {file: len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in FILES}
    _check(lengths, MAX_FILE_LINES, LONG_FILES)


def test_functions_are_short() -> None:
    lengths: dict[str, int] = {}
    for file in FILES:
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                key = f"{file}:{node.name}"
                lengths[key] = max(lengths.get(key, 0), node.end_lineno - node.lineno + 1)
    _check(lengths, MAX_FUNCTION_LINES, LONG_FUNCTIONS)


def _check(lengths: dict[str, int], limit: int, exceptions: dict[str, int]) -> None:
    too_long = {name: length for name, length in lengths.items() if length > max(limit, exceptions.get(name, 0))}
    assert not too_long, f"more than {limit} lines: split by meaning"
    done = [name for name in exceptions if lengths.get(name, 0) <= limit]
    assert not done, "no longer exceptions: take them off the list"
