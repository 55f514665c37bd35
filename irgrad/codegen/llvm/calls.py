"""What the names that kernel text calls stand for: memory, calls by address, and the formulas and functions of numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from irgrad.codegen import formulas, polynomial, vector, written
from irgrad.codegen.llvm.kinds import (
    COMPLEX,
    FLOATS,
    LLVM,
    MEMORY,
    PART,
    SIGNED,
    WHOLE,
    Number,
    Pointer,
    Unsupported,
    cast,
    letter,
    unified,
)
from irgrad.codegen.llvm.module import Module
from irgrad.codegen.llvm.operators import binary, choose, extreme
from irgrad.codegen.llvm.writer import DOUBLE, I8, I32, I64, POINTER, Value, Writer
from irgrad.codegen.scalar import LONE

Call = Callable[..., Any]  # of a writer and operands
SLOTS, SCRATCH, LINE = 512, 64, 128


def _word(w: Writer, x: Number) -> Value:
    return cast(w, x, "int64").re


def _address(w: Writer, x: Number) -> Value:
    return w.inttoptr(_word(w, x), POINTER)


# ---- tables and the stack ----


def _size(w: Writer, table: Number, index: Number) -> Number:
    return Number("int64", w.load(I64, w.element(I64, _address(w, table), _word(w, index))))


def _put(w: Writer, table: Number, index: Number, value: Number) -> None:
    w.store(_word(w, value), w.element(I64, _address(w, table), _word(w, index)))


def _half_at(w: Writer, address: Number) -> Number:
    return Number("int64", w.sext(w.load(I32, _address(w, address)), I64))


def _byte_at(w: Writer, address: Number) -> Number:
    return Number("int64", w.zext(w.load(I8, _address(w, address)), I64))


def _stack(w: Writer, count: Number) -> Number:
    return Number("int64", w.ptrtoint(w.on_stack(I64, SLOTS), I64))


def _scratch(kind: str, w: Writer, unused: Number) -> Pointer:
    return Pointer(kind, w.on_stack(MEMORY[kind], SCRATCH * (2 if kind in COMPLEX else 1)))


# ---- elements ----


def _line(w: Writer, pointer: Pointer) -> Pointer:
    """Memory on the stack for what `stream` moves to a pointer."""
    kind = pointer.element
    return Pointer(kind, w.on_stack(MEMORY[kind], LINE * (2 if kind in COMPLEX else 1), 64))


def _stream(w: Writer, pointer: Pointer, index: Number, line: Pointer, count: Number) -> None:
    """Move elements of a line buffer, past the caches by whole lines."""
    kind = pointer.element
    width = MEMORY[kind].width // 8
    at = _word(w, index)
    target = w.pair(MEMORY[kind], pointer.address, at)[0] if kind in COMPLEX else w.element(MEMORY[kind], pointer.address, at)
    nbytes = w.mul(_word(w, count), I64(width * (2 if kind in COMPLEX else 1)))
    w.line(f"call void @{w.module.stream(width)}(ptr {target.text}, ptr {line.address.text}, i64 {nbytes.text})")


def _ahead(w: Writer, pointer: Pointer, index: Number) -> None:
    """Have the processor fetch as many elements as a line buffer holds, from an index on; it may be beyond the end."""
    kind = pointer.element
    width = MEMORY[kind].width // 8 * (2 if kind in COMPLEX else 1)
    at, byte = w.mul(_word(w, index), I64(width)), MEMORY["int8"]
    w.module.declare("@llvm.prefetch.p0", "void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    for line in range(0, LINE // 2 * width, 64):
        place = w.element(byte, pointer.address, w.add(at, I64(line)))
        w.line(f"call void @llvm.prefetch.p0(ptr {place.text}, i32 0, i32 3, i32 1)")


def _fence(w: Writer) -> None:
    w.line("fence seq_cst")


def _pointer(kind: str, w: Writer, table: Number, index: Number) -> Pointer:
    return Pointer(kind, w.inttoptr(_size(w, table, index).re, POINTER))


def _scoped(kind: str, w: Writer, table: Number, index: Number, scope: Number, scopes: Number) -> Pointer:
    if vector.width() != 256:
        w.module.wide = True
    return Pointer(kind, _pointer(kind, w, table, index).address, w.module.note(int(scope.re.text), int(scopes.re.text)))


def _load(w: Writer, pointer: Pointer, index: Number) -> Number:
    kind, at = pointer.element, _word(w, index)
    if kind in COMPLEX:
        return Number(kind, *w.load_pair(MEMORY[kind], pointer.address, at, pointer.note))
    found = w.load(MEMORY[kind], w.element(MEMORY[kind], pointer.address, at), pointer.note)
    return Number(kind, w.icmp_signed("!=", found, I8(0)) if kind == "bool" else found)


def _store(w: Writer, pointer: Pointer, index: Number, value: Number) -> None:
    kind = pointer.element
    number, at = cast(w, value, kind), _word(w, index)
    if kind in COMPLEX:
        w.store_pair(number.parts, pointer.address, at, pointer.note)
    else:
        w.store(w.zext(number.re, I8) if kind == "bool" else number.re, w.element(MEMORY[kind], pointer.address, at), pointer.note)


# ---- calls by address ----


def _call_kernel(w: Writer, function: Number, pointers: Number, sizes: Number) -> Number:
    return Number("int64", w.call(_address(w, function).text, I64, (_word(w, pointers), _word(w, sizes))))


def _call_blas(w: Writer, function: Number, arguments: tuple[Number, ...]) -> None:
    places = ", ".join(f"ptr {_address(w, a).text}" for a in arguments)
    w.line(f"call void {_address(w, function).text}({places})")


def _call_real(w: Writer, routine: Number, *operands: Number) -> Number:
    """``double routine(double, ..., int)``; the last argument is Cython's flag of its own calls."""
    values = [cast(w, o, "float64").re for o in operands]
    made = w.call(_address(w, routine).text, DOUBLE, (*values, I32(0)))
    return cast(w, Number("float64", made), _real_result(operands))


def _real_result(operands: tuple[Number, ...]) -> str:
    floats = [o.kind for o in operands if o.kind in FLOATS]
    return "float32" if floats and all(kind == "float32" for kind in floats) else "float64"


# ---- choices and sums ----


def _select(w: Writer, condition: Number, a: Number, b: Number) -> Number:
    kind = unified(a.kind, b.kind)
    return choose(w, cast(w, condition, "bool").re, cast(w, a, kind), cast(w, b, kind))


def _add_any_order(w: Writer, a: Number, b: Number) -> Number:
    b = cast(w, b, a.kind)
    im = None if a.im is None else w.add_any_order(a.im, b.im)
    return Number(a.kind, w.add_any_order(a.re, b.re), im)


def _count_ones(w: Writer, x: Number) -> Number:
    return Number("int64", w.intrinsic("ctpop", _word(w, x)))


# ---- functions of numbers ----


def _alike(w: Writer, a: Number, b: Number) -> tuple[str, Value, Value]:
    kind = unified(a.kind, b.kind)
    if kind in COMPLEX:
        raise Unsupported("an order of complex numbers")
    return kind, cast(w, a, kind).re, cast(w, b, kind).re


def _chosen(relation: str, skips_nan: bool, w: Writer, a: Number, b: Number) -> Number:
    kind, x, y = _alike(w, a, b)
    return Number(kind, formulas.choice(w, letter(kind), relation, skips_nan, x, y))


def _extreme(name: str, w: Writer, a: Number, b: Number) -> Number:
    kind, x, y = _alike(w, a, b)
    if kind not in FLOATS:
        raise Unsupported(f"{name} of {kind}")
    return Number(kind, w.intrinsic(name, x, y))


def _formula(write: Call, w: Writer, a: Number, b: Number) -> Number:
    kind, x, y = _alike(w, a, b)
    return Number(kind, write(w, letter(kind), x, y))


def _sign(w: Writer, x: Number) -> Number:
    return Number(x.kind, formulas.sign(w, letter(x.kind), x.re))


def _signbit(w: Writer, x: Number) -> Number:
    bits = w.whole(x.re.type.width)
    return Number("bool", w.icmp_signed("<", w.bitcast(x.re, bits), bits(0)))


def _class(which: str, w: Writer, x: Number) -> Number:
    """isnan, isinf or isfinite."""
    if x.kind in COMPLEX:
        re, im = (_class(which, w, Number(PART[x.kind], part)).re for part in x.parts)
        return Number("bool", w.and_(re, im) if which == "isfinite" else w.or_(re, im))
    if x.kind not in FLOATS:
        return Number("bool", Value(w.whole(1), "true" if which == "isfinite" else "false"))
    if which == "isnan":
        return Number("bool", w.fcmp_unordered("uno", x.re, x.re))
    size = w.intrinsic("fabs", x.re)
    return Number("bool", w.fcmp_ordered("==" if which == "isinf" else "<", size, size.type(float("inf"))))


def _reals(w: Writer, operands: tuple[Number, ...]) -> tuple[str, list[Value]]:
    kind = "float32" if all(o.kind == "float32" for o in operands) else "float64"
    return kind, [cast(w, o, kind).re for o in operands]


def _function(name: str, w: Writer, *operands: Number) -> Number:
    kind, values = _reals(w, operands)
    return Number(kind, w.libm(name, *values))


def _power_below(w: Writer, *operands: Number) -> Number:
    kind, values = _reals(w, operands)
    return Number(kind, w.power_below(*values))


def _scalar_function(name: str, w: Writer, *operands: Number) -> Number:
    kind, values = _reals(w, operands)
    return Number(kind, w.scalar_libm(name, *values))


def _instruction(name: str, w: Writer, x: Number) -> Number:
    kind, values = _reals(w, (x,))
    return Number(kind, w.intrinsic(name, *values))


# ---- complex numbers ----


def _square(w: Writer, x: Number) -> Number:
    import ast

    return binary(w, ast.Mult, x, x)


def _real(w: Writer, z: Number) -> Number:
    return Number(PART[z.kind], z.re) if z.im is not None else z


def _imag(w: Writer, z: Number) -> Number:
    if z.im is None:
        raise Unsupported(f"the imaginary part of {z.kind}")
    return Number(PART[z.kind], z.im)


def _conj(w: Writer, z: Number) -> Number:
    return z if z.im is None else Number(z.kind, z.re, w.fneg(z.im))


def _complex_of(w: Writer, re: Number, im: Number) -> Number:
    kind, (x, y) = _reals(w, (re, im))
    return Number(WHOLE[kind], x, y)


def _of_complex(write: Call, double: bool, w: Writer, *operands: Number) -> Number:
    kind = "complex128" if double else operands[0].kind
    return Number(kind, *write(w, *[cast(w, o, kind).parts for o in operands]))


def _library_complex(name: str, w: Writer, *pairs: tuple[Value, Value]) -> tuple[Value, Value]:
    """libm's complex function; complex numbers travel as pairs of registers."""
    parts = [part for pair in pairs for part in pair]
    w.module.declare(f"@c{name}", f"{{double, double}} @c{name}({', '.join(['double'] * len(parts))})", "nounwind")
    return apart(w, w.emit(f"call {{double, double}} @c{name}({', '.join(f'double {p.text}' for p in parts)})", DOUBLE))


def apart(w: Writer, pair: Value) -> tuple[Value, Value]:
    """The parts of a complex number that a function returned."""
    name = f"{{{pair.type.name}, {pair.type.name}}}"
    first, second = (w.emit(f"extractvalue {name} {pair.text}, {k}", pair.type) for k in (0, 1))
    return first, second


# ---- built-in names ----


def _abs(w: Writer, x: Number) -> Number:
    if x.kind in FLOATS:
        return Number(x.kind, w.intrinsic("fabs", x.re))
    if x.kind not in SIGNED:
        raise Unsupported(f"abs of {x.kind}")
    return choose(w, w.icmp_signed("<", x.re, x.re.type(0)), Number(x.kind, w.sub(x.re.type(0), x.re)), x)


def _as(kind: str, w: Writer, x: Number) -> Number:
    return cast(w, x, kind)


def _most(relation: str, w: Writer, *numbers: Number) -> Number:
    return extreme(w, relation, list(numbers))


def _complex_functions() -> dict[str, Call]:
    if not written.passes_complex_in_registers():
        return {}  # Numba writes them out
    found: dict[str, Call] = {f"c_{name}": partial(_of_complex, partial(_library_complex, name), True) for name in written.COMPLEX}
    found["library_pow"] = partial(_of_complex, partial(_library_complex, "pow"), True)
    if vector.is_there():
        found["c_exp"] = partial(_of_complex, formulas.exp_complex, True)
    return found


@cache
def calls() -> dict[str, Call]:
    """Every name that is no routine of `irgrad.codegen.written`."""
    found: dict[str, Call] = {
        "size": _size, "put": _put, "half_at": _half_at, "byte_at": _byte_at, "stack": _stack, "load": _load,
        "store": _store, "call_kernel": _call_kernel, "call_blas": _call_blas, "select": _select, "add_any_order": _add_any_order,
        "line": _line, "stream": _stream, "fence": _fence, "ahead": _ahead, "count_ones": _count_ones, "sign": _sign, "signbit": _signbit,
        "square": _square, "power_below": _power_below, "real": _real, "imag": _imag, "conj": _conj,
        "complex_of": _complex_of, "complex": _complex_of, "abs": _abs, "int": partial(_as, "int64"), "float": partial(_as, "float64"),
        "max": partial(_most, ">"), "min": partial(_most, "<"),
        "divide_complex": partial(_of_complex, formulas.divide_complex, False),
        "reciprocal_complex": partial(_of_complex, formulas.reciprocal_complex, False),
        "c_sign": partial(_of_complex, formulas.sign_complex, True),
    }  # fmt: skip
    found |= {f"call_real{n}": _call_real for n in range(1, 5)}
    found |= {name: partial(_chosen, *how) for name, how in formulas.CHOICES.items()}
    found |= {name: partial(_extreme, how) for name, how in formulas.EXTREMES.items()}
    found |= {name: partial(_formula, getattr(formulas, name)) for name in ("shift_left", "shift_right", "floor_divide", "remainder")}
    found |= {name: partial(_function, name) for name in (*written.REAL, *written.REAL_PAIRS)}
    found |= {f"special_{name}": partial(_function, name) for name in polynomial.SPECIAL}
    found |= {f"lone_{name}": partial(_scalar_function, name) for name in LONE}
    found |= {name: partial(_instruction, name) for name in written.INSTRUCTIONS}
    found |= {name: partial(_class, name) for name in ("isnan", "isinf", "isfinite")}
    found |= {f"math.{name}": partial(_scalar_function, name) for name in (*written.REAL, *written.REAL_PAIRS)}
    found |= {f"math.{name}": partial(_instruction, name) for name in ("sqrt", "floor", "ceil", "fabs")}
    for kind in LLVM:
        found |= {f"as_{kind}": partial(_as, kind), f"pointer_{kind}": partial(_pointer, kind), f"scoped_{kind}": partial(_scoped, kind)}
        found[f"scratch_{kind}"] = partial(_scratch, kind)
    return found | _complex_functions()


__all__ = ["Module", "apart", "calls"]
