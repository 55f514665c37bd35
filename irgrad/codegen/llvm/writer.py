"""Text of LLVM's language, instruction by instruction: the writer that `irgrad.codegen.formulas` describes."""

from __future__ import annotations

import math
import struct
from functools import cache
from typing import Any

RELATIONS = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}


class Type:
    """A type of LLVM; called with a number it makes a constant."""

    __slots__ = ("is_float", "name", "width")

    def __init__(self, name: str, width: int, is_float: bool) -> None:
        self.name = name
        self.width = width
        self.is_float = is_float

    def __str__(self) -> str:
        return self.name

    def __call__(self, number: Any) -> Value:
        return Value(self, float_text(float(number), self.width) if self.is_float else str(int(number)))


class Value:
    """An operand: its type and how text names it."""

    __slots__ = ("text", "type")

    def __init__(self, type_: Type, text: str) -> None:
        self.type = type_
        self.text = text


def float_text(number: float, width: int) -> str:
    """A float64 or float32 by its bits (LLVM writes both as those of a float64)."""
    if width == 32 and math.isfinite(number):
        try:
            number = struct.unpack("f", struct.pack("f", number))[0]
        except OverflowError:
            number = math.copysign(math.inf, number)
    return f"0x{struct.unpack('>Q', struct.pack('>d', number))[0]:016X}"


I1, I8, I16, I32, I64 = (Type(f"i{width}", width, False) for width in (1, 8, 16, 32, 64))
SINGLE, DOUBLE = Type("float", 32, True), Type("double", 64, True)
POINTER = Type("ptr", 64, False)


@cache
def pair_of(type_: Type) -> Type:
    """Two numbers side by side: a complex one."""
    return Type(f"{{{type_.name}, {type_.name}}}", 2 * type_.width, False)


WHOLE = {type_.width: type_ for type_ in (I1, I8, I16, I32, I64)}


def _binary(opcode: str) -> Any:
    def write(self: Writer, a: Value, b: Value) -> Value:
        return self.emit(f"{opcode} {a.type.name} {a.text}, {b.text}", a.type)

    return write


def _cast(opcode: str) -> Any:
    def write(self: Writer, x: Value, type_: Type) -> Value:
        return self.emit(f"{opcode} {x.type.name} {x.text} to {type_.name}", type_)

    return write


def _comparison(opcode: str, prefix: str) -> Any:
    def write(self: Writer, relation: str, a: Value, b: Value) -> Value:
        word = RELATIONS.get(relation, relation)
        sign = "" if word == "uno" or (opcode == "icmp" and word in ("eq", "ne")) else prefix
        return self.emit(f"{opcode} {sign}{word} {a.type.name} {a.text}, {b.text}", I1)

    return write


class Writer:
    """The blocks of one function as lines of text."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.lines: list[str] = []
        self.first: list[str] = []  # memory on the stack, taken at the entry
        self.count = 0
        self.block = "entry"
        self.open = True  # does the block still go on?

    # -- values --

    def emit(self, text: str, type_: Type) -> Value:
        self.count += 1
        name = f"%v{self.count}"
        self.lines.append(f"  {name} = {text}")
        return Value(type_, name)

    def line(self, text: str) -> None:
        self.lines.append(f"  {text}")

    add, sub, mul = _binary("add"), _binary("sub"), _binary("mul")
    sdiv, udiv, srem, urem = _binary("sdiv"), _binary("udiv"), _binary("srem"), _binary("urem")
    and_, or_, xor = _binary("and"), _binary("or"), _binary("xor")
    shl, ashr, lshr = _binary("shl"), _binary("ashr"), _binary("lshr")
    fadd, fsub, fmul, fdiv = _binary("fadd"), _binary("fsub"), _binary("fmul"), _binary("fdiv")
    add_any_order = _binary("fadd reassoc")
    trunc, zext, sext, bitcast = _cast("trunc"), _cast("zext"), _cast("sext"), _cast("bitcast")
    sitofp, uitofp, fptosi, fptoui = _cast("sitofp"), _cast("uitofp"), _cast("fptosi"), _cast("fptoui")
    fpext, fptrunc, inttoptr, ptrtoint = _cast("fpext"), _cast("fptrunc"), _cast("inttoptr"), _cast("ptrtoint")
    icmp_signed, icmp_unsigned = _comparison("icmp", "s"), _comparison("icmp", "u")
    fcmp_ordered, fcmp_unordered = _comparison("fcmp", "o"), _comparison("fcmp", "u")

    def fneg(self, x: Value) -> Value:
        return self.emit(f"fneg {x.type.name} {x.text}", x.type)

    def not_(self, x: Value) -> Value:
        return self.emit(f"xor {x.type.name} {x.text}, -1", x.type)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        return self.emit(f"select i1 {condition.text}, {a.type.name} {a.text}, {b.type.name} {b.text}", a.type)

    def whole(self, bits: int) -> Type:
        return WHOLE[bits]

    def double(self) -> Type:
        return DOUBLE

    def is_constant(self, x: Value) -> bool:
        return x.text[0] != "%"

    def refuse(self, operands: Any) -> None:
        """Raise Unsupported where a routine cannot have these operands."""

    # -- calls --

    def call(self, symbol: str, type_: Type, operands: Any) -> Value:
        return self.emit(f"call {type_.name} {symbol}({', '.join([f'{o.type.name} {o.text}' for o in operands])})", type_)

    def intrinsic(self, name: str, *operands: Value) -> Value:
        """A call of ``llvm.name`` on operands of one type."""
        type_ = operands[0].type
        letter = "f" if type_.is_float else "i"
        symbol = f"@llvm.{name}.{letter}{type_.width}"
        self.module.declare(symbol, f"{type_.name} {symbol}({', '.join([type_.name] * len(operands))})")
        return self.call(symbol, type_, operands)

    def libm(self, name: str, *operands: Value) -> Value:
        """A function of libm, in its vector form, or written out."""
        from irgrad.codegen import polynomial

        type_ = operands[0].type
        if name in polynomial.SPECIAL:
            return self.call(self._long(name, type_, len(operands)), type_, operands)
        value = polynomial.written(self, name, operands)
        if value is not None:
            return value
        return self.call(self.module.function_of_libm(name, type_, len(operands)), type_, operands)

    def _long(self, name: str, type_: Type, arity: int) -> str:
        """The symbol of a function of the module that has the arithmetic of a long function."""
        from irgrad.codegen import polynomial
        from irgrad.codegen.llvm.module import PURE

        symbol = f"irgrad_{name}{'' if type_ is DOUBLE else 'f'}"
        if symbol not in self.module.defined:
            w = Writer(self.module)
            given = [Value(type_, f"%x{k}") for k in range(arity)]
            made = polynomial.written(w, name, given)
            head = f"define internal {type_.name} @{symbol}({', '.join(f'{x.type.name} {x.text}' for x in given)}) noinline {PURE} {{"
            self.module.defined[symbol] = "\n".join([head, *w.lines, f"  ret {type_.name} {made.text}", "}"])
        return f"@{symbol}"

    def power_below(self, x: Value, exponent: Value, above: Value) -> Value:
        from irgrad.codegen import formulas

        made: Value = formulas.power_below(self, x, exponent, above)
        return made

    def scalar_libm(self, name: str, *operands: Value) -> Value:
        """A function of libm, called for each number."""
        type_ = operands[0].type
        return self.call(self.module.scalar_function(name, type_, len(operands)), type_, operands)

    # -- memory --

    def load(self, type_: Type, pointer: Value, note: str = "") -> Value:
        return self.emit(f"load {type_.name}, ptr {pointer.text}{note}", type_)

    def store(self, value: Value, pointer: Value, note: str = "") -> None:
        self.lines.append(f"  store {value.type.name} {value.text}, ptr {pointer.text}{note}")

    def element(self, type_: Type, pointer: Value, index: Value) -> Value:
        return self.emit(f"getelementptr {type_.name}, ptr {pointer.text}, i64 {index.text}", POINTER)

    def pair(self, type_: Type, pointer: Value, index: Value) -> tuple[Value, Value]:
        """Where the two numbers of a complex one are."""
        first = self.element(pair_of(type_), pointer, index)
        return first, self.emit(f"getelementptr inbounds {type_.name}, ptr {first.text}, i64 1", POINTER)

    def load_pair(self, type_: Type, pointer: Value, index: Value, note: str = "") -> tuple[Value, Value]:
        first, second = [self.load(type_, place, note) for place in self.pair(type_, pointer, index)]
        return first, second

    def store_pair(self, parts: tuple[Value, Value], pointer: Value, index: Value, note: str = "") -> None:
        for part, place in zip(parts, self.pair(parts[0].type, pointer, index), strict=True):
            self.store(part, place, note)

    def on_stack(self, type_: Type, count: int = 1, alignment: int = 0) -> Value:
        """Memory of the function's own, for elements of a type."""
        self.count += 1
        name = f"%s{self.count}"
        number = f", i64 {count}" if count > 1 else ""
        self.first.append(f"  {name} = alloca {type_.name}{number}" + (f", align {alignment}" if alignment else ""))
        return Value(POINTER, name)

    # -- blocks --

    def label(self, what: str) -> str:
        self.count += 1
        return f"{what}{self.count}"

    def start(self, block: str) -> None:
        """Go on in a block; what comes before goes there too."""
        if self.open:
            self.lines.append(f"  br label %{block}")
        self.lines.append(f"{block}:")
        self.block = block
        self.open = True

    def jump(self, block: str, note: str = "") -> None:
        if self.open:
            self.lines.append(f"  br label %{block}{note}")
            self.open = False

    def branch(self, condition: Value, yes: str, no: str) -> None:
        self.lines.append(f"  br i1 {condition.text}, label %{yes}, label %{no}")
        self.open = False

    def answer(self, text: str) -> None:
        if self.open:
            self.lines.append(f"  ret {text}")
            self.open = False

    def phi(self, type_: Type, *incoming: tuple[Value, str]) -> Value:
        return self.emit(f"phi {type_.name} {', '.join(f'[{v.text}, %{block}]' for v, block in incoming)}", type_)
