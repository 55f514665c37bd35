"""A module of LLVM as text: functions, what they call, and which memory overlaps."""

from __future__ import annotations

from functools import cache

from irgrad.codegen import vector
from irgrad.codegen.llvm.writer import Type

PURE = "nounwind willreturn memory(none)"


class Module:
    """Declarations and definitions by symbol, in the order of their first use."""

    def __init__(self) -> None:
        self.declared: dict[str, str] = {}
        self.defined: dict[str, str] = {}
        self.notes: list[str] = []
        self.scopes: dict[int, list[str]] = {}
        self.typed: dict[str, str] = {}  # kinds of what routines return, by symbol
        self.num_plain_loops = 0  # loops that LLVM may make vectors of
        self.num_vector_loops = 0  # those that are
        self.may_have_vectors = True
        self.spills = False  # does one keep vectors on the stack while it calls a routine?
        self.wide = False  # does a function ask for vectors of `vector.width()`?

    def declare(self, symbol: str, text: str, attributes: str = "") -> None:
        if symbol not in self.declared:
            self.declared[symbol] = f"declare {text} {attributes}"

    def text(self) -> str:
        return "\n".join([*self.declared.values(), *self.defined.values(), *self.notes, ""])

    def width(self) -> str:
        """Attributes of a function: what vectors it is to have, and a stack whose lines they do not cross."""
        if not self.wide:
            return ""
        return f' "prefer-vector-width"="{vector.width()}"' + (' "stackrealign"' if self.spills else "")

    # -- functions of libm --

    def function_of_libm(self, name: str, type_: Type, arity: int) -> str:
        """The symbol that computes a function: with a form for vectors where there is one."""
        single = type_.width == 32
        found = vector.variant(name, single)
        if found is None:
            return self.scalar_function(name, type_, arity)
        symbol = f"irgrad_{name}{'f' if single else ''}"
        if symbol not in self.defined:
            routine, lanes = found
            whole = f"<{lanes} x {type_.name}>"
            self.declare(f"@{routine}", f"{whole} @{routine}({', '.join([whole] * arity)})", PURE)
            self.defined[symbol] = _vector_forms(symbol, routine, lanes, type_.name, arity)
        return f"@{symbol}"

    def vector_function(self, name: str, type_: Type, arity: int, lanes: int) -> str:
        """The symbol that computes a function in so many lanes, empty where there is none."""
        routine, most = vector.variant(name, type_.width == 32) or ("", 0)
        if lanes not in (most, most // 2) or not routine:
            return ""
        self.spills = True
        whole = f"<{most} x {type_.name}>"
        self.declare(f"@{routine}", f"{whole} @{routine}({', '.join([whole] * arity)})", PURE)
        if lanes == most:
            return f"@{routine}"
        symbol = f"irgrad_{name}{lanes}"
        if symbol not in self.defined:
            self.defined[symbol] = _part(f"internal <{lanes} x {type_.name}> @{symbol}", routine, most, lanes, type_.name, arity, "")
        return f"@{symbol}"

    def scalar_function(self, name: str, type_: Type, arity: int) -> str:
        symbol = f"@{name}{'f' if type_.width == 32 else ''}"
        self.declare(symbol, f"{type_.name} {symbol}({', '.join([type_.name] * arity)})", PURE)
        return symbol

    def define_guarded(
        self, symbol: str, head: str, lines: list[str], made: str, good: str, lanes: int, type_: str, call: tuple[str, str, str]
    ) -> None:
        """A function of vectors that answers `made`, but where a lane is not `good` what a call gives there."""
        masks = f"<{lanes} x i1>"
        every = f"@llvm.vector.reduce.and.v{lanes}i1"
        self.declare(every, f"i1 {every}({masks})")
        rest = f"call {type_} {call[0]}({type_} {call[1]}, {type_} {call[2]})"
        self.defined[symbol] = "\n".join([
            f"{head}{self.width()} {{", *lines, f"  %all = call i1 {every}({masks} {good})", "  br i1 %all, label %done, label %rest",
            "rest:",
            f"  %p = {rest}", f"  %o = select {masks} {good}, {type_} {made}, {type_} %p", f"  ret {type_} %o",
            "done:", f"  ret {type_} {made}", "}",
        ])  # fmt: skip

    # -- memory past the caches --

    def stream(self, width: int) -> str:
        """The symbol that moves numbers of so many bytes past the caches."""
        symbol = f"irgrad_stream{width}"
        of_width = {"bits": 8 * width, "width": width}
        head = _SINGLES.format(loop="head", k="h", start=0, before="entry", number="number", stop="%first", then="whole", **of_width)
        rest = _SINGLES.format(loop="rest", k="r", start="%end", before="whole", number="last", stop="%bytes", then="done", **of_width)
        self.defined[symbol] = _STREAM.format(symbol=symbol, head=head, rest=rest, width=width)
        return symbol

    # -- loops --

    def vector_loop(self) -> str:
        """What the end of a loop over vectors says: LLVM is to leave it as it is."""
        first = len(self.notes)
        self.notes += [f"!{first} = distinct !{{!{first}, !{first + 1}, !{first + 2}}}", f'!{first + 1} = !{{!"llvm.loop.unroll.disable"}}']
        self.notes.append(f'!{first + 2} = !{{!"llvm.loop.isvectorized", i32 1}}')
        return f", !llvm.loop !{first}"

    def loop_note(self, advice: str) -> str:
        """What the end of a loop says of how LLVM is to translate it."""
        first = len(self.notes)
        self.notes += [f"!{first} = distinct !{{!{first}, !{first + 1}}}", f"!{first + 1} = !{{!{advice}}}"]
        return f", !llvm.loop !{first}"

    # -- overlapping memory --

    def note(self, scope: int, scopes: int) -> str:
        """What an access in a scope says: it overlaps no access of the others."""
        if scopes < 2:
            return ""
        known = self.scopes.get(scopes)
        if known is None:
            known = self.scopes[scopes] = self._notes(scopes)
        return known[scope]

    def _notes(self, scopes: int) -> list[str]:
        first = len(self.notes)
        self.notes.append(f'!{first} = !{{!"irgrad"}}')
        self.notes += [f'!{first + 1 + k} = !{{!"irgrad {k}", !{first}}}' for k in range(scopes)]
        self.notes += [f"!{first + 1 + scopes + k} = !{{!{first + 1 + k}}}" for k in range(scopes)]
        for k in range(scopes):
            others = ", ".join([f"!{first + 1 + j}" for j in range(scopes) if j != k])
            self.notes.append(f"!{first + 1 + 2 * scopes + k} = !{{{others}}}")
        return [f", !alias.scope !{first + 1 + scopes + k}, !noalias !{first + 1 + 2 * scopes + k}" for k in range(scopes)]


_SINGLES = """{loop}:
  %{k} = phi i64 [{start}, %{before}], [%{k}1, %{number}]
  %{k}m = icmp ult i64 %{k}, {stop}
  br i1 %{k}m, label %{number}, label %{then}
{number}:
  %{k}f = getelementptr i8, ptr %from, i64 %{k}
  %{k}t = getelementptr i8, ptr %to, i64 %{k}
  %{k}v = load volatile i{bits}, ptr %{k}f, align {width}
  store i{bits} %{k}v, ptr %{k}t, align {width}
  %{k}1 = add i64 %{k}, {width}
  br label %{loop}"""

# Whole lines of the cache without reading them; single numbers in front of the first and behind the last. The loads are volatile so that
# no call of memcpy takes their place.
_STREAM = """define internal void @{symbol}(ptr %to, ptr %from, i64 %bytes) nounwind {{
entry:
  %address = ptrtoint ptr %to to i64
  %negative = sub i64 0, %address
  %odd = and i64 %negative, 63
  %few = icmp ult i64 %odd, %bytes
  %first = select i1 %few, i64 %odd, i64 %bytes
  %left = sub i64 %bytes, %first
  %lines = and i64 %left, -64
  %end = add i64 %first, %lines
  br label %head
{head}
whole:
  %k = phi i64 [%first, %head], [%k1, %line]
  %km = icmp ult i64 %k, %end
  br i1 %km, label %line, label %rest
line:
  %kf = getelementptr i8, ptr %from, i64 %k
  %kt = getelementptr i8, ptr %to, i64 %k
  %kv = load <16 x i32>, ptr %kf, align {width}
  store <16 x i32> %kv, ptr %kt, align 64, !nontemporal !{{i32 1}}
  %k1 = add i64 %k, 64
  br label %whole
{rest}
done:
  ret void
}}"""


@cache
def _vector_forms(symbol: str, routine: str, lanes: int, type_: str, arity: int) -> str:
    """A function of one number by a vector routine, and of half a vector: see `irgrad.codegen.vector`."""
    half, letters = f"{symbol}_half", "v" * arity
    forms = f"_ZGV_LLVM_N{lanes}{letters}_{symbol}({routine}),_ZGV_LLVM_N{lanes // 2}{letters}_{symbol}({half})"
    one = _part(f"linkonce_odr {type_} @{symbol}", routine, lanes, 1, type_, arity, f'"vector-function-abi-variant"="{forms}"')
    return _part(f"weak_odr <{lanes // 2} x {type_}> @{half}", routine, lanes, lanes // 2, type_, arity, "") + "\n" + one


def _part(head: str, routine: str, lanes: int, used: int, type_: str, arity: int, attributes: str) -> str:
    """A function that runs a vector routine on fewer lanes: one (a number) or some."""
    whole, some = f"<{lanes} x {type_}>", f"<{used} x {type_}>" if used > 1 else type_
    lines = [f"define {head}({', '.join(f'{some} %x{k}' for k in range(arity))}) noinline {PURE} {attributes} {{"]
    for k in range(arity):
        if used == 1:
            lines.append(f"  %a{k} = insertelement {whole} poison, {type_} %x{k}, i32 0")
            lines.append(f"  %w{k} = shufflevector {whole} %a{k}, {whole} poison, <{lanes} x i32> zeroinitializer")
        else:
            twice = ", ".join(f"i32 {i % used}" for i in range(lanes))
            lines.append(f"  %w{k} = shufflevector {some} %x{k}, {some} poison, <{lanes} x i32> <{twice}>")
    lines.append(f"  %r = call {whole} @{routine}({', '.join(f'{whole} %w{k}' for k in range(arity))})")
    if used == 1:
        lines.append(f"  %o = extractelement {whole} %r, i32 0")
    else:
        kept = ", ".join(f"i32 {i}" for i in range(used))
        lines.append(f"  %o = shufflevector {whole} %r, {whole} poison, <{used} x i32> <{kept}>")
    return "\n".join([*lines, f"  ret {some} %o", "}"])
