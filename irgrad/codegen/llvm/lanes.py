"""Values in the lanes of vectors: a writer for the body of a loop, several iterations of which are one.

What does not change from one iteration to the next is a number as elsewhere, and goes in front of the loop; what does is a vector (`Many`).
An integer that advances by a constant step is neither (`Step`): indices stay numbers, and memory that is read or written one element
after the other moves as vectors. Both refuse to be text, so that nothing writes them where it means numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from irgrad.codegen import formulas, polynomial
from irgrad.codegen.llvm.kinds import Number, Unsupported
from irgrad.codegen.llvm.module import PURE
from irgrad.codegen.llvm.writer import DOUBLE, I1, I64, POINTER, RELATIONS, Type, Value, Writer

INTRINSICS = frozenset({"fabs", "sqrt", "floor", "ceil", "trunc", "rint", "roundeven", "copysign", "fma", "maximum", "minimum", "ctpop"})
KEEPS = "intel_ocl_bicc "  # a convention by which a function leaves half of the vectors' registers as they were


class Wider(Exception):
    """A vector has more bits than the processor's: take fewer lanes."""


class Lanes(Type):
    """Vectors of a type; called with a number it makes a constant of the type, which becomes a vector where one is wanted."""

    __slots__ = ("count", "element")

    def __init__(self, element: Type, count: int) -> None:
        super().__init__(f"<{count} x {element.name}>", element.width, element.is_float)
        self.element = element
        self.count = count

    def __call__(self, number: Any) -> Value:
        return self.element(number)


lanes_of = cache(Lanes)


class _NoText(Value):
    """An operand that is no number."""

    __slots__ = ("name",)

    @property
    def text(self) -> str:  # type: ignore[override]
        raise Unsupported("a vector where a number is meant")

    @text.setter
    def text(self, text: str) -> None:
        self.name = text


class Many(_NoText):
    """A vector."""

    __slots__ = ()


class Step(_NoText):
    """An integer: `base + offset + i * step` in iteration i, where base and step are the same in all."""

    __slots__ = ("base", "offset", "step")

    def __init__(self, base: Value, offset: int, step: Value) -> None:
        super().__init__(I64, "")
        self.base = base
        self.offset = offset
        self.step = step


class Place(_NoText):
    """Addresses of one element for each iteration: `row + offset + i * step`, in elements."""

    __slots__ = ("offset", "pointer", "row", "step")

    def __init__(self, pointer: str, row: str, offset: int, step: Value) -> None:
        super().__init__(POINTER, "")
        self.pointer = pointer
        self.row = row
        self.offset = offset
        self.step = step

    @property
    def key(self) -> str:
        return f"{self.row} {self.offset} {self.step.text}"

    @property
    def is_dense(self) -> bool:
        """Are the elements side by side?"""
        return self.step.text == "1"


def _steady(x: Value) -> Step:
    """A number as one that advances by nothing."""
    return Step(I64(0), int(x.text), I64(0)) if is_whole(x) else Step(x, 0, I64(0))


def is_whole(x: Value) -> bool:
    """Is a number written out?"""
    return x.text.lstrip("-").isdigit()


def is_varying(x: Value) -> bool:
    return isinstance(x, _NoText)


class Lanewise(Writer):
    """Writes the body of a loop for `count` iterations at once, any number of times; `turn` is the iteration in the first lane."""

    def __init__(self, around: Writer, count: int, bits: int, is_long: bool = False, is_chain: bool = False) -> None:
        super().__init__(around.module)
        self.is_chain = is_chain  # is it for two vectors at a time?
        self.is_long = is_long  # has the loop any number of iterations, and many statements?
        self.around = around
        self.lanes = count
        self.bits = bits
        self.before: list[str] = []  # in front of the loop
        self._same: dict[str, Value] = {}
        self._known: dict[str, Value] = {}
        self._negated: dict[str, Value] = {}  # what a vector is the negative of
        self.turn = Value(I64, "0")
        self.mask = ""

    def begin(self, first: str, mask: str = "") -> None:
        """Write the next copy of the body, of all lanes or of those in a mask."""
        self.lines, self._known, self._negated = [], {}, {}
        self.turn, self.mask = Value(I64, first), mask

    # -- what is written where --

    def emit(self, text: str, type_: Type) -> Value:
        """In front of the loop: operands have text, so they are the same in all iterations."""
        known = self._same.get(text)
        if known is None:
            known = self._same[text] = Value(type_, self._new())
            self.before.append(f"  {known.text} = {text}")
        return known

    def each(self, text: str, type_: Type) -> Many:
        """In the loop."""
        known = self._known.get(text)
        if known is None:
            if isinstance(type_, Lanes) and type_.width * type_.count > self.bits:
                raise Wider
            known = self._known[text] = Many(type_, self._new())
            self.lines.append(f"  {known.name} = {text}")  # type: ignore[attr-defined]
        return known  # type: ignore[return-value]

    def _new(self) -> str:
        self.around.count += 1
        return f"%v{self.around.count}"

    def line(self, text: str) -> None:
        raise Unsupported("this in a vector")

    def start(self, *operands: Any) -> Any:
        raise Unsupported("a choice between vectors")

    branch: Any = start
    jump: Any = start
    on_stack: Any = start
    phi: Any = start

    def is_constant(self, x: Value) -> bool:
        return not is_varying(x) and super().is_constant(x)

    def refuse(self, operands: Sequence[Any]) -> None:
        parts = [part for o in operands if isinstance(o, Number) for part in (o.re, o.im) if part is not None]
        if any(map(is_varying, parts)) or not all(isinstance(o, Number) for o in operands):
            raise Unsupported("a routine of vectors or memory")

    # -- vectors of what is none --

    def many(self, x: Value) -> str:
        """The text of a vector with an operand in each lane."""
        if isinstance(x, Many):
            return x.name
        if isinstance(x, Step):
            return self._counted(x).name
        if isinstance(x, Place):
            raise Unsupported("a vector of addresses")
        if x.text[0] != "%":
            return f"<{', '.join([f'{x.type.name} {x.text}'] * self.lanes)}>"
        whole = lanes_of(x.type, self.lanes).name
        one = self.emit(f"insertelement {whole} poison, {x.type.name} {x.text}, i32 0", x.type)
        return self.emit(f"shufflevector {whole} {one.text}, {whole} poison, <{self.lanes} x i32> zeroinitializer", x.type).text

    def _counted(self, x: Step) -> Many:
        """The numbers of an advancing integer."""
        type_ = lanes_of(I64, self.lanes)
        start = self.each(f"add {type_.name} {self._spread(self.turn)}, {self.iota(I64)}", type_)
        by = self.each(f"mul {type_.name} {start.name}, {self.many(x.step)}", type_)
        return self.each(f"add {type_.name} {by.name}, {self.many(self._base(x))}", type_)

    def _base(self, x: Step) -> Value:
        return self._sum("add", x.base, I64(x.offset))

    def _spread(self, x: Value) -> str:
        """The same of a number that differs from one copy to another."""
        whole = lanes_of(I64, self.lanes)
        one = self.each(f"insertelement {whole.name} poison, i64 {x.text}, i32 0", whole)
        return self.each(f"shufflevector {whole.name} {one.name}, {whole.name} poison, <{self.lanes} x i32> zeroinitializer", whole).name

    def iota(self, type_: Type) -> str:
        return f"<{', '.join(f'{type_.name} {k}' for k in range(self.lanes))}>"

    def of(self, x: Value) -> Lanes:
        """The type of the vector that an operand is or becomes."""
        return x.type if isinstance(x.type, Lanes) else lanes_of(x.type, self.lanes)

    # -- operations --

    def add(self, a: Value, b: Value) -> Value:
        return self._advancing("add", a, b) or self._lanewise("add", a, b)

    def sub(self, a: Value, b: Value) -> Value:
        return self._advancing("sub", a, b) or self._lanewise("sub", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        if isinstance(b, Step):
            a, b = b, a
        if not isinstance(a, Step) or is_varying(b):
            return self._lanewise("mul", a, b)
        if is_whole(b):
            return Step(self._product(a.base, b), a.offset * int(b.text), self._product(a.step, b))
        return Step(self._product(self._base(a), b), 0, self._product(a.step, b))

    def _advancing(self, word: str, a: Value, b: Value) -> Value | None:
        """A sum or difference of integers that advance, or do not change."""
        if not (isinstance(a, Step) or isinstance(b, Step)) or isinstance(a, Many) or isinstance(b, Many):
            return None
        x, y = (o if isinstance(o, Step) else _steady(o) for o in (a, b))
        base, step = (self._sum(word, p, q) for p, q in ((x.base, y.base), (x.step, y.step)))
        return Step(base, x.offset + (y.offset if word == "add" else -y.offset), step)

    def _sum(self, word: str, a: Value, b: Value) -> Value:
        if is_whole(a) and is_whole(b):
            return I64(int(a.text) + (int(b.text) if word == "add" else -int(b.text)))
        if b.text == "0":
            return a
        if a.text == "0" and word == "add":
            return b
        return self.emit(f"{word} i64 {a.text}, {b.text}", I64)

    def _product(self, a: Value, b: Value) -> Value:
        if is_whole(a) and is_whole(b):
            return I64(int(a.text) * int(b.text))
        if a.text == "0" or b.text == "1":
            return a
        return b if a.text == "1" else self.emit(f"mul i64 {a.text}, {b.text}", I64)

    def _lanewise(self, opcode: str, a: Value, b: Value) -> Value:
        if not is_varying(a) and not is_varying(b):
            return self.emit(f"{opcode} {a.type.name} {a.text}, {b.text}", a.type)
        type_ = self.of(a)
        return self.each(f"{opcode} {type_.name} {self.many(a)}, {self.many(b)}", type_)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        if not any(map(is_varying, (condition, a, b))):
            return super().select(condition, a, b)
        type_ = self.of(a)
        chosen = f"{self.of(condition).name} {self.many(condition)}" if is_varying(condition) else f"i1 {condition.text}"
        return self.each(f"select {chosen}, {type_.name} {self.many(a)}, {type_.name} {self.many(b)}", type_)

    def fneg(self, x: Value) -> Value:
        if not is_varying(x):
            return super().fneg(x)
        made = self.each(f"fneg {self.of(x).name} {self.many(x)}", self.of(x))
        self._negated[made.name] = x
        return made

    def not_(self, x: Value) -> Value:
        element = self.of(x).element
        return self._lanewise("xor", x, Value(element, "true" if element is I1 else "-1")) if is_varying(x) else super().not_(x)

    # -- calls --

    def call(self, symbol: str, type_: Type, operands: Any) -> Value:
        if symbol[0] != "@" or any(map(is_varying, operands)):  # code at an address may do anything, and often
            raise Unsupported("a call with vectors")
        return super().call(symbol, type_, operands)

    def intrinsic(self, name: str, *operands: Value) -> Value:
        if not any(map(is_varying, operands)):
            return super().intrinsic(name, *operands)
        if name == "fabs":  # of x and of -x it is one value
            operands = (self._negated.get(operands[0].name, operands[0]),)  # type: ignore[attr-defined]
        if name not in INTRINSICS:
            raise Unsupported(f"{name} of vectors")
        type_ = self.of(operands[0])
        symbol = f"@llvm.{name}.v{self.lanes}{'f' if type_.is_float else 'i'}{type_.width}"
        self.module.declare(symbol, f"{type_.name} {symbol}({', '.join([type_.name] * len(operands))})")
        return self._called(symbol, type_, operands)

    def _called(self, symbol: str, type_: Lanes, operands: Sequence[Value], how: str = "") -> Many:
        return self.each(f"call {how}{type_.name} {symbol}({', '.join([f'{type_.name} {self.many(o)}' for o in operands])})", type_)

    def libm(self, name: str, *operands: Value) -> Value:
        if not any(map(is_varying, operands)):
            return super().libm(name, *operands)
        type_ = self.of(operands[0])
        if polynomial.is_written(name, type_.element is not DOUBLE):
            if not self.is_chain and name not in polynomial.SPECIAL:
                found: Value = polynomial.written(self, name, [Many(type_, self.many(o)) for o in operands])
                return found
            keeps = "" if name in polynomial.SPECIAL else KEEPS  # what calls a routine keeps no registers
            return self._called(self._written(name, type_, len(operands), keeps), type_, operands, keeps)
        symbol = self.module.vector_function(name, type_.element, len(operands), self.lanes)
        if not symbol:
            raise Unsupported(f"{name} of vectors")
        return self._called(symbol, type_, operands)

    def _written(self, name: str, type_: Lanes, arity: int, keeps: str) -> str:
        """The symbol of a function of the module that has the arithmetic of `name`, for loops that have it many times or long ones.

        Elsewhere it stands in the loop: a call is 5 to 10 % of it.
        """
        symbol = f"irgrad_{name}{'' if type_.element is DOUBLE else 'f'}{self.lanes}"
        if symbol not in self.module.defined:
            w = Lanewise(Writer(self.module), self.lanes, self.bits)
            w.begin("0")
            made = polynomial.written(w, name, [Many(type_, f"%x{k}") for k in range(arity)])
            given = ", ".join(f"{type_.name} %x{k}" for k in range(arity))
            head = f"define internal {keeps}{type_.name} @{symbol}({given}) noinline {PURE}{self.module.width()} {{"
            self.module.defined[symbol] = "\n".join([head, *w.before, *w.lines, f"  ret {type_.name} {made.name}", "}"])
        return f"@{symbol}"

    def power_below(self, x: Value, exponent: Value, above: Value) -> Value:
        """By a function of the module that calls pow for vectors of which an element has no quotient."""
        operands = (x, exponent, above)
        if not any(map(is_varying, operands)):
            return super().power_below(*operands)
        type_ = self.of(above)
        power = self.module.vector_function("pow", type_.element, 2, self.lanes)
        if not power:
            raise Unsupported("pow of vectors")
        symbol = f"irgrad_power_below{'' if type_.element is DOUBLE else 'f'}{self.lanes}"
        if symbol not in self.module.defined:
            w = Lanewise(Writer(self.module), self.lanes, self.bits)
            w.begin("0")
            given = [Many(type_, f"%x{k}") for k in range(3)]
            good = formulas.has_digits(w, given[2])
            made = formulas.quotient_power(w, *given)
            head = f"define internal {KEEPS}{type_.name} @{symbol}({', '.join(f'{type_.name} {o.name}' for o in given)}) noinline {PURE}"
            self.module.define_guarded(
                symbol, head, [*w.before, *w.lines], made.name, good.name, self.lanes, type_.name, (power, "%x0", "%x1")
            )
        return self._called(f"@{symbol}", type_, operands, KEEPS)

    def scalar_libm(self, name: str, *operands: Value) -> Value:
        if any(map(is_varying, operands)):
            raise Unsupported(f"{name} of one number at a time")
        return super().scalar_libm(name, *operands)


def _binary(opcode: str) -> Callable[[Lanewise, Value, Value], Value]:
    return lambda self, a, b: self._lanewise(opcode, a, b)


def _whole_only(name: str) -> Callable[[Lanewise, Value, Value], Value]:
    def write(self: Lanewise, a: Value, b: Value) -> Value:
        if is_varying(a) or is_varying(b):  # a lane behind the end could divide by zero
            raise Unsupported(f"{name} of vectors")
        made: Value = getattr(Writer, name)(self, a, b)
        return made

    return write


def _cast(opcode: str) -> Callable[[Lanewise, Value, Type], Value]:
    def write(self: Lanewise, x: Value, type_: Type) -> Value:
        if not is_varying(x):
            return self.emit(f"{opcode} {x.type.name} {x.text} to {type_.name}", type_)
        whole = type_ if isinstance(type_, Lanes) else lanes_of(type_, self.lanes)
        return self.each(f"{opcode} {self.of(x).name} {self.many(x)} to {whole.name}", whole)

    return write


def _comparison(opcode: str, prefix: str) -> Callable[[Lanewise, str, Value, Value], Value]:
    def write(self: Lanewise, relation: str, a: Value, b: Value) -> Value:
        word = RELATIONS.get(relation, relation)
        sign = "" if word == "uno" or (opcode == "icmp" and word in ("eq", "ne")) else prefix
        if not is_varying(a) and not is_varying(b):
            return self.emit(f"{opcode} {sign}{word} {a.type.name} {a.text}, {b.text}", I1)
        return self.each(f"{opcode} {sign}{word} {self.of(a).name} {self.many(a)}, {self.many(b)}", lanes_of(I1, self.lanes))

    return write


for _name in ("and", "or", "xor", "shl", "ashr", "lshr", "fadd", "fsub", "fmul", "fdiv"):
    setattr(Lanewise, f"{_name}_" if _name in ("and", "or") else _name, _binary(_name))
Lanewise.add_any_order = _binary("fadd reassoc")  # type: ignore[method-assign]
for _name in ("sdiv", "udiv", "srem", "urem"):
    setattr(Lanewise, _name, _whole_only(_name))
for _name in ("trunc", "zext", "sext", "bitcast", "sitofp", "uitofp", "fptosi", "fptoui", "fpext", "fptrunc", "inttoptr", "ptrtoint"):
    setattr(Lanewise, _name, _cast(_name))
for _name, _opcode, _prefix in (("icmp_signed", "icmp", "s"), ("icmp_unsigned", "icmp", "u"), ("fcmp_ordered", "fcmp", "o"),
                                ("fcmp_unordered", "fcmp", "u")):  # fmt: skip
    setattr(Lanewise, _name, _comparison(_opcode, _prefix))
