"""Sample rows of linear algebra. Rows of order 0 are functions of a symmetric part, or of a subspace: handler tests differentiate those."""

from __future__ import annotations

from typing import Any

import numpy as np

import irgrad.ops  # noqa: F401  (fills the registry)
from irgrad.errors import TraceError, TraceValueError
from irgrad.ir.primitive import REGISTRY
from tests.ops.samples import Bad, Sample

_RNG = np.random.default_rng(20240611)


def matrix(*shape: int, dtype: str = "float64") -> Any:
    """A random matrix, or a stack; square ones are far from singular."""
    made = _RNG.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        made = made + 1j * _RNG.standard_normal(shape)
    if len(shape) > 1 and shape[-1] == shape[-2]:
        made = made + 3.0 * np.eye(shape[-1]) * (1 + np.arange(shape[-1]))
    return made.astype(dtype)


def definite(*shape: int, dtype: str = "float64") -> Any:
    x = matrix(*shape, dtype=dtype)
    return x @ np.conj(np.swapaxes(x, -1, -2)) / 8 + np.eye(shape[-1], dtype=dtype)


def lowered(a: Any) -> Any:
    return REGISTRY["lu"].evaluate(a)


KINDS: tuple[tuple[str, int], ...] = (("float64", 2), ("complex128", 2), ("float32", 0), ("complex64", 0))


def squares(params: dict[str, Any] | None = None, order: int = 2) -> list[Sample]:
    """One square matrix: of every dtype, a stack, one by one, empty."""
    rows = [Sample((matrix(3, 3, dtype=d),), params or {}, min(order, o)) for d, o in KINDS]
    return [*rows, *(Sample((matrix(*shape),), params or {}, order) for shape in ((2, 3, 3), (1, 1), (2, 1, 2, 2), (0, 0)))]


def phased(rows: list[Sample]) -> list[Sample]:
    """Complex vectors are determined up to a phase: what LAPACK chooses is not differentiated."""
    return [Sample(s.operands, s.params, s.order if s.operands[0].dtype.kind == "f" else 0) for s in rows]


def rectangles(params: dict[str, Any], order: int = 2) -> list[Sample]:
    """Tall, wide and square matrices."""
    shapes = ((4, 2), (2, 4), (3, 3), (2, 4, 2))
    rows = [Sample((matrix(*shape),), params, order) for shape in shapes]
    return rows + [Sample((matrix(*shape, dtype=d),), params, min(order, o)) for d, o in KINDS[1:] for shape in ((3, 2), (2, 3))]


def systems(params: dict[str, Any], order: int = 2) -> list[Sample]:
    shapes = (((3, 3), (3, 2)), ((2, 3, 3), (2, 3, 1)), ((1, 1), (1, 2)), ((2, 2), (2, 0)))
    rows = [Sample((matrix(*a), matrix(*x)), params, order) for a, x in shapes]
    return rows + [Sample((matrix(3, 3, dtype=d), matrix(3, 2, dtype=d)), params, min(order, o)) for d, o in KINDS[1:]]


A, STACK, C = matrix(3, 3), matrix(2, 3, 3), matrix(3, 3, dtype="complex128")
SINGULAR = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.5, -1.0, 1.5]])
DEGENERATE = np.diag([2.0, 2.0, 5.0])
TURN = np.array([[0.2, -1.3], [0.9, 0.1]])  # complex eigenvalues
RANK_ONE = np.outer([1.0, 2.0, -1.0], [0.5, 1.5])
TURNS = [np.linalg.svd(matrix(3, 3, dtype=d))[0] for d in ("float64", "complex128")]
CUT = [
    np.concatenate([x, 0.1 * x[:1]]) if n > 3 else x[:, :n]
    for q, n in ((TURNS[0], 4), (TURNS[0], 3), (TURNS[1], 3))
    for x in [(q * [3.0, 2.0, 0.5]) @ q.T]
]  # a cutoff of 0.3 drops the last singular value, which is not 0
CUT.append(CUT[0].T.copy())
BANDS = matrix(4, 5) + np.array([[0.0], [0.0], [6.0], [0.0]])
BANDED = {"below": 1, "above": 2}
LOWER = {"lower": True, "trans": False, "unit": False}

SAMPLES: dict[str, list[Sample]] = {
    "cholesky": [Sample((definite(*s),), order=0) for s in ((3, 3), (2, 3, 3), (1, 1), (0, 0))]
    + [Sample((definite(3, 3, dtype=d),), order=0) for d, _ in KINDS[1:]],
    "eigh": [*phased(squares({"lower": True})), *phased(squares({"lower": False})), Sample((DEGENERATE,), {"lower": True}, 0),
             Sample((STACK,), {"lower": True, "driver": "evr"})],
    "eigvalsh": [*squares({"lower": True}), *squares({"lower": False}), Sample((DEGENERATE,), {"lower": True}, 0)],
    "column_order": [Sample((matrix(*shape, dtype=d),)) for shape in ((4, 3), (2, 3, 4)) for d, _ in KINDS],
    "root": [Sample((np.abs(matrix(3, 2)), 1 / 3)), Sample((np.float64(2.0), -0.5)), Sample((np.array([0.0, 2.0]), 0.4), order=0),
             Sample((np.abs(matrix(4, dtype="float32")), 0.4), order=0), Sample((np.zeros((0, 2)), 0.5))],
    "norm2": [*(Sample((matrix(*s, dtype=d),), {"axes": axes}, o) for s, axes in (((4,), (0,)), ((3, 2), (0, 1)), ((3, 2), (1,)),
                                                                                  ((2, 3, 2), (0, 2))) for d, o in KINDS),
              Sample((np.zeros((0, 2)),), {"axes": (0,)}), Sample((np.zeros((2, 2)),), {"axes": (1,)}, 0)],
    "eig": [s for s in squares() if s.operands[0].size],
    "eigvals": [s for s in squares() if s.operands[0].size],
    "svd": [*phased(rectangles({"full": False})), *rectangles({"full": True}, 0), *squares({"full": False}, 0),
            Sample((RANK_ONE,), {"full": False}, 0), Sample((DEGENERATE,), {"full": False}, 0)],
    "svdvals": [*rectangles({}), Sample((DEGENERATE,), {}, 0)],
    "qr": [*rectangles({"full": False}), *rectangles({"full": True}, 0)],
    "lu": [*rectangles({}), *(s for s in squares() if s.operands[0].size)],
    "row_order": [Sample((np.array([[2, 1, 2], [0, 2, 2]], np.int32),)), Sample((np.array([1, 1]),))],
    "solve_triangular": [
        *(s for lower in (True, False) for trans in (True, False) for s in systems({"lower": lower, "trans": trans, "unit": False})),
        *systems({"lower": True, "trans": False, "unit": True}),
        *systems({"lower": False, "trans": True, "unit": True}),
    ],
    "solve": [
        *systems({"trans": False}),
        *systems({"trans": True}),
        Sample((A, matrix(3, 2), lowered(A)), {"trans": False}),
        Sample((STACK, matrix(2, 3, 1), lowered(STACK)), {"trans": True}),
        Sample((np.zeros((0, 0)), np.zeros((0, 2))), {"trans": False}),
    ],
    "inv": squares(),
    "det": [*squares(), Sample((SINGULAR,)), Sample((np.zeros((3, 3)),)), Sample((A, lowered(A))), Sample((SINGULAR, lowered(SINGULAR)))],
    "cofactor": [*squares(order=1), Sample((SINGULAR,), order=1), Sample((C,), order=1)],
    "slogdet": [*squares(), Sample((-A,)), Sample((A, lowered(A))), Sample((C, lowered(C)))],
    "pinv": [*rectangles({"rcond": 1e-15}), Sample((RANK_ONE,), {"rcond": 1e-12}, 0),
             Sample((definite(3, 3),), {"rcond": 1e-15, "hermitian": True}), *(Sample((x,), {"rcond": 0.3}) for x in CUT),
             Sample((CUT[0] @ CUT[0].T,), {"rcond": 0.3, "hermitian": True})],
    "lstsq": [
        *(Sample((matrix(*a), matrix(*y)), {"rcond": 1e-14}) for a, y in (((4, 2), (4, 3)), ((2, 4), (2, 1)), ((3, 3), (3, 2)))),
        Sample((matrix(4, 2, dtype="complex128"), matrix(4, 2, dtype="complex128")), {"rcond": 1e-14}),
        Sample((matrix(4, 2, dtype="float32"), matrix(4, 2, dtype="float32")), {"rcond": 1e-6}, 0),
        Sample((RANK_ONE, matrix(3, 2)), {"rcond": 1e-12}, 0),
        *(Sample((x, matrix(x.shape[0], 2, dtype=x.dtype.name)), {"rcond": 0.3}) for x in CUT),
    ],
    "expm": [Sample((s.operands[0] / 4,), s.params, s.order)
             for s in squares() if s.operands[0].size != 0 and s.operands[0].dtype.char != "F"],
    "logm": [Sample((definite(*s),)) for s in ((3, 3), (2, 2, 2))] + [Sample((definite(3, 3, dtype="complex128"),)), Sample((TURN,))],
    "sqrtm": [Sample((definite(*s),)) for s in ((3, 3), (2, 2, 2))]
    + [Sample((definite(3, 3, dtype="complex128"),)), Sample((-A,), order=0)],
    "solve_sylvester": [
        Sample((A, matrix(2, 2), matrix(3, 2))),
        Sample((STACK, matrix(2, 2, 2), matrix(2, 3, 2))),
        Sample((C, matrix(2, 2, dtype="complex128"), matrix(3, 2, dtype="complex128"))),
    ],
    "solve_banded": [Sample((BANDS, matrix(5, 2)), {**BANDED, "trans": trans}) for trans in (False, True)]
    + [Sample((BANDS.astype("complex128") * (1 + 0.5j), matrix(5, 1, dtype="complex128")), {**BANDED, "trans": True})],
}  # fmt: skip

BAD: list[tuple[str, Bad]] = [
    ("norm2", Bad((np.ones(3, int),), TraceError, r"norm2: expected a float or complex dtype", {"axes": (0,)})),
    ("norm2", Bad((np.ones(3),), TraceValueError, r"axis 1 out of range", {"axes": (1,)})),
    ("row_order", Bad((np.ones(3),), TraceValueError, r"expected vectors of row numbers")),
    ("cholesky", Bad((np.ones(3),), TraceValueError, r"cholesky: expected matrices or stacks of them; operands f64\[3\]")),
    ("eigh", Bad((np.ones((2, 3)),), TraceValueError, r"expected square matrices, got 2 by 3", {"lower": True})),
    ("inv", Bad((np.ones((2, 2), int),), TraceError, r"expected a float or complex dtype")),
    ("solve", Bad((A, np.ones((2, 1))), TraceValueError, r"2 equations for 3 unknowns", {"trans": False})),
    ("solve", Bad((A, np.ones((3, 1)), np.ones(9)), TraceValueError, r"expected the packed lu", {"trans": False})),
    ("solve_triangular", Bad((STACK, np.ones((3, 1))), TraceValueError, r"equal leading extents", LOWER)),
    ("lstsq", Bad((A, np.ones((2, 1))), TraceValueError, r"equally many rows", {"rcond": 1e-15})),
    ("solve_sylvester", Bad((A, A, np.ones((2, 3))), TraceValueError, r"right-hand side of 3 by 3")),
    ("solve_banded", Bad((BANDS, np.ones((4, 1))), TraceValueError, r"expected 4 diagonals", {**BANDED, "trans": False})),
]  # fmt: skip
