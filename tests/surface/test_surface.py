"""docs/coverage.md is what probing gives today, for every public name."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.frontend.outcomes import OUTCOMES
from irgrad.ir.primitive import REGISTRY
from tests.surface import samples_numpy, table
from tests.surface.probe import probe

WRITTEN = table.rows_of(table.PAGE.read_text(encoding="utf-8"))
SECTIONS = table.sections()
KNOWN = {name for _, samples in SECTIONS.values() for name in samples}
SAME_NUMPY = np.__version__.rsplit(".", 1)[0] in table.VERSIONS


@pytest.mark.parametrize("section", SECTIONS)
def test_the_page_is_what_probing_gives(section: str) -> None:
    heading, samples = SECTIONS[section]
    wrong = []
    for name, call in samples.items():
        if table.is_reason(call) or not table.is_present(section, name):
            continue
        found = table.row(section, name, call)
        if WRITTEN.get((heading, name), found) != found:
            wrong.append(f"{found}\n  instead of {WRITTEN[heading, name]}")
    assert not wrong, "python -m tests.surface.table writes the page:\n" + "\n".join(wrong)


@pytest.mark.skipif(not SAME_NUMPY, reason="the page is of another numpy")
@pytest.mark.parametrize("section", [section for section in SECTIONS if table.qualified(section, "x")])
def test_the_documentation_says_the_same(section: str) -> None:
    said = {entry: outcome for outcome, names in OUTCOMES.items() for entry in names.split()}
    for name, call in SECTIONS[section][1].items():
        if table.is_reason(call) or not table.is_present(section, name):
            continue
        found = table.outcome(section, call)
        by = table.parameters(section, name, call, found.by)
        entry = f"{table.qualified(section, name)}{':' if by else ''}{by}"
        assert said.get(entry) == f"{found.vjp}|{found.jvp}|{found.runs}", f"{entry}: python -m tests.surface.table writes it"


@pytest.mark.parametrize("section", ["numpy", "linalg", "fft", "ndarray", "ufuncs"])
def test_every_sample_has_a_row(section: str) -> None:
    heading, samples = SECTIONS[section]
    missing = [
        n for n, call in samples.items() if not table.is_reason(call) and table.is_present(section, n) and (heading, n) not in WRITTEN
    ]
    assert not missing, "python -m tests.surface.table writes the page"


@pytest.mark.skipif(not SAME_NUMPY, reason="the page is of another numpy")
def test_every_public_name_is_in_the_table() -> None:
    others = table.other_names(np)
    assert [n for n in dir(np) if not n.startswith("_") and hasattr(np, n) and n not in others and n not in KNOWN] == []
    for part in ("linalg", "fft"):
        module = getattr(np, part)
        inner = table.other_names(module)
        assert [n for n in dir(module) if not n.startswith("_") and n not in inner and f"{part}.{n}" not in KNOWN] == []
    inherited = set(dir(object)) | {"__doc__", "__hash__", "__module__", "_set_dtype", "_set_shape"}  # numpy 2.5's own use
    assert [n for n in dir(np.ndarray) if n not in inherited and n not in KNOWN] == []


def test_every_host_call_has_a_reason() -> None:
    runs = [line.split(" | ")[-1].rstrip(" |") for (heading, _), line in WRITTEN.items() if not heading.startswith("scipy")]
    found = {op for text in runs if text.startswith("host: ") for op in text.removeprefix("host: ").split(", ")}
    assert found
    assert found <= set(table.HOSTS)


def test_nothing_of_numpy_is_refused() -> None:
    refused = [key for key, line in WRITTEN.items() if "refused" in line and not key[0].startswith("scipy")]
    assert refused == []


# ---- the probe itself ----


def test_a_wrong_derivative_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    tanh = REGISTRY["tanh"]
    broken = dataclasses.replace(tanh, vjp=(lambda b, ct, out, x: ct,))
    import irgrad.numpy as inp

    monkeypatch.setattr(inp.tanh, "op", broken)
    with pytest.raises(AssertionError, match="gradient and differences"):
        probe("np.tanh(X)", samples_numpy.INPUTS)


def test_a_wrong_value_fails() -> None:
    def wrong(x: Any) -> Any:
        return x * (1.0 + 1e-6)

    class Space:
        def __getattr__(self, name: str) -> Any:
            return wrong

    function, values = probe.__globals__["call_of"]("sp.exp(X)", samples_numpy.INPUTS)
    assert function(None, Space(), *values) is not None
    with pytest.raises(AssertionError, match="tolerance"):
        probe("sp.exp(X)", samples_numpy.INPUTS, (np, Space()))


def test_a_host_call_is_named() -> None:
    assert probe("np.sort(V)", samples_numpy.INPUTS).runs == "host: argsort, sort"
    assert probe("np.exp(V)", samples_numpy.INPUTS) == probe("np.sin(V)", samples_numpy.INPUTS)


def test_a_refusal_is_a_row_with_its_reason() -> None:
    found = probe("np.array(V).view(np.int64)", samples_numpy.INPUTS)
    assert found.runs == "refused"
    assert "ndarray.view" in found.note
    assert irgrad.errors.UnsupportedError is not None
