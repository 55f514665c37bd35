"""Sample rows of special functions: domains away from poles for derivatives, edges for values. Orders are plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

import irgrad.ops.special
import irgrad.ops.special_integrals  # noqa: F401  (both declare the primitives)
from tests.ops.samples import Bad, Sample, draw

INF, NAN = float("inf"), float("nan")
EDGES = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 30.0, -30.0, INF, -INF, NAN])
UNIT_EDGES = np.array([0.0, 1.0, 0.5, -0.5, 1.5, NAN])
RNG = np.random.default_rng(20240620)


def one(low: float, high: float, edges: Any = EDGES, order: int = 2) -> list[Sample]:
    """A matrix, a scalar, nothing, a strided view, float32, whole numbers, and edge values that are not differentiated."""
    rows = [Sample((draw(shape, low, high),), order=order) for shape in ((3, 4), (), (0, 2))]
    rows += [Sample((np.float64(0.5 * (low + high)),), order=order), Sample((draw((2, 4), low, high)[:, ::2],), order=order)]
    rows += [Sample((draw((3,), low, high, "float32"),), order=0), Sample((np.arange(1, 4),), order=0)]
    return [*rows, Sample((edges,), order=0)]


def two(left: tuple[float, float], right: tuple[float, float], *edges: tuple[Any, Any], order: int = 2) -> list[Sample]:
    """Equal shapes, broadcasting, a plain number on either side, float32, and edge values."""
    rows = [Sample((draw(s, *left), draw(t, *right)), order=order) for s, t in (((4,), (4,)), ((3, 1), (2,)), ((), ()), ((0, 2), (2,)))]
    rows += [Sample((draw((3,), *left), sum(right) / 2), order=order), Sample((sum(left) / 2, draw((3,), *right)), order=order)]
    rows += [Sample((draw((3,), *left, "float32"), draw((3,), *right, "float32")), order=0)]
    return rows + [Sample(pair, order=0) for pair in edges]


def by_order(orders: tuple[Any, ...], low: float, high: float) -> list[Sample]:
    """A function of an order, a plain number, and an argument."""
    return [Sample((n, draw((3,), low, high))) for n in orders] + [
        Sample((orders[0], draw((2,), low, high, "float32")), order=0),
        Sample((orders[-1], np.array([0.0, 0.5, INF, NAN])), order=0),
    ]


def shapes(*ranges: tuple[float, float]) -> list[Sample]:
    """Functions of shape parameters and a place: all of them active, then plain numbers for all but one."""
    middle = [sum(r) / 2 for r in ranges]
    rows = [Sample(tuple(draw((3,), *r) for r in ranges)), Sample(tuple(np.float64(m) for m in middle))]
    rows += [Sample(tuple(draw((3, 1) if i else (2,), *r) for i, r in enumerate(ranges)))]
    for active in range(len(ranges)):
        rows.append(Sample(tuple(draw((2, 2), *r) if i == active else m for i, (r, m) in enumerate(zip(ranges, middle, strict=True)))))
    rows.append(Sample(tuple(draw((2,), *r, "float32") for r in ranges), order=0))
    return rows


def with_complex(rows: list[Sample], order: int = 2) -> list[Sample]:
    last = [np.array([0.3 + 0.4j, 1.1 - 0.2j])]
    first = list(rows[0].operands[:-1])
    return [*rows, Sample((*(x if isinstance(x, (int, float)) else x.ravel()[:1] + 0j for x in first), *last), order=order)]


ENTROPY = (np.array([0.0, 0.0, 1.0, -1.0, NAN, 2.0]), np.array([0.0, 1.0, 0.0, 1.0, 1.0, INF]))

SAMPLES: dict[str, list[Sample]] = {
    "erf": with_complex(one(-1.5, 1.5)),
    "erfc": with_complex(one(-1.5, 1.5)),
    "erfi": with_complex(one(-1.2, 1.2)),
    "erfcx": with_complex(one(-1.2, 1.5)),
    "dawsn": with_complex(one(-1.5, 1.5)),
    "erfinv": one(-0.8, 0.8, UNIT_EDGES),
    "erfcinv": one(0.2, 1.8, UNIT_EDGES),
    "ndtr": with_complex(one(-1.5, 1.5)),
    "log_ndtr": with_complex(one(-2.5, 1.5)),
    "ndtri": one(0.1, 0.9, UNIT_EDGES),
    "ndtri_exp": one(-2.5, -0.2),
    "zeta": [
        Sample((2.0, draw((3, 2), 0.3, 3.0))),
        Sample((3.5, np.float64(1.2))),
        Sample((np.array([1.0, 1.5, 30.0, 2.0, 2.0, 2.5, 0.5, INF]), np.array([2.0, 1e-3, 0.5, -0.5, -3.0, -0.5, 1.0, 2.0])), order=0),
        Sample((2.0, draw((3,), 0.3, 3.0, "float32")), order=0),
        Sample((2.0, np.array([1e9, 1e5, INF, NAN])), order=0),
    ],
    "psi": one(0.3, 3.0),
    "gamma": one(0.5, 3.0, np.array([1.0, 2.0, 0.5, -0.5, -2.5, 30.0, 170.0, INF, NAN])),
    "gammaln": one(0.5, 3.0),
    "loggamma": one(0.5, 3.0),
    "rgamma": [*one(0.5, 3.0, np.array([0.0, 1.0, 0.5, -0.5, -2.0, 30.0, NAN])), Sample((np.array([0.0, -1.0, -2.0]),), order=1)],
    "gammasgn": one(0.5, 3.0, np.array([1.0, -0.5, -1.5, 30.0, INF])),
    "beta": two((0.5, 3.0), (0.5, 3.0), (EDGES[4:7], EDGES[4:7])),
    "betaln": two((0.5, 3.0), (0.5, 3.0), (EDGES[4:7], EDGES[4:7])),
    "binom": two((3.2, 5.8), (1.2, 2.8), (np.array([5.0, 3.0, -1.0]), np.array([2.0, 4.0, 0.5]))),
    "poch": two((0.5, 2.0), (0.5, 2.0), (np.array([2.0, 3.0]), np.array([0.0, 4.0]))),
    "gammainc": shapes((0.3, 4.0), (0.3, 5.0)),
    "gammaincc": shapes((0.3, 4.0), (0.3, 5.0)),
    "gammaincinv": shapes((0.5, 4.0), (0.2, 0.8)),
    "gammainccinv": shapes((0.5, 4.0), (0.2, 0.8)),
    "betainc": shapes((0.4, 3.0), (0.4, 3.0), (0.1, 0.9)),
    "betaincc": shapes((0.4, 3.0), (0.4, 3.0), (0.1, 0.9)),
    "betaincinv": shapes((0.8, 3.0), (0.8, 3.0), (0.2, 0.8)),
    "stdtr": shapes((0.6, 6.0), (-2.0, 2.0)),
    "stdtrit": shapes((1.2, 6.0), (0.2, 0.8)),
    "jv": by_order((0, 1, 2.5), 0.3, 3.0),
    "yv": by_order((0, 1, 2.5), 0.8, 3.0),
    "yn": by_order((0, 1, 3), 0.8, 3.0),
    "iv": by_order((0, 1, 2.5), 0.3, 3.0),
    "kv": by_order((0, 1, 2.5), 0.5, 3.0),
    "kn": by_order((0, 1, 3), 0.5, 3.0),
    "ive": by_order((0, 1, 2.5), 0.3, 3.0),
    "kve": by_order((0, 1, 2.5), 0.5, 3.0),
    **{name: one(-3.0, 3.0) for name in ("j0", "j1", "i0", "i1")},
    **{name: one(0.3, 3.0) for name in ("i0e", "i1e")},
    **{name: one(0.7, 3.0) for name in ("y0", "y1", "k0", "k1", "k0e", "k1e")},
    "expi": with_complex(one(0.3, 2.0)),
    "exp1": with_complex(one(0.3, 2.0)),
    "expn": by_order((0, 1, 3), 0.5, 2.0),
    "exprel": [*one(-2.0, 2.0), Sample((np.array([0.0, 1e-9, -1e-3, 0.49, 0.51]),))],
    "exp10": one(-1.0, 1.0),
    "expit": one(-2.0, 2.0),
    "log_expit": one(-2.0, 2.0),
    "logit": one(0.2, 0.8, UNIT_EDGES),
    "xlogy": with_complex(two((0.3, 2.0), (0.3, 2.0), ENTROPY)),
    "xlog1py": with_complex(two((0.3, 2.0), (-0.5, 2.0), ENTROPY, (np.array([0.0, 0.0]), np.array([-1.0, -2.0])))),
    "entr": one(0.3, 2.0),
    "rel_entr": two((0.3, 2.0), (0.3, 2.0), ENTROPY),
    "kl_div": two((0.3, 2.0), (0.3, 2.0), ENTROPY),
    "huber": two((0.9, 1.0), (-0.8, 0.8), (np.array([-1.0, 0.0, 1.0]), np.array([1.0, 2.0, 1.0]))) + two((0.5, 0.6), (1.0, 2.0)),
    "ellipk": one(-2.0, 0.8),
    "ellipkm1": one(0.2, 0.45) + one(0.55, 2.0),
    "ellipe": one(-2.0, 0.8),
    "ellipkinc": [Sample((draw((3,), 0.2, 1.4), 0.4)), Sample((EDGES, 0.5), order=0),
                  Sample((draw((3,), 0.2, 1.4, "float32"), 0.4), order=0)],
    "ellipeinc": [Sample((draw((3,), 0.2, 1.4), 0.4)), Sample((EDGES, 0.5), order=0)],
    "hyp0f1": [Sample((1.5, draw((3,), -2.0, 2.0))), Sample((0.5, draw((3,), -2.0, 2.0, "float32")), order=0)],
    "hyp1f1": [Sample((1.2, 2.3, draw((3,), -2.0, 2.0))), Sample((0.5, 1.5, np.array([0.0, 1.0, NAN])), order=0)],
    "hyp2f1": [Sample((0.4, 1.3, 2.2, draw((3,), -2.0, 0.8))), Sample((1.0, 1.0, 2.0, np.array([0.0, 0.9, -5.0, NAN])), order=0)],
    "hyperu": [Sample((1.2, 0.7, draw((3,), 0.5, 3.0)))],
    "spence": [*one(0.2, 3.0), Sample((np.array([1.0, 1.0 + 1e-9]),))],
    "struve": by_order((0.5, 1.5), 0.5, 3.0)[:-1],
    "modstruve": by_order((0.5, 1.5), 0.5, 3.0)[:-1],
    "owens_t": two((-2.0, 2.0), (-2.0, 2.0)),
    "wrightomega": one(-2.0, 2.0),
    **{name: one(0.3, 2.5) for name in ("sine_integral", "cosine_integral", "sinh_integral", "cosh_integral")},
    **{name: one(-1.5, 1.5) for name in ("fresnel_sine", "fresnel_cosine")},
    "lambert": [Sample((draw((3,), 0.1, 2.0) + 0j,), {"branch": 0}), Sample((np.array([0.5 - 0.2j, 0.0, -0.1]),), {"branch": 0}),
                Sample((np.array([0.5 - 0.2j, -0.1 + 0.3j]),), {"branch": -1})],
    "boxcox": two((0.3, 2.0), (-1.0, 1.0)) + [Sample((draw((3,), 0.3, 2.0), np.zeros(3)))],
    "boxcox1p": two((-0.5, 2.0), (-1.0, 1.0)) + [Sample((draw((3,), 0.3, 2.0), np.zeros(3)))],
    "inv_boxcox": two((-0.5, 0.9), (-1.0, 1.0)) + [Sample((draw((3,), 0.3, 2.0), np.zeros(3)))],
    "inv_boxcox1p": two((-0.5, 0.9), (-1.0, 1.0)) + [Sample((draw((3,), 0.3, 2.0), np.zeros(3)))],
    "powm1": two((0.3, 2.0), (-1.0, 1.0), (np.array([0.0, 0.0, -2.0]), np.array([0.0, 2.0, 2.0]))),
    "cosm1": one(-2.0, 2.0),
    "chdtr": shapes((0.6, 5.0), (0.5, 5.0)),
    "chdtrc": shapes((0.6, 5.0), (0.5, 5.0)),
    "chdtri": shapes((1.0, 5.0), (0.2, 0.8)),
    "fdtr": shapes((1.0, 5.0), (1.0, 5.0), (0.3, 3.0)),
    "fdtrc": shapes((1.0, 5.0), (1.0, 5.0), (0.3, 3.0)),
    "fdtri": shapes((1.0, 5.0), (1.0, 5.0), (0.2, 0.8)),
    "gdtr": shapes((0.5, 2.0), (0.5, 3.0), (0.3, 3.0)),
    "gdtrc": shapes((0.5, 2.0), (0.5, 3.0), (0.3, 3.0)),
    **{name: [Sample((2.0, draw((3,), 0.5, 3.0))), Sample((np.array([0.5, 1.5]), 2.5))] for name in ("pdtr", "pdtrc")},
    **{name: [Sample((2.0, 5, draw((3,), 0.2, 0.8))), Sample((0.0, 3, draw((2,), 0.2, 0.8)))] for name in ("bdtr", "bdtrc", "bdtri")},
    **{name: [Sample((2, 3, draw((3,), 0.2, 0.8)))] for name in ("nbdtr", "nbdtrc")},
    "betainccinv": shapes((0.8, 3.0), (0.8, 3.0), (0.2, 0.8)),
    "pseudo_huber": two((0.5, 1.5), (-2.0, 2.0), (np.array([-1.0, 0.0, 1.0]), np.array([1.0, 2.0, 0.0]))),
}  # fmt: skip

BAD: list[tuple[str, Bad]] = []

# what kernel text calls
NAMES: dict[str, Any] = {"erf": special.erf, "erfc": special.erfc, "log1p": np.log1p, "hurwitz_zeta": special.zeta, "inf": INF,
                         "nan": np.nan, "as_float32": np.float32, "as_float64": np.float64,
                         "power_below": lambda x, exponent, above: np.power(x, exponent)}  # fmt: skip
NAMES |= {f"special_{name}": getattr(special, name) for name in SAMPLES if isinstance(getattr(special, name, None), np.ufunc)}

SLOPES: list[tuple[str, tuple[Any, ...], dict[str, Any], int, Any]] = [
    ("xlogy", (0.0, 0.0), {}, 0, 0.0),
    ("xlogy", (0.0, 0.0), {}, 1, 0.0),
    ("xlogy", (0.0, 2.0), {}, 0, np.log(2.0)),
    ("xlogy", (0.0, 2.0), {}, 1, 0.0),
    ("xlog1py", (0.0, -1.0), {}, 0, 0.0),
    ("xlog1py", (0.0, -1.0), {}, 1, 0.0),
    ("entr", ([0.0, 1.0],), {}, 0, [0.0, -1.0]),
    ("rel_entr", (0.0, 0.0), {}, 0, 0.0),
    ("rel_entr", (0.0, 0.0), {}, 1, 0.0),
    ("rel_entr", (0.0, 2.0), {}, 0, 0.0),
    ("kl_div", (0.0, 0.0), {}, 1, 1.0),
    ("kl_div", (0.0, 2.0), {}, 0, 0.0),
    ("rgamma", ([0.0, -1.0, -2.0],), {}, 0, [1.0, -1.0, 2.0]),
    ("binom", (3.0, 4.0), {}, 0, 0.0),
    ("gammainc", (1.5, 0.0), {}, 0, 0.0),
    ("gammainc", (1.5, np.inf), {}, 0, 0.0),
    ("betainc", (1.5, 2.0, 0.0), {}, 0, 0.0),
    ("betainc", (1.5, 2.0, 1.0), {}, 1, 0.0),
    ("stdtr", (3.0, 0.0), {}, 0, 0.0),
    ("i0e", (0.0,), {}, 0, 0.0),
    ("exprel", (0.0,), {}, 0, 0.5),
    ("expn", (1, 0.0), {}, 1, -np.inf),
    ("huber", (1.0, [0.5, 1.0, 3.0]), {}, 1, [0.5, 1.0, 1.0]),
    ("huber", (1.0, [0.5, 1.0, 3.0]), {}, 0, 2.0),
    ("pseudo_huber", (0.0, 2.0), {}, 1, 0.0),
    ("expit", (800.0,), {}, 0, 0.0),
    ("logit", (0.5,), {}, 0, 4.0),
]
