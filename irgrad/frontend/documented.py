"""Documentation of traced forms: the library's own, and a section on what irgrad adds.

The section says by which arguments a function is differentiable, in which modes, and whether compiled code has a kernel for it or calls
Python. It is put together from the declaration of a primitive, or from what the samples of docs/coverage.md gave (`outcomes`), and for
numpy's functions when their name is first used: all of them are a megabyte.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irgrad.frontend.outcomes import OUTCOMES
from irgrad.ir.primitive import NonDiff, Primitive

TITLE = "Traced by irgrad"
UNTRACED = "irgrad does not trace this function: it is the library's own, and refuses traced arguments with an UnsupportedError."
PLAIN = "Answered from shapes, dtypes or values while tracing: nothing is recorded."
_MODES = {
    ("yes", "yes"): "Differentiable in reverse and forward mode, to any order",
    ("zero", "zero"): "Constant between its jumps: the derivative is 0",
}
_KNOWN: dict[str, tuple[str, str]] = {}  # a qualified name -> the outcome and the parameters


def described(original: Callable[..., Any], impl: Callable[..., Any] | None = None, name: str = "", more: str = "") -> str:
    """The docstring of `original` with a section on its traced form: that of `impl`, and what is known of a function of this name."""
    parts = [_plain(impl.__doc__)] if impl is not None and impl.__doc__ else []
    known = [part for part in [*parts, more or of_samples(name or qualified(original))] if part]
    return with_section(original.__doc__, known) if known else original.__doc__ or ""


_LATER: dict[Any, tuple[Any, ...]] = {}  # traced forms -> what their documentation is made from


def explain_later(form: Any, original: Callable[..., Any], impl: Callable[..., Any] | None = None, more: str = "") -> None:
    """Give a traced form the library's documentation, as far as that takes no memory, until `explained` adds the section."""
    text = original.__doc__
    form.__doc__ = text if original.__doc__ is text else None  # compiled functions make a new one at each look
    _LATER[form] = (original, impl, "", more)


def explained(form: Any) -> Any:
    """The form itself, with its documentation."""
    try:
        made_from = _LATER.pop(form, None)
    except TypeError:  # not hashable: no function
        return form
    if made_from is not None:
        form.__doc__ = described(*made_from)
    return form


def _plain(text: str) -> str:
    """The docstring of a handler without its margin."""
    return inspect.cleandoc(text) if "\n" in text else text.strip()


def with_section(text: str | None, paragraphs: Sequence[str]) -> str:
    """A docstring with a section at its end, indented as the lines above it."""
    text = text or ""
    found = re.search(r"\n( *)\S", text)
    margin = found.group(1) if found else ""
    lines = [TITLE, "-" * len(TITLE)]
    for paragraph in filter(None, paragraphs):
        lines += [*paragraph.splitlines(), ""]
    return text.rstrip() + "\n\n" + "\n".join(margin + line if line else "" for line in lines[:-1]) + "\n"


def qualified(function: Any) -> str:
    """``numpy.linalg.norm`` for that function."""
    name = getattr(function, "__name__", "")
    module = getattr(function, "__module__", None) or ("numpy" if getattr(np, name, None) is function else "scipy.special")
    parts = [part for part in module.split(".") if not part.startswith("_")]
    return ".".join([*parts[:2], name])


def of_samples(name: str) -> str:
    """What the samples of a function showed; empty if it has none."""
    if not _KNOWN:
        for outcome, names in OUTCOMES.items():
            for entry in names.split():
                key, _, by = entry.partition(":")
                _KNOWN[key] = outcome, by
    if name not in _KNOWN:
        return ""
    outcome, by = _KNOWN[name]
    vjp, jvp, runs = outcome.split("|")
    if runs == "Python":
        return PLAIN
    modes = _MODES.get((vjp, jvp), f"Reverse mode: {vjp}; forward mode: {jvp}")
    checked = f" (checked by {', '.join(by.split(','))})" if by else ""
    return f"{modes}{checked}. {_RUNS.get(runs, '') or _host(runs)}"


_RUNS = {
    "compiled": "Compiled: every operation has a kernel.",
    "nothing to compute": "Nothing to compute: the value itself.",
}


def _host(runs: str) -> str:
    return f"Compiled code calls Python for {runs.removeprefix('host: ')} (docs/coverage.md says why)."


# ---- primitives ----


def of_primitive(text: str | None, ufunc: np.ufunc, op: Primitive) -> str:
    """The section of a ufunc that is one primitive: by its operands."""
    names = _operand_names(text, ufunc)
    rules = op.vjp
    runs = "Compiled: it has a kernel." if op.emit and not op.host else "Compiled code calls Python for it."
    if isinstance(rules, NonDiff):
        return f"The derivative is 0: {rules.reason}. {runs}"
    each: list[Any] = [rules[k] if isinstance(rules, tuple) and k < len(rules) else rules for k in range(ufunc.nin)]
    missing = {name: rule.reason for name, rule in zip(names, each, strict=True) if hasattr(rule, "reason")}
    flat = [name for name, rule in zip(names, each, strict=True) if rule is None]
    moving = [name for name in names if name not in missing and name not in flat]
    parts = [f"Differentiable in reverse and forward mode, to any order, by {', '.join(moving)}."] if moving else []
    parts += [f"Constant in {', '.join(flat)}: the derivative is 0."] if flat else []
    parts += [f"By {name} it has no derivative here: {reason}." for name, reason in missing.items()]
    return " ".join([*parts, runs])


def _operand_names(text: str | None, ufunc: np.ufunc) -> list[str]:
    """As its signature names them: ``betainc(a, b, x, out=None)``."""
    found = re.match(rf"{re.escape(ufunc.__name__)}\(([^)]*)\)", (text or "").strip())
    names = [part.strip() for part in found.group(1).split(",")] if found else []
    plain = [name for name in names if name.isidentifier()]
    return plain[: ufunc.nin] if len(plain) >= ufunc.nin else [f"operand {k + 1}" for k in range(ufunc.nin)]
