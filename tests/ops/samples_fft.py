"""Sample rows of Fourier transforms (even and odd lengths, one point, every norm, several axes) and of correlations."""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.errors import TraceError, TraceValueError
from tests.ops.samples import Bad, Sample, draw

NORMS = ("backward", "ortho", "forward")


def complex_rows() -> list[Sample]:
    rows: list[Sample] = []
    for norm in NORMS:
        for inverse in (False, True):
            rows.append(Sample((draw((3, 4)),), {"axes": (1,), "inverse": inverse, "norm": norm}))
            rows.append(Sample((draw((5,), dtype="complex128"),), {"axes": (0,), "inverse": inverse, "norm": norm}))
    params: dict[str, Any] = {"inverse": False, "norm": "ortho"}
    rows += [
        Sample((draw((2, 3, 4), dtype="complex128"),), {"axes": (0, 2), **params}),
        Sample((draw((3, 4)).T,), {"axes": (0, 1), **params}),
        Sample((draw((0, 3)),), {"axes": (1,), **params}),
        Sample((draw((1,), dtype="complex128"),), {"axes": (0,), **params}),
    ]
    return rows + [Sample((draw((4,), 0, 5, d),), {"axes": (0,), **params}, 0) for d in ("float32", "complex64", "int64", "bool")]


def real_rows() -> list[Sample]:
    rows = [Sample((draw((n,)),), {"axis": 0, "norm": norm}) for n in (1, 2, 5, 6) for norm in NORMS]
    rows += [Sample((draw((3, 4, 2)),), {"axis": axis, "norm": "ortho"}) for axis in range(3)]
    return rows + [Sample((draw((5,), 0, 5, d),), {"axis": 0, "norm": "forward"}, 0) for d in ("float32", "int32")]


def inverse_real_rows() -> list[Sample]:
    rows = [Sample((draw((n // 2 + 1,), dtype="complex128"),), {"axis": 0, "n": n, "norm": norm}) for n in (1, 2, 5, 6) for norm in NORMS]
    rows += [
        Sample((draw((3, 4, 3), dtype="complex128"),), {"axis": axis, "n": n, "norm": "ortho"}) for axis, n in ((0, 4), (1, 7), (2, 5))
    ]
    rows.append(Sample((draw((3, 4)),), {"axis": 1, "n": 6, "norm": "backward"}))
    return rows + [Sample((draw((3,), 0, 5, d),), {"axis": 0, "n": 5, "norm": "forward"}, 0) for d in ("float32", "complex64", "int64")]


def correlation_rows() -> list[Sample]:
    """One to three axes, stacks on both sides, kernels shorter and longer than the result, one entry, strided operands."""
    pairs = [
        ((2, 3, 5), (4, 3, 2)), ((1, 1, 9), (1, 1, 7)), ((1, 1, 9), (1, 1, 3)), ((2, 1, 4), (1, 1, 4)), ((1, 2, 3), (2, 2, 1)),
        ((2, 2, 4, 5), (3, 2, 2, 4)), ((1, 2, 6, 7), (2, 2, 2, 3)), ((1, 1, 3, 3, 3), (2, 1, 2, 1, 2)), ((0, 1, 3), (2, 1, 2)),
    ]  # fmt: skip
    margins = [
        ((1, 1, 9), (1, 1, 3), (2,), (2,)), ((1, 2, 3), (3, 2, 3), (2,), (1,)), ((1, 1, 3), (2, 1, 5), (4,), (3,)),
        ((2, 3, 4, 5), (2, 3, 3, 2), (2, 1), (0, 1)), ((1, 1, 3, 3, 3), (1, 1, 2, 3, 2), (0, 2, 1), (1, 1, 0)),
    ]  # fmt: skip
    rows = [Sample((draw(x), draw(w))) for x, w in pairs]
    rows += [
        Sample((draw((4, 3, 10))[::2, ::-1, ::2], draw((2, 3, 2)).swapaxes(0, 1).reshape(3, 2, 2).swapaxes(0, 1))),
        Sample((draw((2, 3, 5), dtype="complex128"), draw((4, 3, 2), dtype="complex128"))),
    ]
    rows += [Sample((draw(x), draw(w)), {"low": low, "high": high}) for x, w, low, high in margins]
    return rows + [
        Sample((draw((2, 1, 5), 0, 9, d), draw((1, 1, 2), 0, 9, d)), order=0) for d in ("float32", "complex64", "int64", "uint8")
    ]


SAMPLES: dict[str, list[Sample]] = {
    "fft": complex_rows(),
    "rfft": real_rows(),
    "irfft": inverse_real_rows(),
    "correlate": correlation_rows(),
}

BAD: list[tuple[str, Bad]] = [
    ("fft", Bad((np.ones(3),), TraceValueError, r"norm is 'no'; expected", {"axes": (0,), "inverse": False, "norm": "no"})),
    ("fft", Bad((np.ones((2, 0)),), TraceValueError, r"axis among \(1,\) is empty", {"axes": (1,), "inverse": False, "norm": "ortho"})),
    ("rfft", Bad((np.ones(3) * 1j,), TraceError, r"expected a real operand", {"axis": 0, "norm": "ortho"})),
    ("correlate", Bad((np.ones((1, 2, 3)), np.ones((1, 1, 2))), TraceValueError, r"expected shapes \(a, d, \*n\) and \(b, d, \*m\)")),
    ("correlate", Bad((np.ones((1, 1, 3)), np.ones((1, 1, 4))), TraceValueError, r"expected extents n >= m >= 1")),
    ("correlate", Bad((np.ones((1, 1, 3)), np.ones((1, 1, 2))), TraceValueError, r"margins from 0 to m - 1", {"low": (2,), "high": (0,)})),
    ("correlate", Bad((np.ones((1, 1, 3)), np.ones((1, 1, 2))), TraceValueError, r"margins of 1 axes", {"low": (1, 0), "high": (0, 0)})),
    ("irfft", Bad((np.ones(3),), TraceValueError, r"3 entries along axis 0; 8 points have 5", {"axis": 0, "n": 8, "norm": "ortho"})),
]
