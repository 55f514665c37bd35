"""Random numpy programs: from a seed, a function as source text with its arguments. `tests.support.shrink` makes failing ones small.

A program is generated beside its values: each statement is kept only if numpy computes it without nan, infinity or growth, so that
every program is defined and smooth where it has to be. A value is *exact* when it comes from the arguments by moves, integer
arithmetic and correctly rounded operations alone: eager, traced and compiled must then agree in every bit, and only such values
are compared, rounded or used as indices.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.program import SPACE, Program, Statement

EXTENTS = (1, 1, 2, 3, 3, 4, 5, 7, 8, 9, 12, 17)
MAX_SIZE = 320
BOUND = 60.0


def argument(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    """An array in C or Fortran order, or a strided view."""
    if dtype == "bool":
        made = rng.random(shape) < 0.5
    elif np.dtype(dtype).kind in "iu":
        made = rng.integers(0 if dtype.startswith("u") else -9, 10, shape).astype(dtype)
    else:
        made = (np.round(rng.uniform(-2, 2, shape) * 64) / 64).astype(dtype)
        if dtype.startswith("complex"):
            made = (made + 1j * np.round(rng.uniform(-2, 2, shape) * 64) / 64).astype(dtype)
    order = rng.integers(8)
    if order == 0 and made.ndim > 1:
        return np.asfortranarray(made)
    if order == 1 and made.ndim:
        return np.repeat(made, 2, axis=-1)[..., ::2]
    return made


class Generator:
    """Grows one program of float64 values that have derivatives (`smooth`) or of all dtypes. `writes` asks for many updates and joins,
    `large` for arrays of hundreds of elements."""

    def __init__(
        self, seed: int, smooth: bool = False, length: tuple[int, int] = (5, 28), writes: bool = False, large: bool = False
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.smooth = smooth
        self.writes = writes
        self.extents = (2, 9, 16, 31, 33, 130, 260) if large else EXTENTS
        self.max_size = 20 * MAX_SIZE if large else MAX_SIZE
        self.length = length
        self.known: dict[str, Any] = {}
        self.exact: set[str] = set()
        self.statements: list[Statement] = []
        self.arguments: dict[str, Any] = {}
        self.program = Program(self.arguments, self.statements, [], self.exact, seed)

    def make(self) -> Program:
        rng = self.rng
        dtypes = (
            ["float64"] if self.smooth else ["float64", "float64", "float64", "float32", "int64", "bool", "complex128", "int32", "uint8"]
        )
        for number in range(int(rng.integers(1, 4))):
            name = f"x{number}"
            shape = self.shape()
            dtype = dtypes[0] if number == 0 else str(rng.choice(dtypes))
            value = argument(rng, shape, dtype)
            if number and self.chance(0.1):
                value = self.rng.choice([0.75, -1.5]) if self.chance(0.5) or self.smooth else 3
                value = float(value) if value != 3 else 3
            self.arguments[name], self.known[name] = value, np.asarray(value)
            self.exact.add(name)
        for _ in range(int(rng.integers(*self.length))):
            for _ in range(20):
                if self.grow():
                    break
        self.choose_outputs()
        return self.program

    def shape(self) -> tuple[int, ...]:
        rank = int(self.rng.choice([0, 1, 1, 2, 2, 3]))
        while True:
            shape = tuple(int(self.rng.choice(self.extents)) for _ in range(rank))
            if self.rng.random() < 0.03 and rank:
                shape = (0, *shape[1:])
            if np.prod(shape) <= self.max_size // 2:
                return shape

    # -- choosing operands -------------------------------------------------------------------------------------------

    def pick(self, wanted: Callable[[Any], bool] = lambda v: True, exact: bool = False) -> str | None:
        """A variable whose value is as wanted; later ones more often."""
        names = [n for n, v in self.known.items() if wanted(v) and (not exact or n in self.exact)]
        if not names:
            return None
        weights = np.arange(1, len(names) + 1, dtype=float)
        return str(self.rng.choice(names, p=weights / weights.sum()))

    def inexact(self) -> str | None:
        return self.pick(lambda v: v.dtype.kind == "f")

    def number(self) -> str:
        return repr(float(np.round(self.rng.uniform(-2, 2) * 16) / 16))

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    # -- statements --------------------------------------------------------------------------------------------------

    def grow(self) -> bool:
        """Try to add one statement."""
        name = f"v{len(self.statements)}"
        if self.chance(0.15):
            return self.loop(name) if self.chance(0.7) else self.branch(name)
        made = self.expression()
        if made is None:
            return False
        text, exact = made
        return self.keep(name, [f"{name} = {text}"], exact)

    def keep(self, name: str, lines: list[str], exact: bool) -> bool:
        """Run the lines; add the statement if its value is well-behaved."""
        space = {**SPACE, **self.known}
        with np.errstate(all="ignore"):
            try:
                exec("\n".join(lines), space)
            except (ValueError, TypeError, IndexError, np.exceptions.AxisError, OverflowError):
                return False
            value = space[name]
            if type(value) is not np.ndarray:
                value = np.asarray(value)
                lines = [*lines, f"{name} = np.asarray({name})"] if not isinstance(space[name], np.generic) else lines
            if value.size > self.max_size or value.dtype.kind not in "biufc" or value.dtype.itemsize == 2:
                return False
            if value.size and value.dtype.kind in "fc":
                if not np.all(np.isfinite(value)):
                    return False
                if np.max(np.abs(value)) > BOUND:
                    lines, exact = [*lines, f"{name} = {name} * {float(2.0 ** -np.ceil(np.log2(np.max(np.abs(value)))))!r}"], exact
                    exec(lines[-1], space)
            elif value.size and value.dtype.kind in "iu" and np.max(np.abs(value.astype(float))) > 2**20:
                lines = [*lines, f"{name} = {name} % 97"]
                exec(lines[-1], space)
        words = set(re.findall(r"\b[vx]\d+\b", "\n".join(lines)))
        reads = {word for word in words if word in self.known}
        self.known[name] = np.asarray(space[name])
        if exact and reads <= self.exact:
            self.exact.add(name)
        self.statements.append(Statement(name, lines, reads))
        return True

    def expression(self) -> tuple[str, bool] | None:
        """Text of a random expression, and whether its operation is exact."""
        families = [self.unary, self.binary, self.binary, self.reduction, self.view, self.view, self.shaping, self.joining, self.product,
                    self.creation, self.write, self.indexing]  # fmt: skip
        if self.writes:
            families += [self.write] * 8 + [self.view] * 3 + [self.joining] * 3
        if not self.smooth:
            families += [self.truth, self.whole, self.conversion, self.complex_part, self.scan]
        family = families[int(self.rng.integers(len(families)))]
        return family()

    def unary(self) -> tuple[str, bool] | None:
        x = self.inexact()
        if x is None:
            return None
        forms = [("np.tanh({x})", False), ("np.sin({x})", False), ("np.exp(-{x} * {x})", False), ("np.log({x} * {x} + 1.5)", False),
                 ("np.sqrt({x} * {x} + 0.5)", True), ("np.arctan({x})", False), ("({x} * {c})", True), ("({x} + {c})", True),
                 ("(-{x})", True), ("{x}**2", True), ("{x}**3", False), ("(1.0 / ({x} * {x} + 1.5))", True), ("({c} - {x})", True),
                 ("np.square({x})", True)]  # fmt: skip
        if not self.smooth:
            forms += [
                ("np.abs({x})", True),
                ("np.maximum({x}, {c})", True),
                ("np.clip({x}, -1.0, {c} + 2.5)", True),
                ("np.sign({x})", True),
            ]
            if x in self.exact:
                forms += [("np.floor({x} * 3)", True), ("np.rint({x} * 5)", True), ("np.where({x} > {c}, {x}, -{x})", True)]
        form, exact = forms[int(self.rng.integers(len(forms)))]
        return form.format(x=x, c=self.number()), exact

    def binary(self) -> tuple[str, bool] | None:
        x = self.inexact()
        if x is None:
            return None
        shape = self.known[x].shape
        y = self.pick(lambda v: v.dtype.kind in ("f" if self.smooth else "fcib") and _broadcast(v.shape, shape))
        if y is None:
            return None
        forms = [
            ("({x} + {y})", True),
            ("({x} - {y})", True),
            ("({x} * {y})", True),
            ("({x} * {y} + {x})", True),
            ("({y} - {x} * {c})", True),
        ]
        if self.known[y].dtype.kind == "f":
            forms += [("({x} / ({y} * {y} + 1.5))", True), ("np.hypot({x}, {y} + 3.5)", False), ("np.where(x0.size > 1, {x}, {y})", True)]
            if not self.smooth:
                forms += [("np.maximum({x}, {y})", True), ("np.minimum({x}, {y})", True), ("np.arctan2({x}, {y} + 9.5)", False)]
                if x in self.exact and y in self.exact:
                    forms += [("np.where({x} > {y}, {x}, {y} * {c})", True)]
        form, exact = forms[int(self.rng.integers(len(forms)))]
        return form.format(x=x, y=y, c=self.number()), exact and self.known[y].dtype.kind != "c"

    def axes(self, ndim: int) -> str:
        count = int(self.rng.integers(0, ndim + 1))
        if count == 0:
            return "None"
        chosen = sorted(int(a) for a in self.rng.choice(ndim, count, replace=False))
        return str(chosen[0]) if count == 1 and self.chance(0.7) else str(tuple(chosen))

    def reduction(self) -> tuple[str, bool] | None:
        x = self.pick(lambda v: v.dtype.kind in ("f" if self.smooth else "fibcu"))
        if x is None:
            return None
        kind = self.known[x].dtype.kind
        names = ["sum", "sum", "mean"] if kind in "fc" and self.known[x].size else ["sum"]
        if not self.smooth:
            names += ["max", "min"] if kind != "c" else []
            names += ["any", "all"] if kind in "bi" or x in self.exact else []
            names += ["prod"] if kind in "fib" else []
            names += ["var"] if kind == "f" and self.known[x].size else []
        name = str(self.rng.choice(names))
        keep = ", keepdims=True" if self.known[x].ndim and self.chance(0.3) else ""
        exact = name in ("max", "min", "any", "all") or kind in "biu"
        return f"np.{name}({x}, axis={self.axes(self.known[x].ndim)}{keep})", exact

    def view(self) -> tuple[str, bool] | None:
        """A basic index, a transpose or a reshape."""
        x = self.pick(lambda v: v.ndim > 0)
        if x is None:
            return None
        shape = self.known[x].shape
        choice = int(self.rng.integers(6))
        if choice == 0:
            return f"np.transpose({x}, {tuple(int(a) for a in self.rng.permutation(len(shape)))})", True
        if choice == 1:
            return f"np.reshape({x}, {self.factors(self.known[x].size)})", True
        if choice == 2:
            return f"{x}.T", True
        return f"{x}[{self.basic_index(shape)}]", True

    def factors(self, size: int) -> tuple[int, ...]:
        if size == 0:
            return (0, 3)
        shape: list[int] = []
        while size > 1 and len(shape) < 3 and self.chance(0.75):
            divisors = [d for d in range(2, size + 1) if size % d == 0]
            shape.append(int(self.rng.choice(divisors)))
            size //= shape[-1]
        shape.append(size)
        if self.chance(0.2):
            shape.insert(int(self.rng.integers(len(shape) + 1)), 1)
        return tuple(int(n) for n in self.rng.permutation(shape))

    def basic_index(self, shape: tuple[int, ...]) -> str:
        parts: list[str] = []
        for n in shape[: int(self.rng.integers(1, len(shape) + 1))]:
            choice = self.rng.random()
            if choice < 0.3 and n:
                parts.append(str(int(self.rng.integers(-n, n))))
            elif choice < 0.45:
                parts.append(":")
            elif choice < 0.6:
                parts.append(str(self.rng.choice(["::-1", "::2", "1::2", "::-2"])))
            else:
                low, high = sorted(int(i) for i in self.rng.integers(0, n + 1, 2))
                parts.append(f"{low}:{high}" if self.chance(0.7) or high >= n else f"{low}:{high - n}")
        if self.chance(0.1):
            parts.insert(int(self.rng.integers(len(parts) + 1)), "None")
        if self.chance(0.1):
            parts.append("...")
        return ", ".join(parts)

    def shaping(self) -> tuple[str, bool] | None:
        x = self.pick(lambda v: v.ndim > 0)
        if x is None:
            return None
        ndim = self.known[x].ndim
        axis = int(self.rng.integers(ndim))
        lead = str(self.rng.choice([2, 3]))
        forms = ["np.flip({x}, {a})", "np.roll({x}, 2, axis={a})", "np.expand_dims({x}, {a})", "{x}.ravel()", "np.diff({x}, axis={a})",
                 "np.broadcast_to({x}, ({k}, *{x}.shape))", "np.pad({x}, 1)", "np.repeat({x}, 2, axis={a})", "np.tile({x}, 2)",
                 "np.squeeze({x})"]  # fmt: skip
        return str(self.rng.choice(forms)).format(x=x, a=axis, k=lead), True

    def joining(self) -> tuple[str, bool] | None:
        x = self.pick(lambda v: v.ndim > 0)
        if x is None:
            return None
        axis = int(self.rng.integers(self.known[x].ndim))
        rest = _without(self.known[x].shape, axis)
        ndim = self.known[x].ndim
        parts = [x]
        for _ in range(int(self.rng.integers(1, 4))):
            y = self.pick(lambda v: v.ndim == ndim and _without(v.shape, axis) == rest and (not self.smooth or v.dtype.kind == "f"))
            if y is not None:
                parts.append(y)
        if self.chance(0.4):
            shape = self.known[x].shape
            same = [p for p in parts if self.known[p].shape == shape]
            return f"np.stack([{', '.join(same)}], axis={int(self.rng.integers(ndim + 1))})", True
        return f"np.concatenate([{', '.join(parts)}], axis={axis})", True

    def product(self) -> tuple[str, bool] | None:
        x = self.pick(lambda v: v.ndim in (1, 2) and v.dtype.kind in ("f" if self.smooth else "fci"))
        if x is None:
            return None
        inner = self.known[x].shape[-1]
        y = self.pick(lambda v: v.ndim in (1, 2) and v.shape[0] == inner and v.dtype.kind in ("f" if self.smooth else "fci"))
        whole = self.known[x].dtype.kind == "i" and y is not None and self.known[y].dtype.kind == "i"
        if y is not None:
            return (f"({x} @ {y})" if self.chance(0.5) else f"np.dot({x}, {y})"), whole
        if self.known[x].ndim == 2:
            return f"({x}.T @ {x})", self.known[x].dtype.kind == "i"
        return f"np.outer({x}, {x})", True

    def creation(self) -> tuple[str, bool] | None:
        x = self.pick()
        shape = self.known[x].shape if x is not None else ()
        n = int(self.rng.choice(self.extents))
        form = str(
            self.rng.choice(["np.zeros({s})", "np.ones({s})", "np.full({s}, {c})", "(np.arange({n}) * {c})", "np.linspace(0.0, 1.0, {n})"])
        )
        return form.format(s=shape, c=self.number(), n=n), "linspace" not in form

    def indexing(self) -> tuple[str, bool] | None:
        x = self.pick(lambda v: v.ndim > 0 and v.shape[0] > 0)
        if x is None:
            return None
        n = self.known[x].shape[0]
        rows = [int(i) for i in self.rng.integers(-n, n, int(self.rng.integers(1, 11)))]
        if self.chance(0.3):
            return f"np.take({x}, {rows}, axis=0)", True
        if self.known[x].ndim > 1 and self.chance(0.4):
            m = self.known[x].shape[1]
            columns = [int(i) for i in self.rng.integers(-m, m, len(rows))] if m else []
            return f"{x}[np.array({rows}), np.array({columns})]", True
        return f"{x}[np.array({rows})]", True

    def write(self) -> tuple[str, bool] | None:
        """An update of a region or of indexed rows, of a value that may be used again."""
        x = self.pick(lambda v: v.ndim > 0 and v.size > 0 and v.dtype.kind == "f")
        if x is None:
            return None
        shape = self.known[x].shape
        add = self.chance(0.5)
        if self.chance(0.35):
            rows = [int(i) for i in self.rng.integers(-shape[0], shape[0], int(self.rng.integers(1, 6)))]
            want = (len(rows), *shape[1:])
            y = self.pick(lambda v: v.dtype == self.known[x].dtype and _broadcast_to(v.shape, want))
            name = "scatter_add" if add else "scatter_update"
            return None if y is None else (f"scatter({name!r}, {x}, {y}, np.array({rows}))", True)
        start, count, step = [], [], []
        for n in shape:
            if self.chance(0.4):
                low, taken, by = 0, n, 1
            else:
                low = int(self.rng.integers(n))
                taken = int(self.rng.integers(1, n - low + 1))
                by = 1
                if self.chance(0.3):
                    by, taken = 2, (taken + 1) // 2
                elif self.chance(0.2):
                    by, low = -1, low + taken - 1
            start.append(low)
            count.append(taken)
            step.append(by)
        y = self.pick(lambda v: v.dtype == self.known[x].dtype and _broadcast_to(v.shape, tuple(count)))
        if y is None or self.chance(0.3):
            places = ", ".join(f"{a}:{a + n * b if a + n * b >= 0 else ''}:{b}" for a, n, b in zip(start, count, step, strict=True))
            y = f"{x}[{places}]" if self.chance(0.7) else f"np.flip({x}[{places}], 0)"
        name = "slice_add" if add else "slice_update"
        return f"region({name!r}, {x}, {y}, {tuple(start)}, {tuple(count)}, {tuple(step)})", True

    def truth(self) -> tuple[str, bool] | None:
        x = self.pick(lambda v: v.dtype.kind in "fiub", exact=True)
        if x is None:
            return None
        shape = self.known[x].shape
        y = self.pick(lambda v: v.dtype.kind in "fiub" and _broadcast(v.shape, shape), exact=True)
        b = self.pick(lambda v: v.dtype.kind == "b" and _broadcast(v.shape, shape))
        forms = [
            "({x} > {y})",
            "({x} <= {y})",
            "({x} == {y})",
            "({x} != {y})",
            "({x} < {c})",
            "np.isnan({x})",
            "np.logical_not({x})",
            "np.logical_and({x}, {y})",
        ]
        if b is not None:
            forms += [
                "np.where({b}, {x}, {y})",
                "({b} & ({x} > {c}))",
                "({b} | ({x} > {y}))",
                "({b} ^ ({x} > {y}))",
                "({b} * {x})",
                "({b} + {b})",
            ]
        if x is not None and self.known[x].dtype.kind == "b":
            forms += ["(~{x})"]
        return str(self.rng.choice(forms)).format(x=x, y=y, b=b, c=self.number()), True

    def whole(self) -> tuple[str, bool] | None:
        x = self.pick(lambda v: v.dtype.kind in "iu")
        if x is None:
            return None
        shape = self.known[x].shape
        y = self.pick(lambda v: v.dtype.kind in "iu" and _broadcast(v.shape, shape))
        forms = ["({x} + {y})", "({x} - {y})", "({x} * {y})", "({x} // {y})", "({x} % {y})", "({x} + 3)", "({x} * 2)", "({x} // 3)",
                 "({x} % 5)", "({x} & {y})", "({x} | 6)", "({x} ^ {y})", "np.abs({x})", "np.maximum({x}, {y})", "({x} / 8)", "{x}**2",
                 "np.sign({x})", "({x} > {y})"]  # fmt: skip
        return str(self.rng.choice(forms)).format(x=x, y=y), True

    def conversion(self) -> tuple[str, bool] | None:
        x = self.pick(lambda v: v.dtype.kind in "fiub", exact=True)
        y = self.pick(lambda v: v.dtype.kind in "fiub")
        if x is None or y is None:
            return None
        forms = ["np.floor({x}).astype(np.int64)" if self.known[x].dtype.kind == "f" else "{x}.astype(np.int64)", "{y}.astype(np.float32)",
                 "{y}.astype(np.float64)", "{x}.astype(bool)", "({y} * 1j)", "({y} + 2j)", "np.abs({x}).astype(np.int32)"]  # fmt: skip
        form = str(self.rng.choice(forms))
        return form.format(x=x, y=y), "j" not in form

    def complex_part(self) -> tuple[str, bool] | None:
        x = self.pick(lambda v: v.dtype.kind == "c")
        if x is None:
            return None
        forms = [("np.real({x})", True), ("np.imag({x})", True), ("np.conj({x})", True), ("np.abs({x})", False), ("({x} * {x})", False),
                 ("np.exp({x} * 0.1)", False), ("({x} / (np.abs({x}) + 1.5))", False), ("({x} + 1.5)", True),
                 ("np.tanh({x} * 0.2)", False)]  # fmt: skip
        form, exact = forms[int(self.rng.integers(len(forms)))]
        return form.format(x=x), exact

    def scan(self) -> tuple[str, bool] | None:
        x = self.pick(lambda v: v.ndim > 0 and v.dtype.kind in "fibu", exact=True)
        if x is None or 0 in self.known[x].shape:
            return None
        axis = int(self.rng.integers(self.known[x].ndim))
        name = str(self.rng.choice(["cumsum", "cumsum", "cumprod", "argmax", "argmin", "sort"]))
        return f"np.{name}({x}, axis={axis})", True

    def loop(self, name: str) -> bool:
        """A carried variable, changed a few times by an expression that depends on the iteration."""
        carried = self.pick(lambda v: v.dtype.kind == "f")
        if carried is None:
            return False
        shape = self.known[carried].shape
        trips = int(self.rng.integers(2, 6))
        other = self.pick(lambda v: v.dtype.kind == "f" and v.ndim == len(shape) + 1 and v.shape[0] >= trips and v.shape[1:] == shape)
        beside = self.pick(lambda v: v.dtype.kind == "f" and _broadcast_to(v.shape, shape)) or carried
        terms = [
            "np.tanh({n} * {c})",
            "{n} * {c} + {b}",
            "({n} + {b}) * 0.5",
            "np.sin({n}) * {b}",
            "{n} * (0.5 + 0.125 * k)",
            "{n} - {b} * {b} * {c}",
        ]
        if other is not None:
            terms += ["{n} * 0.5 + {o}[k]", "np.tanh({n} + {o}[k])", "{n} + {o}[-1 - k] * {c}"] * 2
        if shape and shape[0] > trips:
            terms += [
                "np.concatenate([{n}[1:], {n}[:1]]) * 0.75",
                "{n} + {n}[k] * 0.25",
                "region('slice_add', {n}, {n}[k : k + 1], (k,), (1,), (1,))",
            ]
            terms[-1] = (
                terms[-1]
                .replace("(k,)", f"(k, {'0, ' * (len(shape) - 1)})")
                .replace("(1,), (1,)", f"(1, *{shape[1:]}), {(1,) * len(shape)}")
            )
        lines = [f"{name} = {carried}", f"for k in range({trips}):"]
        for _ in range(int(self.rng.integers(1, 4))):
            term = str(self.rng.choice(terms)).format(n=name, b=beside, c=self.number(), o=other)
            lines.append(f"    {name} = {term}")
        return self.keep(name, lines, False) and self.known[name].shape == shape

    def branch(self, name: str) -> bool:
        """One of two expressions, chosen by data; or a loop whose trip count the data decide."""
        x = self.inexact()
        if x is None or not self.known[x].size:
            return False
        value = self.known[x]
        if self.chance(0.4):
            bound = float(np.round(np.max(np.abs(value)) / 3 + 0.03125, 3))
            return self.keep(
                name, [f"{name} = {x}", f"while np.max(np.abs({name})) > {bound!r}:", f"    {name} = {name} * 0.625 + 0.0078125"], False
            )
        made = [self.expression(), self.expression()]
        if made[0] is None or made[1] is None:
            return False
        level = float(np.round(np.sum(value) + self.rng.choice([-1, 1]) * (0.05 + 0.1 * np.sum(np.abs(value))), 4))
        return self.keep(name, [f"if np.sum({x}) > {level!r}:", f"    {name} = {made[0][0]}", "else:", f"    {name} = {made[1][0]}"], False)

    # -- outputs -----------------------------------------------------------------------------------------------------

    def choose_outputs(self) -> None:
        rng, program = self.rng, self.program
        if self.smooth:
            floats = [n for n in self.known if self.known[n].dtype.kind == "f" and self.known[n].size] or ["x0"]
            chosen = [floats[-1], *map(str, rng.choice(floats, min(2, len(floats)), replace=False))]
            program.outputs = [
                " + ".join(f"np.sum(np.tanh({n}) * {w})" for n, w in zip(dict.fromkeys(chosen), (0.75, 1.25, -0.5), strict=False))
            ]
            return
        names = list(self.known)
        count = min(int(rng.integers(1, 6)), len(names))
        program.outputs = [names[-1], *map(str, rng.choice(names, count))]
        if self.chance(0.1):
            program.outputs.append("2.5")


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(n == m or n == 1 or m == 1 for n, m in zip(reversed(a), reversed(b), strict=False))


def _broadcast_to(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return len(a) <= len(b) and all(n in (1, m) for n, m in zip(reversed(a), reversed(b), strict=False))


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def generate(seed: int, **options: Any) -> Program:
    """The program of a seed."""
    return Generator(seed, **options).make()
