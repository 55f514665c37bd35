"""docs/coverage.md: what irgrad does with every public name of numpy, found by calling it. ``python -m tests.surface.table`` writes it."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tests.surface import samples_arrays, samples_numpy, samples_scipy
from tests.surface.probe import EXACT, ITERATED, Outcome, call_of, probe

_ITERATED = ("scipy.integrate", "scipy.optimize")
PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
MODULE = Path(__file__).parents[2] / "irgrad" / "frontend" / "outcomes.py"

VERSIONS = ("2.4", "2.5")  # of numpy, with which the page is the same
HEAD = """# Coverage of numpy and scipy

Every public name of numpy {numpy} and the names of scipy {scipy} that irgrad traces; numpy {same} give the same page. It is
generated: each row is the sample call beside it, made on traced values. Its values are compared with numpy's, its derivatives with
central differences to order 2, eager and compiled; a test makes the page again. `python -m tests.surface.table` writes it.

- **VJP**, **JVP**: reverse and forward mode. *zero*: the function is constant between its jumps, traced values pass and their derivative is
  zero. *-*: no number comes out.
- **Runs**: *compiled*: every operation of the call and of its gradient has a kernel. *host*: these operations are calls of numpy, or of a
  routine of scipy, in the middle of the compiled program (the reasons are below). *Python*: answered while tracing, from
  shapes and dtypes or by a guard. *nothing to compute*: the value itself.

The inputs: X, Y, P, N of shape (3, 4) (P above 1, N with nan), U the same between 0 and 1, T of (2, 3, 4), A and S of (3, 3) (S positive
definite), V, W, G of (4,) (G rising), R of (3,), Q a number, C of (3, 4) and H of (3, 3) complex, I and J whole numbers, B bools.
``write(np, x, f)`` copies `x`, lets `f` change the copy, and answers it.

| host call | reason |
|---|---|
"""

HOSTS = {
    "sort": "numpy's sort is vectorised machine code: a kernel would be no faster",
    "argsort": "as sort; also the gradient of sorting, and of writes at places that may repeat",
    "mask_indices": "one pass over a mask; how many entries it selects is a guard of the path",
    "argpartition": "the order within the parts is numpy's own",
    "searchsorted": "binary search of a large table (a small one is compared in a kernel)",
    "packbits": "bits have no derivative",
    "unpackbits": "bits have no derivative",
    "bitwise_count": "bits have no derivative",
    "gcd": "whole numbers have no derivative",
    "lcm": "whole numbers have no derivative",
    "left_shift": "shifts by the width or more are defined by numpy, not by machines",
    "right_shift": "shifts by the width or more are defined by numpy, not by machines",
    "spacing": "has no derivative",
    "frexp": "the exponent: has no derivative",
    "eig": "LAPACK's general eigenvalue routines balance and iterate; their cost is far above that of a call",
    "eigvals": "as eig",
    "lstsq": "LAPACK's gelsd, by numpy",
    "implicit_solution": "scipy's solver, which calls the compiled function",
}


def sections() -> dict[str, tuple[str, dict[str, str]]]:
    """Heading of each table: its key in the page, and its samples."""
    made = {"numpy": ("numpy", {n: c for n, c in samples_numpy.SAMPLES.items() if "." not in n})}
    for part in ("linalg", "fft"):
        made[part] = (f"numpy.{part}", {n: c for n, c in samples_numpy.SAMPLES.items() if n.startswith(f"{part}.")})
    made["ndarray"] = ("numpy.ndarray", samples_arrays.SAMPLES)
    made["ufuncs"] = ("Methods and keywords of ufuncs", samples_arrays.UFUNC_METHODS)
    for part, samples in samples_scipy.SAMPLES.items():
        made[f"scipy.{part}"] = (f"scipy.{part}", samples)
    return made


def is_present(section: str, name: str) -> bool:
    """Has the installed numpy the name?"""
    if section in ("ufuncs",) or section.startswith("scipy."):
        return True
    owner: Any = np.ndarray if section == "ndarray" else np
    for part in name.split("."):
        if part not in dir(owner):
            return False
        owner = getattr(owner, part)
    return True


@functools.cache
def outcome(section: str, call: str) -> Outcome:
    """What probing gives for a sample."""
    if section.startswith("scipy."):
        return probe(call, samples_scipy.INPUTS, samples_scipy.name_spaces(), ITERATED if section in _ITERATED else EXACT)
    return probe(call, samples_numpy.INPUTS)


def row(section: str, name: str, call: str) -> str:
    found = outcome(section, call)
    runs = f"{found.runs}: {found.note}" if found.note else found.runs
    shown = call.replace("|", "\\|")
    return f"| {name} | `{shown}` | {found.vjp} | {found.jvp} | {runs} |"


def refused(samples: dict[str, str]) -> dict[str, list[str]]:
    """Names without a traced call, by reason."""
    reasons: dict[str, list[str]] = {}
    for name, call in samples.items():
        if is_reason(call):
            reasons.setdefault(call[1:], []).append(name)
    return reasons


def is_reason(call: str) -> bool:
    return call.startswith("-") and call[1:2].islower()


def other_names(module: ModuleType) -> list[str]:
    """Types, constants and submodules of a module."""
    names = [name for name in dir(module) if not name.startswith("_") and hasattr(module, name)]
    return [name for name in names if isinstance(getattr(module, name), (type, ModuleType)) or not callable(getattr(module, name))]


def lines_of(section: str, heading: str, samples: dict[str, str]) -> Iterator[str]:
    yield f"## {heading}\n\n| name | sample | VJP | JVP | runs |\n|---|---|---|---|---|"
    for name in sorted((n for n in samples if not is_reason(samples[n])), key=str.lower):
        if is_present(section, name):
            yield row(section, name, samples[name])
    yield ""
    reasons = refused(samples)
    for reason in sorted(reasons):
        yield f"- No traced call ({reason}): {', '.join(f'`{n}`' for n in sorted(reasons[reason]))}"
    if reasons:
        yield ""
    if section == "numpy":
        others = [n for n in other_names(np) if n not in samples]
        yield f"Types, constants and submodules are numpy's own: {', '.join(f'`{n}`' for n in others)}\n"
    if section.startswith("scipy."):
        rest = samples_scipy.without_sample(section.removeprefix("scipy."))
        if rest:
            yield f"Traced too, without a sample here: {', '.join(f'`{n}`' for n in rest)}\n"


def page() -> str:
    import scipy

    parts = [HEAD.format(numpy=np.__version__, scipy=scipy.__version__, same=" and ".join(VERSIONS)).rstrip()]
    parts += [f"| {op} | {reason} |" for op, reason in HOSTS.items()]
    parts.append("")
    for section, (heading, samples) in sections().items():
        parts += lines_of(section, heading, samples)
    return "\n".join(parts).rstrip() + "\n"


_ROW = re.compile(r"^\| (\S.*?) \| `(.*)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$")


def rows_of(text: str) -> dict[tuple[str, str], str]:
    """The rows of a page by heading and name."""
    found: dict[tuple[str, str], str] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif _ROW.match(line):
            found[heading, line.split(" | ")[0][2:]] = line
    return found


# ---- what the documentation of each function says: the same, by name ----


def qualified(section: str, name: str) -> str:
    """``numpy.linalg.norm``, ``scipy.stats.norm.cdf``; empty for methods of arrays and ufuncs."""
    return f"numpy.{name}" if section in ("numpy", "linalg", "fft") else f"{section}.{name}" if section.startswith("scipy.") else ""


def parameters(section: str, name: str, call: str, by: tuple[int, ...]) -> str:
    """Names of the parameters that are given such inputs, where the sample is one call of a function that has a signature."""
    _, values = call_of(call, INPUTS[section.startswith("scipy.")])
    names = [n for n in INPUTS[section.startswith("scipy.")] if n in _names_in(call)]
    moving = {names[i] for i in by} if len(names) == len(values) else set()
    short = f"np.{name}" if not section.startswith("scipy.") else f"sp.{section.removeprefix('scipy.')}.{name}"
    calls = [node for node in ast.walk(ast.parse(call)) if isinstance(node, ast.Call) and ast.unparse(node.func) == short]
    try:
        owner: Any = importlib.import_module(section if section.startswith("scipy.") else "numpy")
        for part in name.split("."):
            owner = getattr(owner, part)
        order = [p.name for p in inspect.signature(owner).parameters.values() if p.name != "self"]
        if any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(owner).parameters.values()):
            return ""
    except (TypeError, ValueError, AttributeError):
        return ""
    if not calls or any(isinstance(arg, ast.Starred) for arg in calls[0].args):
        return ""
    given = [*zip(order, calls[0].args, strict=False), *((k.arg or "", k.value) for k in calls[0].keywords)]
    return ",".join(key for key, value in given if moving & {n.id for n in ast.walk(value) if isinstance(n, ast.Name)})


def _names_in(call: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(call)) if isinstance(node, ast.Name)}


INPUTS = {False: samples_numpy.INPUTS, True: samples_scipy.INPUTS}


def outcomes() -> dict[str, list[str]]:
    """Functions by what becomes of them: ``name:parameters`` under "VJP|JVP|runs"."""
    found: dict[str, list[str]] = {}
    for section, (_, samples) in sections().items():
        for name, call in samples.items():
            full = qualified(section, name)
            if not full or is_reason(call) or not is_present(section, name):
                continue
            made = outcome(section, call)
            by = parameters(section, name, call, made.by)
            found.setdefault(f"{made.vjp}|{made.jvp}|{made.runs}", []).append(f"{full}:{by}" if by else full)
    return found


def module_text(found: dict[str, list[str]]) -> str:
    """`irgrad.frontend.outcomes` as Python."""
    lines = [
        '"""What docs/coverage.md says of each function, for its documentation. Written by ``python -m tests.surface.table``."""',
        "",
        "OUTCOMES = {  # VJP|JVP|runs -> functions, with the parameters that samples differentiate",
    ]
    for key in sorted(found):
        lines.append(f'    "{key}": """')
        lines += textwrap.wrap(" ".join(sorted(found[key])), 138, break_long_words=False, break_on_hyphens=False)
        lines.append('""",')
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    MODULE.write_text(module_text(outcomes()), encoding="utf-8")
