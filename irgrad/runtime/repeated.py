"""Linking uses of one template that a loop of the user's program repeats, without working each of them out.

What `Linker.instance` does for a use depends on the strides of its external values, on which of them die there alone in their memory and
on whether results are handed out. A function generated for one way of it looks at these first and answers None where they are others,
having changed nothing; else it does the same to places and arena, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from irgrad.codegen.lowered import Lowered, Row
from irgrad.codegen.program import REF_BITS
from irgrad.runtime.binding import text_of
from irgrad.runtime.memory import Buffer, Place, rounded

OFTEN = 4  # uses worked out before there is a function
Link: TypeAlias = Callable[..., "tuple[list[int], ...] | None"]


@dataclass(slots=True)
class Repeated:
    """The function, ``link(instance, places, arena, dying, kept, direct, literal, symbols)``, and the text and sizes of the rows whose
    references it gives; `source` is the text where there is one row without sizes."""

    link: Link
    rows: list[tuple[str, list[int]]]
    flops: int
    source: str | None


def repeated(
    lowered: Lowered, positions: Sequence[int], strides: Sequence[tuple[int, ...]], may_take: Sequence[int], taken: Sequence[int]
) -> Repeated | None:
    """The function of a use whose external values have these strides and whose results, at `positions`, have taken over the memory of the
    slots `taken` out of `may_take`; None where a use is more than plain rows."""
    rows = [row for row in lowered.rows if isinstance(row, Row) and row.is_plain and row.streamed is None]
    if len(rows) != len(lowered.rows) or any(export.ref is None for export in lowered.exports):
        return None
    text = _Text(lowered, positions, strides)
    text.look(may_take, taken)
    text.bind(rows)
    text.hand_out()
    source = rows[0].source if len(rows) == 1 and not rows[0].sizes else None
    return Repeated(text.compiled(), [(row.source, row.sizes) for row in rows], sum(row.flops for row in rows), source)


class _Text:
    def __init__(self, lowered: Lowered, positions: Sequence[int], strides: Sequence[tuple[int, ...]]) -> None:
        self.lowered = lowered
        self.positions = positions
        self.strides = strides
        self.names: dict[str, Any] = {"Place": Place, "Buffer": Buffer}
        self.lines: list[str] = []
        self.given: dict[int, list[int]] = {}  # buffer -> the results in it
        for k, export in enumerate(lowered.exports):
            assert export.ref is not None
            if export.ref.home[0] == "buffer":
                self.given.setdefault(export.ref.home[1], []).append(k)

    def compiled(self) -> Link:
        body = "\n    ".join(self.lines)
        exec(compile(f"def link(instance, P, arena, dying, kept, direct, literal, Y):\n    {body}\n", "<irgrad link>", "exec"), self.names)
        made: Link = self.names["link"]
        return made

    def const(self, value: Any) -> str:
        name = f"k{len(self.names)}"
        self.names[name] = value
        return name

    def look(self, may_take: Sequence[int], taken: Sequence[int]) -> None:
        """Is this use such a one?"""
        lines, count = self.lines, len(self.strides)
        if count:
            lines.append(f"{''.join(f'e{k}, ' for k in range(count))}= instance.externals")
            lines += [f"p{k} = P[e{k}]" for k in range(count)]
            others = " or ".join(f"p{k}.strides{f' != {self.const(s)}' if s else ''}" for k, s in enumerate(self.strides))
            lines.append(f"if {others}: return None")
        if self.positions:
            lines.append("V = instance.values")
            lines += [f"r{k} = V[{position}]" for k, position in enumerate(self.positions)]
            lines.append(
                f"if direct and not direct.keys().isdisjoint(({''.join(f'r{k}, ' for k in range(len(self.positions)))})): return None"
            )
        for slot in may_take:
            lines.append(f"if {'not ' if slot in taken else ''}({self.alone(slot)}): return None")
        lines += [f"if not ({self.alone(slot)}): return None" for slot in sorted(self.lowered.changed)]

    def alone(self, slot: int) -> str:
        """Does an external value die here, alone in memory of the arena?"""
        others = "".join(f" and p{k}.buffer is not b" for k in range(len(self.strides)) if k != slot)
        return f"(b := p{slot}.buffer) is not None and b.values == 1 and e{slot} in dying{others}"

    def bind(self, rows: list[Row]) -> None:
        """References of literals, buffers and rows."""
        lines, lowered = self.lines, self.lowered
        refs = [ref for row in rows for ref in row.refs()] + [export.ref for export in lowered.exports if export.ref is not None]
        used = "".join(map(text_of, refs))
        count = len(self.strides)
        names = {f"S[{k}]": f"p{k}.ref" for k in range(count)}
        literals = [k for k in range(lowered.num_inputs - count) if f"S[{count + k}]" in used]
        if literals:
            lines.append("L = instance.literals")
        for k in range(lowered.num_inputs - count):
            if k in literals:
                lines += [f"d = L[{k}]", f"c{k} = literal(d.value, d.dtype)"]
            names[f"S[{count + k}]"] = f"c{k}"
        if "T[" in used:
            lines.append("T = instance.starts")
        if lowered.buffers:
            lines.append("free = arena.free")
        for k, nbytes in enumerate(lowered.buffers):
            size = rounded(nbytes)
            top = "arena.top" if size < 64 else "-(-arena.top // 64) * 64"
            lines += [
                f"f = free.get({size})", "if f:", f"    o{k} = f.pop()", "else:", f"    o{k} = {top}", f"    arena.top = o{k} + {size}",
                f"m{k} = o{k} << {REF_BITS}",
            ]  # fmt: skip
            names[f"B[{k}]"] = f"m{k}"
        self.references = names
        rows_text = "".join(f"[{', '.join(map(self.reference, row.refs()))}], " for row in rows)
        lines.append(f"rows = ({rows_text})")

    def reference(self, ref: Any) -> str:
        text = text_of(ref)
        if isinstance(ref, str):
            return text
        home = f"{'S' if ref.home[0] == 'slot' else 'B'}[{ref.home[1]}]"
        return self.references[home] + text.removeprefix(home)

    def hand_out(self) -> None:
        """Places of the results that are kept; buffers without any are free again."""
        lines, lowered = self.lines, self.lowered
        for k, export in enumerate(lowered.exports):
            assert export.ref is not None
            kind, index = export.ref.home
            made = f"P[r{k}] = Place({self.reference(export.ref)}, {self.const(export.strides)}"
            lines.append(f"if r{k} in kept:")
            if kind == "slot":
                if index < len(self.strides):
                    lines += [f"    b = p{index}.buffer", f"    if b is not None: b.take(r{k})"]
                    lines.append(f"    {made}, b)")
                else:
                    lines.append(f"    {made})")
                continue
            given, size = self.given[index], rounded(lowered.buffers[index])
            if len(given) == 1:
                lines.append(f"    {made}, Buffer(o{index}, {size}, 1, r{k}))")
                continue
            if k == given[0]:
                lines.insert(len(lines) - 1, f"n{index} = Buffer(o{index}, {size})")
            lines += [f"    n{index}.take(r{k})", f"    {made}, n{index})"]
        for k, nbytes in enumerate(lowered.buffers):
            given = self.given.get(k, [])
            indent = ""
            if given:
                lines.append(f"if {f'r{given[0]} not in kept' if len(given) == 1 else f'not n{k}.values'}:")
                indent = "    "
            lines += [f"{indent}f = free.get({rounded(nbytes)})", f"{indent}if f is None: free[{rounded(nbytes)}] = [o{k}]"]
            lines.append(f"{indent}else: f.append(o{k})")
        lines.append("return rows")
