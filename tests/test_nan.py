"""The table of docs/nan.md: every row is run, eagerly, compiled and in forward mode."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy
import pytest

import irgrad
import irgrad.numpy as inp
import irgrad.scipy.special as special
import irgrad.scipy.stats as stats
from irgrad.config import CONFIG

pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Output seems independent"),
]
TEXT = (Path(__file__).parent.parent / "docs" / "nan.md").read_text(encoding="utf-8")
ROWS = [tuple(re.findall(r"`([^`]+)`", line)[:2]) for line in TEXT.splitlines() if line.startswith("| `")]
NAMES: dict[str, Any] = {"np": inp, "sp": special, "st": stats}


def check(program: str, value: str, grad: Any) -> None:
    got = eval(program, {**NAMES, "grad": grad})
    want = numpy.array(eval(value, {"np": numpy, "nan": numpy.nan}), dtype=float)
    numpy.testing.assert_allclose(got, want, rtol=1e-7, err_msg=program)


def test_the_table_has_what_was_asked_for() -> None:
    programs = " ".join(program for program, _ in ROWS)
    assert len(ROWS) > 50
    for name in ("linalg.norm", "prod", "where", "sinc", "** 0.0", "logsumexp", "arctan2", "std"):
        assert name in programs


@pytest.mark.parametrize(("program", "value"), ROWS, ids=[program for program, _ in ROWS])
def test_a_row(program: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "evaluate", True)
    check(program, value, irgrad.grad)

    def compiled(f: Any, argnum: int = 0) -> Any:
        jitted = irgrad.jit(irgrad.grad(f, argnum), compile_after=1)

        def twice(*args: Any) -> Any:
            jitted(*args)
            return jitted(*args)

        return twice

    if program.count("grad(") == 1:
        check(program, value, compiled)
        check(program, value, forward)


def forward(f: Any, argnum: int = 0) -> Any:
    """The gradient by forward mode, one direction at a time."""

    def gradient(*args: Any) -> Any:
        x = numpy.asarray(args[argnum], float)
        entries = [irgrad.make_jvp(f, argnum)(*args)(e.reshape(x.shape)[()])[1] for e in numpy.eye(x.size)]
        return numpy.reshape(entries, x.shape)

    return gradient
