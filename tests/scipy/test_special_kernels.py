"""Special functions as programs: every sample row as plain Python kernels, and a bounded slice as machine code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import special

import irgrad
from irgrad.config import CONFIG
from irgrad.ir.primitive import REGISTRY
from irgrad.ops.routines import has_routine, special_address
from tests.ops.samples import Sample, samples_special
from tests.support.kernels import compiled, difference, program

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")]
SAMPLES = samples_special.SAMPLES
ULPS = {"erf": 8, "erfc": 8, "zeta": 8, "log_expit": 8}  # by libm, by a routine of our own, as text
ULPS["gammaln"] = 16  # near its roots, where scipy's own is off by as much
ULPS["psi"] = 64  # at -1/2 terms cancel, of which it is 2 units
ULPS["ndtr"] = 256  # scipy's own is 376 from the exact value of ndtr(-30), ours 220
ULPS |= {
    "betainc": 16,
    "betaincc": 16,
    "betaincinv": 256,
    "stdtr": 16,
    "stdtrit": 16,
    "fdtr": 16,
    "fdtrc": 64,
    "fdtri": 256,
    "betainccinv": 256,
}  # scipy's float32 loops compute in float32, ours in float64
HOST = {  # results through pointers, or a Python warning from inside the routine
    "sine_integral", "cosine_integral", "sinh_integral", "cosh_integral", "fresnel_sine", "fresnel_cosine", "bdtr", "bdtrc", "bdtri",
}  # fmt: skip


def check(name: str, sample: Sample, got: Any) -> None:
    with np.errstate(all="ignore"):
        want = REGISTRY[name].evaluate(*sample.operands, **sample.params)
    wrong = difference(got, want, ULPS.get(name, 4))
    assert not wrong, f"{name}{sample.operands}: {wrong}"


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_as_plain_kernels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real numbers are computed in kernels, complex ones in numpy."""
    monkeypatch.setattr(CONFIG, "evaluate", True)
    for sample in SAMPLES[name]:
        got, in_numpy = compiled(program(REGISTRY[name], sample.params), *sample.operands)
        assert in_numpy == (name in HOST or np.iscomplexobj(got))
        check(name, sample, got)


COMPILED = {
    "by address": ["gammaln", "psi", "erfinv", "betainc", "jv", "expn", "kn", "xlogy"],
    "others": ["erf", "erfc", "zeta", "expit", "log_expit", "ndtr"],
}


@pytest.mark.parametrize("family", COMPILED)
def test_samples_as_machine_code(family: str) -> None:
    rows = [(name, sample) for name in COMPILED[family] for sample in SAMPLES[name] if not np.iscomplexobj(sample.operands[-1])]
    operands = [x for _, sample in rows for x in sample.operands]

    def together(first: Any, *given: Any) -> Any:
        outputs, at = [], 0
        for name, sample in rows:
            count = len(sample.operands)
            outputs.append(program(REGISTRY[name], {})(*given[at : at + count]))
            at += count
        return tuple(outputs)

    got, in_numpy = compiled(together, np.float64(1.0), *operands)
    assert in_numpy == 0
    for (name, sample), value in zip(rows, got, strict=True):
        check(name, sample, value)


def test_routines_are_found_by_name() -> None:
    assert has_routine("gammaln")
    assert special_address("psi") != special_address("gammaln")
    assert not has_routine("no_such_function")
    assert not has_routine("fresnel")  # answers through pointers


def test_the_far_tail_of_erfc_is_exact() -> None:
    """Against libm's, which is; scipy's is off by some hundred units in the last place there."""
    x = np.concatenate([np.linspace(-3.0, 27.3, 2001), [0.0, np.inf, -np.inf]])
    got, in_numpy = compiled(special.erfc, x)
    want = np.array([math.erfc(v) for v in x])
    assert in_numpy == 0
    assert not difference(got, want, 4)
    np.testing.assert_allclose(irgrad.value_and_grad(lambda x: np.sum(special.erfc(x)))(x)[0], want.sum(), rtol=1e-12)
