"""A function of kernel text: statements and expressions, into LLVM's blocks.

A variable that is assigned once has the value's name as far as its block reaches. Any other is memory on the stack, which LLVM turns
into values; its kind holds all that is assigned to it. Both are found on the way: where an assumption fails, translation starts again
with what is known better.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any

from irgrad.codegen.llvm.calls import apart, calls
from irgrad.codegen.llvm.kinds import COMPLEX, LLVM, PART, Number, Pointer, Unsupported, cast, constant, truth, unified, whole
from irgrad.codegen.llvm.module import Module
from irgrad.codegen.llvm.operators import binary, choose, compare, unary
from irgrad.codegen.llvm.tree import walk
from irgrad.codegen.llvm.vectors import vectorised
from irgrad.codegen.llvm.writer import DOUBLE, I1, I64, POINTER, Value, Writer
from irgrad.errors import InternalError

ATTEMPTS = 60
NAMES = {"inf": math.inf, "nan": math.nan, "math.inf": math.inf, "math.nan": math.nan, "math.pi": math.pi}
SIMPLE = (ast.Name, ast.Constant, ast.Compare, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.IfExp, ast.cmpop, ast.operator, ast.unaryop,
          ast.boolop, ast.expr_context)  # fmt: skip
COSTLY = (ast.FloorDiv, ast.Mod, ast.Div, ast.Pow)


class _Again(Exception):
    """Something about a variable was not known: translate the function again."""


class Space:
    """Functions and constants that a text may use besides the names of kernels: its own, and those of a space around it."""

    def __init__(
        self, functions: dict[str, ast.FunctionDef], constants: Mapping[str, Any], around: Callable[[], Space] | None = None
    ) -> None:
        self.functions = functions
        self.constants = constants
        self.around = around

    def function(self, name: str) -> tuple[ast.FunctionDef, Space]:
        """A function, and the space of its own text."""
        found = self.functions.get(name)
        if found is not None:
            return found, self
        if self.around is None:
            raise Unsupported(f"the name {name}")
        return self.around().function(name)


class Function:
    """The translation of one function for operands of given kinds."""

    def __init__(self, module: Module, space: Space, definition: ast.FunctionDef, operands: list[Any], result: str | None) -> None:
        self.module = module
        self.space = space
        self.definition = definition
        self.parameters = operands
        self.result = result
        self.kinds: dict[str, str] = {}
        self.kept: set[str] = set()  # variables in memory
        self.bound: set[str] = set()  # variables that the text so far gives values to
        self.assigned, self.targets = _assigned(definition)
        self.w = Writer(module)
        self.names: dict[str, Any] = {}
        self.memory: dict[str, tuple[Value, ...]] = {}
        self.loops: list[tuple[str, str, list[str]]] = []
        self.loop_names: list[str] = []

    def translate(self) -> None:
        """Fill the writer."""
        self.kept |= {name for name, count in self.assigned.items() if count > 1}
        self.kept |= {a.arg for a in self.definition.args.args if a.arg in self.assigned}
        for _ in range(ATTEMPTS):
            self.w = Writer(self.module)
            self.names, self.memory, self.loops, self.loop_names = {}, {}, [], []
            self.bound = {a.arg for a in self.definition.args.args}
            try:
                self._parameters()
                self.statements(self.definition.body)
            except _Again:
                continue
            if self.w.open:
                self._end()
            return
        raise Unsupported(f"the variables of {self.definition.name}")

    def _parameters(self) -> None:
        for argument, value in zip(self.definition.args.args, self.parameters, strict=True):
            if argument.arg in self.kept:
                self.bind(argument.arg, value)
            else:
                self.names[argument.arg] = value

    def _end(self) -> None:
        if self.result not in (None, "none"):
            raise Unsupported(f"{self.definition.name} without a result")
        self.result = "none"
        self.w.answer("void")

    # -- variables --

    def bind(self, name: str, value: Any) -> None:
        self.bound.add(name)
        if name not in self.kept:
            self.names[name] = value
            return
        known = self.kinds.get(name)
        if isinstance(value, Pointer) and not value.note and known in (None, value.kind):
            self.kinds[name] = value.kind
            self.w.store(value.address, self._memory(name, value.kind)[0])
            return
        if not isinstance(value, Number):
            raise Unsupported(f"{name} of several values")
        kind = value.kind if known is None else unified(known, value.kind)
        if kind != known:
            self.kinds[name] = kind
            if known is not None:
                raise _Again
        number = cast(self.w, value, kind)
        for place, part in zip(self._memory(name, kind), number.parts if kind in COMPLEX else (number.re,), strict=True):
            self.w.store(part, place)

    def _memory(self, name: str, kind: str) -> tuple[Value, ...]:
        places = self.memory.get(name)
        if places is None:
            count = 2 if kind in COMPLEX else 1
            places = self.memory[name] = tuple([self.w.on_stack(LLVM.get(kind, POINTER)) for _ in range(count)])
        return places

    def read(self, name: str) -> Any:
        value = self.names.get(name)
        if value is not None:
            return value
        if (name in self.assigned or name in self.kept) and name not in self.bound:
            raise InternalError(f"{self.definition.name} reads {name} before it is computed: a fault of irgrad, please report it")
        if name in self.kept:
            kind = self.kinds[name]
            found = [self.w.load(LLVM.get(kind, POINTER), place) for place in self._memory(name, kind)]
            return Pointer(kind[:-1], found[0]) if kind[-1] == "*" else Number(kind, *found)
        if name in self.assigned or name in self.targets:
            self.kept.add(name)
            raise _Again
        if name in self.space.constants:
            return self._constant(name, self.space.constants[name])
        if name in NAMES:
            return constant(NAMES[name])
        raise Unsupported(f"the name {name}")

    def _constant(self, name: str, value: Any) -> Any:
        if not isinstance(value, tuple):
            return constant(value)
        symbol = f"@{name}"
        self.module.declared[symbol] = (
            f"{symbol} = private constant [{len(value)} x double] [{', '.join(f'double {DOUBLE(x).text}' for x in value)}]"
        )
        return Pointer("float64", Value(DOUBLE, symbol))

    # -- statements --

    def statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if not self.w.open:
                return
            write = STATEMENTS.get(type(statement))
            if write is None:
                raise Unsupported(type(statement).__name__)
            write(self, statement)

    def block(self, body: list[ast.stmt]) -> None:
        """Statements whose new names end with them."""
        outer = dict(self.names)
        self.statements(body)
        self.names = outer

    def assign(self, statement: ast.Assign) -> None:
        if len(statement.targets) != 1:
            raise Unsupported("several targets")
        target, value = statement.targets[0], self.value(statement.value)
        if isinstance(target, ast.Name):
            self.bind(target.id, value)
            return
        if not isinstance(target, ast.Tuple) or not isinstance(value, tuple) or len(value) != len(target.elts):
            raise Unsupported("this target")
        for each, part in zip(target.elts, value, strict=True):
            if not isinstance(each, ast.Name):
                raise Unsupported("this target")
            self.bind(each.id, part)

    def augment(self, statement: ast.AugAssign) -> None:
        if not isinstance(statement.target, ast.Name):
            raise Unsupported("this target")
        old = self.read(statement.target.id)
        self.bind(statement.target.id, binary(self.w, type(statement.op), old, self.value(statement.value)))

    def expression(self, statement: ast.Expr) -> None:
        if not isinstance(statement.value, ast.Constant):  # a docstring
            self.value(statement.value)

    def answer(self, statement: ast.Return) -> None:
        value = self.value(statement.value) if statement.value is not None else None
        if not isinstance(value, Number):
            raise Unsupported("this result")
        kind = value.kind if self.result is None else unified(self.result, value.kind)
        if kind != self.result:
            first = self.result is None
            self.result = kind
            if not first:
                raise _Again
        number = cast(self.w, value, kind)
        type_ = LLVM[kind]
        if kind not in COMPLEX:
            self.w.answer(f"{type_} {number.re.text}")
            return
        re, im = number.parts
        name = result_type(kind)
        half = self.w.emit(f"insertvalue {name} poison, {type_} {re.text}, 0", type_)
        self.w.answer(f"{name} {self.w.emit(f'insertvalue {name} {half.text}, {type_} {im.text}, 1', type_).text}")

    def condition(self, test: ast.expr) -> Value:
        return truth(self.w, self.number(test))

    def choice(self, statement: ast.If) -> None:
        w = self.w
        found = self.condition(statement.test)
        yes, after = w.label("then"), w.label("after")
        no = w.label("else") if statement.orelse else after
        w.branch(found, yes, no)
        reached = not statement.orelse
        for label, body in ((yes, statement.body), (no, statement.orelse)):
            if body:
                w.start(label)
                self.block(body)
                reached |= w.open
                w.jump(after)
        if reached:
            w.start(after)

    def loop(self, statement: ast.While) -> None:
        if statement.orelse:
            raise Unsupported("else of a loop")
        w = self.w
        head, body, after = w.label("head"), w.label("body"), w.label("after")
        w.start(head)
        endless = isinstance(statement.test, ast.Constant) and bool(statement.test.value)
        if not endless:
            w.branch(self.condition(statement.test), body, after)
            w.start(body)
        left: list[str] = []
        self.loops.append((head, after, left))
        self.block(statement.body)
        w.jump(head)
        self.loops.pop()
        if left or not endless:
            w.start(after)
        self.module.num_plain_loops += 1

    def leave(self, statement: ast.Break) -> None:
        self.loops[-1][2].append("break")
        self.w.jump(self.loops[-1][1])

    def go_on(self, statement: ast.Continue) -> None:
        self.w.jump(self.loops[-1][0])

    def each(self, statement: ast.For) -> None:
        """A loop over a range with a constant step upwards."""
        if statement.orelse or not isinstance(statement.target, ast.Name):
            raise Unsupported("this loop")
        start, stop, step, note = self._range(statement.iter)
        if step == 1 and vectorised(self, statement, start, stop):
            return
        name, w = statement.target.id, self.w
        if name not in self.kept and (name in self.loop_names or name in self.assigned):
            self.kept.add(name)
            raise _Again
        self.loop_names.append(name)
        before = w.label("before")
        w.start(before)
        head, body, following, after = w.label("head"), w.label("body"), w.label("next"), w.label("after")
        w.start(head)
        count = f"%{w.label('i')}"
        w.line(f"{count} = phi i64 [{start.text}, %{before}], [{count}n, %{following}]")
        w.branch(w.icmp_signed("<", Value(I64, count), stop), body, after)
        w.start(body)
        outer = dict(self.names)
        if name in self.kept:
            self.bind(name, Number("int64", Value(I64, count)))
        else:
            self.names[name] = Number("int64", Value(I64, count))
        self.loops.append((following, after, []))
        self.statements(statement.body)
        self.loops.pop()
        self.names = outer
        w.start(following)
        w.line(f"{count}n = add nsw i64 {count}, {step}")
        w.jump(head, note)
        w.start(after)
        self.loop_names.remove(name)

    def _range(self, found: ast.expr) -> tuple[Value, Value, int, str]:
        """First value, end and step of a range, and what LLVM is told of the loop."""
        names = ("range", "lanes", "pairs", "singles")  # `lanes` are for vectors, not to be unrolled into numbers before
        if not isinstance(found, ast.Call) or not isinstance(found.func, ast.Name) or found.func.id not in names or found.keywords:
            raise Unsupported("a loop over something else than a range")
        step = 1
        if len(found.args) == 3:
            last = found.args[2]
            if not isinstance(last, ast.Constant) or not isinstance(last.value, int) or last.value <= 0:
                raise Unsupported("a range with this step")
            step = last.value
        ends = [self.number(end) for end in found.args[:2]]
        if any(end.kind not in ("int64", "int32", "bool") for end in ends):
            raise Unsupported("a range of such numbers")
        if len(ends) == 1:
            ends.insert(0, whole(0))
        advice = {"lanes": '"llvm.loop.unroll.disable"', "pairs": '"llvm.loop.interleave.count", i32 2'}.get(found.func.id)
        note = "" if advice is None else self.w.module.loop_note(advice)
        return cast(self.w, ends[0], "int64").re, cast(self.w, ends[1], "int64").re, step, note

    # -- expressions --

    def value(self, node: ast.expr) -> Any:
        write = EXPRESSIONS.get(type(node))
        if write is None:
            raise Unsupported(type(node).__name__)
        return write(self, node)

    def number(self, node: ast.expr) -> Number:
        found = self.value(node)
        if not isinstance(found, Number):
            raise Unsupported(f"{ast.unparse(node)} as a number")
        return found

    def call(self, node: ast.Call) -> Any:
        if node.keywords:
            raise Unsupported("keywords")
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        operands = [self.value(argument) for argument in node.args]
        write = calls().get(name)
        if write is not None:
            return write(self.w, *operands)
        if name == "hurwitz_zeta":
            return self._in_double("zeta", operands)
        return self.routine(name, operands)

    def _in_double(self, name: str, operands: list[Number]) -> Number:
        made = self.routine(name, [cast(self.w, o, "float64") for o in operands])
        single = all(o.kind == "float32" for o in operands)
        return cast(self.w, made, "float32") if single else made

    def routine(self, name: str, operands: list[Any]) -> Any:
        """A call of a function of the text's surroundings, translated for these operands."""
        self.w.refuse(operands)
        definition, space = self.space.function(name)
        symbol = f"irgrad_{name}_{'_'.join(o.kind.replace('*', 'p') for o in operands)}"
        kind = self.module.typed.get(symbol)
        if kind is None:
            loops = self.module.num_plain_loops
            kind = self.module.typed[symbol] = define(self.module, space, definition, symbol, operands, None)
            self.module.num_plain_loops = loops  # those of a routine are no vectors in any case
        given = ", ".join(f"{part.type} {part.text}" for o in operands for part in _parts(o))
        if kind == "none":
            self.w.line(f"call void @{symbol}({given})")
            return None
        made = self.w.emit(f"call {result_type(kind)} @{symbol}({given})", LLVM[kind])
        return Number(kind, *apart(self.w, made)) if kind in COMPLEX else Number(kind, made)

    def sign(self, node: ast.UnaryOp) -> Number:
        known = node.operand.value if isinstance(node.operand, ast.Constant) else None
        if isinstance(node.op, ast.USub) and type(known) in (int, float):
            return constant(-known)  # type: ignore[operator]
        return unary(self.w, type(node.op), self.number(node.operand))

    def both(self, node: ast.BoolOp) -> Number:
        w = self.w
        total = self.condition(node.values[0])
        is_or = isinstance(node.op, ast.Or)
        for each in node.values[1:]:
            if _is_simple(each):
                total = (w.or_ if is_or else w.and_)(total, self.condition(each))
                continue
            block, more, after = w.label("left"), w.label("right"), w.label("after")
            w.start(block)
            w.branch(total, *((after, more) if is_or else (more, after)))
            w.start(more)
            found = self.condition(each)
            last = w.block
            w.start(after)
            total = w.phi(I1, (Value(I1, "true" if is_or else "false"), block), (found, last))
        return Number("bool", total)

    def either(self, node: ast.IfExp) -> Any:
        w, condition = self.w, self.condition(node.test)
        if _is_simple(node.body) and _is_simple(node.orelse):
            a, b = self.number(node.body), self.number(node.orelse)
            kind = unified(a.kind, b.kind)
            return choose(w, condition, cast(w, a, kind), cast(w, b, kind))
        labels = [w.label("yes"), w.label("no")]
        after = w.label("after")
        w.branch(condition, *labels)
        found: list[tuple[Number, str, int]] = []
        for label, part in zip(labels, (node.body, node.orelse), strict=True):
            w.start(label)
            number = self.number(part)
            found.append((number, w.block, len(w.lines)))
            w.lines.append("")
            w.open = False
        kind = unified(found[0][0].kind, found[1][0].kind)
        numbers = [self._ended(number, kind, place, after) for number, _, place in found]
        w.start(after)
        ends = [block for _, block, _ in found]
        parts = [w.phi(LLVM[kind], *zip(values, ends, strict=True)) for values in zip(*map(_parts, numbers), strict=True)]
        return Number(kind, *parts)

    def _ended(self, number: Number, kind: str, place: int, after: str) -> Number:
        """Finish a block that was left open at a line: its number in a kind, and a jump."""
        w, lines = self.w, self.w.lines
        w.lines, w.open = [], True
        made = cast(w, number, kind)
        w.jump(after)
        lines[place] = "\n".join(w.lines)
        w.lines = lines
        return made

    def attribute(self, node: ast.Attribute) -> Any:
        text = ast.unparse(node)
        if text in NAMES:
            return constant(NAMES[text])
        z = self.number(node.value)
        if node.attr not in ("real", "imag") or z.im is None:
            raise Unsupported(text)
        return Number(PART[z.kind], z.re if node.attr == "real" else z.im)

    def item(self, node: ast.Subscript) -> Any:
        return calls()["load"](self.w, self.value(node.value), self.number(node.slice))

    def comparison(self, node: ast.Compare) -> Number:
        if len(node.ops) != 1:
            raise Unsupported("a chain of comparisons")
        return compare(self.w, type(node.ops[0]), self.number(node.left), self.number(node.comparators[0]))


STATEMENTS: dict[type[ast.stmt], Callable[[Function, Any], None]] = {
    ast.Assign: Function.assign, ast.AugAssign: Function.augment, ast.Expr: Function.expression, ast.Return: Function.answer,
    ast.If: Function.choice, ast.While: Function.loop, ast.For: Function.each, ast.Break: Function.leave, ast.Continue: Function.go_on,
    ast.Pass: lambda function, statement: None,
}  # fmt: skip
EXPRESSIONS: dict[type[ast.expr], Callable[[Function, Any], Any]] = {
    ast.Name: lambda f, node: f.read(node.id),
    ast.Constant: lambda f, node: constant(node.value),
    ast.BinOp: lambda f, node: binary(f.w, type(node.op), f.number(node.left), f.number(node.right)),
    ast.UnaryOp: Function.sign,
    ast.Tuple: lambda f, node: tuple([f.value(each) for each in node.elts]),
    ast.Call: Function.call, ast.BoolOp: Function.both, ast.IfExp: Function.either, ast.Attribute: Function.attribute,
    ast.Subscript: Function.item, ast.Compare: Function.comparison,
}  # fmt: skip


def define(
    module: Module,
    space: Space,
    definition: ast.FunctionDef,
    symbol: str,
    operands: list[Any],
    result: str | None,
    linkage: str = "internal ",
) -> str:
    """Add a function to a module for operands of the kinds of `operands`; answers the kind of its result."""
    count = iter(range(2 * len(operands)))
    given = [_named(operand, [f"%x{next(count)}" for _ in _parts(operand)]) for operand in operands]
    function = Function(module, space, definition, given, result)
    function.translate()
    kind = function.result
    assert kind is not None
    parameters = ", ".join(f"{part.type} {part.text}" for operand in given for part in _parts(operand))
    head = f"define {linkage}{'void' if kind == 'none' else result_type(kind)} @{symbol}({parameters}) nounwind{module.width()} {{"
    module.defined[symbol] = "\n".join([head, "entry:", *function.w.first, *function.w.lines, "}"])
    return kind


def result_type(kind: str) -> str:
    name = LLVM[kind].name
    return f"{{{name}, {name}}}" if kind in COMPLEX else name


def _parts(operand: Any) -> list[Value]:
    if isinstance(operand, Pointer):
        return [Value(POINTER, operand.address.text)]
    return [operand.re] if operand.im is None else [operand.re, operand.im]


def _named(operand: Any, names: list[str]) -> Any:
    values = [Value(part.type, name) for part, name in zip(_parts(operand), names, strict=True)]
    return Pointer(operand.element, values[0]) if isinstance(operand, Pointer) else Number(operand.kind, *values)


def _assigned(definition: ast.FunctionDef) -> tuple[dict[str, int], set[str]]:
    """How often each name is assigned, and the names that loops count with."""
    found: dict[str, int] = {}
    names = [node for node in walk(definition) if isinstance(node, (ast.Name, ast.For))]
    targets = {id(node.target): node.target for node in names if isinstance(node, ast.For)}
    for node in names:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in targets:
            found[node.id] = found.get(node.id, 0) + 1
    return found, {target.id for target in targets.values() if isinstance(target, ast.Name)}


def _is_simple(node: ast.expr) -> bool:
    """Can an expression be computed where it is not wanted?"""
    return all(isinstance(part, SIMPLE) and not isinstance(part, COSTLY) for part in ast.walk(node))
