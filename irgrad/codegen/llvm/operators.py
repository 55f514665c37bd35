"""Operators of kernel text on numbers."""

from __future__ import annotations

import ast
from typing import Any

from irgrad.codegen import formulas
from irgrad.codegen.llvm.kinds import COMPLEX, FLOATS, SIGNED, UNSIGNED, Number, Unsupported, arithmetic, cast, letter, truth
from irgrad.codegen.llvm.writer import Value, Writer

RELATIONS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
WORDS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}
BITS = {ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor"}


def binary(w: Writer, operator: type[ast.operator], a: Number, b: Number) -> Number:
    """`a operator b`."""
    if operator in BITS and a.kind == b.kind == "bool":
        return Number("bool", getattr(w, BITS[operator])(a.re, b.re))
    first, second, kind = arithmetic(a.kind, b.kind)
    if operator in (ast.LShift, ast.RShift):  # the first operand says what is shifted in
        kind = first
    if operator is ast.Div and kind in ("int64", "uint64"):
        return Number("float64", w.fdiv(cast(w, a, "float64").re, cast(w, b, "float64").re))
    a, b = cast(w, a, first), cast(w, b, second)
    if kind in COMPLEX:
        return _complex(w, operator, kind, a, b)
    if kind in FLOATS:
        return Number(kind, _real(w, operator, a.re, b.re))
    return Number(kind, _whole(w, operator, kind, a.re, b.re))


def _real(w: Writer, operator: type[ast.operator], a: Value, b: Value) -> Value:
    if operator is ast.Div:
        return w.fdiv(a, b)
    if operator is ast.Pow:
        return w.intrinsic("pow", a, b)
    word = WORDS.get(operator)
    if word is None:
        raise Unsupported(f"{operator.__name__} of floats")
    return getattr(w, f"f{word}")(a, b)


def _whole(w: Writer, operator: type[ast.operator], kind: str, a: Value, b: Value) -> Value:
    word = WORDS.get(operator) or BITS.get(operator)
    if word is not None:
        if word == "add" and w.is_constant(a) and a.text == "0":  # texts of indices start with 0
            return b
        return getattr(w, word)(a, b)
    if operator is ast.LShift:
        return w.shl(a, b)
    if operator is ast.RShift:
        return w.ashr(a, b) if kind in SIGNED else w.lshr(a, b)
    if operator is ast.FloorDiv:
        return formulas.floor_divide(w, letter(kind), a, b)
    if operator is ast.Mod:
        return formulas.remainder(w, letter(kind), a, b)
    raise Unsupported(f"{operator.__name__} of integers")


def _complex(w: Writer, operator: type[ast.operator], kind: str, a: Number, b: Number) -> Number:
    (ar, ai), (br, bi) = a.parts, b.parts
    if operator is ast.Add:
        return Number(kind, w.fadd(ar, br), w.fadd(ai, bi))
    if operator is ast.Sub:
        return Number(kind, w.fsub(ar, br), w.fsub(ai, bi))
    if operator is ast.Mult:
        ac, bd, ad, bc = w.fmul(ar, br), w.fmul(ai, bi), w.fmul(ar, bi), w.fmul(ai, br)
        return Number(kind, w.fsub(ac, bd), w.fadd(ad, bc))
    if operator is ast.Div:
        return Number(kind, *formulas.divide_complex(w, a.parts, b.parts))
    raise Unsupported(f"{operator.__name__} of complex numbers")


def unary(w: Writer, operator: type[ast.unaryop], x: Number) -> Number:
    """`operator x`. The negative of a small integer is computed in its own bits, then widened."""
    if operator is ast.Not:
        return Number("bool", w.not_(truth(w, x)))
    if operator is ast.Invert and x.kind == "bool":
        return Number("bool", w.not_(x.re))
    if x.kind in FLOATS or x.kind in COMPLEX:
        if operator is ast.USub:
            return Number(x.kind, w.fneg(x.re), None if x.im is None else w.fneg(x.im))
    else:
        kind = "uint64" if x.kind in UNSIGNED else "int64"
        x = cast(w, x, kind) if x.kind == "bool" else x
        if operator is ast.USub:
            return cast(w, Number(x.kind, w.sub(x.re.type(0), x.re)), kind)
        if operator is ast.Invert:
            return cast(w, Number(x.kind, w.not_(x.re)), kind)
        x = cast(w, x, kind)
    if operator is ast.UAdd:
        return x
    raise Unsupported(f"{operator.__name__} of {x.kind}")


def compare(w: Writer, operator: type[ast.cmpop], a: Number, b: Number) -> Number:
    """`a operator b` for one relation."""
    relation = RELATIONS.get(operator)
    if relation is None:
        raise Unsupported(operator.__name__)
    if not {a.kind, b.kind} & (FLOATS | COMPLEX):
        return Number("bool", _compare_whole(w, relation, a, b))
    first, _, kind = arithmetic(a.kind, b.kind)
    a, b = cast(w, a, first), cast(w, b, first)
    if kind in COMPLEX:
        if relation not in ("==", "!="):
            raise Unsupported(f"{relation} of complex numbers")
        pairs = zip(a.parts, b.parts, strict=True)
        if relation == "==":
            return Number("bool", w.and_(*[w.fcmp_ordered("==", x, y) for x, y in pairs]))
        return Number("bool", w.or_(*[w.fcmp_unordered("!=", x, y) for x, y in pairs]))
    if relation == "!=":
        return Number("bool", w.fcmp_unordered("!=", a.re, b.re))
    return Number("bool", w.fcmp_ordered(relation, a.re, b.re))


def _compare_whole(w: Writer, relation: str, a: Number, b: Number) -> Value:
    if a.kind == b.kind:
        return (w.icmp_signed if a.kind in SIGNED else w.icmp_unsigned)(relation, a.re, b.re)
    first, second, _ = arithmetic(a.kind, b.kind)
    x, y = cast(w, a, first).re, cast(w, b, second).re
    if first == second:
        return (w.icmp_signed if first == "int64" else w.icmp_unsigned)(relation, x, y)
    signed, zero = (x, y.type(0)) if first == "int64" else (y, x.type(0))
    below = w.icmp_signed("<", signed, zero)
    found = w.icmp_unsigned(relation, x, y)
    negative_is = {"==": False, "!=": True}.get(relation, (relation[0] == "<") == (signed is x))
    always = Value(below.type, "true" if negative_is else "false")
    return w.select(below, always, found)


def choose(w: Writer, condition: Value, a: Number, b: Number) -> Number:
    """`a` where the condition holds, `b` elsewhere: of one kind."""
    im = None if a.im is None or b.im is None else w.select(condition, a.im, b.im)
    return Number(a.kind, w.select(condition, a.re, b.re), im)


def extreme(w: Writer, relation: str, numbers: list[Number]) -> Number:
    """Python's max or min of integers."""
    from irgrad.codegen.llvm.kinds import unified

    total = numbers[0]
    for number in numbers[1:]:
        kind = unified(total.kind, number.kind)
        if kind not in SIGNED | UNSIGNED:
            raise Unsupported(f"max and min of {kind}")
        a, b = cast(w, total, kind), cast(w, number, kind)
        total = choose(w, formulas.compare(w, letter(kind), relation, a.re, b.re), a, b)
    return total


__all__: list[Any] = ["binary", "choose", "compare", "extreme", "unary"]
