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

# What points upwards today, and why it is harmless. The list must shrink: a line that is no longer needed fails.
UPWARDS = {
}

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
# Files and functions over the limit, with the length that they must not exceed. The lists must shrink.
LONG_FILES = {
}
LONG_FUNCTIONS = {
}


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
    """Every module of irgrad that a file imports, inside functions too, but for type checkers only."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    checked_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in checked_only:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "irgrad")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are absolute"
            if node.module and node.module.split(".")[0] == "irgrad":
                yield from (_target(node.module, name.name) for name in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and str(argument.value).startswith("irgrad."):
                yield str(argument.value)


def _target(module: str, name: str) -> str:
    """What ``from module import name`` reaches: a submodule or the module."""
    path = ROOT.joinpath(*module.split(".")[1:], name)
    return f"{module}.{name}" if path.with_suffix(".py").exists() or path.is_dir() else module


def test_imports_point_one_way() -> None:
    found: dict[str, list[str]] = {}
    for file in FILES:
        allowed = BELOW[layer(module_of(file))]
        wrong = sorted({target for target in imports(file) if layer(target) not in allowed})
        if wrong:
            found[file] = wrong
    assert found == UPWARDS


@pytest.mark.parametrize("module", ["numba", "llvmlite"])
def test_only_codegen_knows_the_compiler(module: str) -> None:
    assert [file for file in FILES if _imports_package(file, module) and not file.startswith("codegen/")] == []


def test_only_the_graph_knows_networkx() -> None:
    assert [file for file in FILES if _imports_package(file, "networkx")] == ["ir/graph.py"]


def _imports_package(file: str, package: str) -> bool:
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(name.split(".")[0] == package for name in names):
            return True
    return False


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
