"""The primitives of structured loops. Each has bodies as params and one packed result, out of which `pick` takes the parts.

- ``scan[body, length, carries, xs, ...] consts... carries... xs... [count]``: results of the body are carries, then ys. With `saved` the
  carries that each iteration began with are parts as well; with `counted` the last operand says how many of `length` iterations run.
- ``while_loop[test, body] consts... carries...``: the parts are the final carries and the number of iterations.
- ``cond[branches] index consts... operands...``: runs one of the branches; ``checkpoint`` is one of a single branch, which stands for
  itself in reverse mode: nothing inside of it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irgrad.codegen.loops import parts, stacked
from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import LINEAR, PURE, Joint, Part, Primitive, primitive
from irgrad.loops import rules
from irgrad.runtime.bodies import link_all, result_parts, result_words, run_loop

_INT = Aval((), np.dtype(np.int64))


def _operands(kind: str, params: dict[str, Any]) -> list[Aval]:
    if kind == "scan":
        inputs = params["body"].inputs
        first = len(inputs) - params["xs"]
        return [*inputs[:first], *stacked(inputs[first:], params["length"]), *([_INT] if params["counted"] else [])]
    if kind == "while_loop":
        return list(params["body"].inputs)
    return [_INT, *params["branches"][0].inputs]


def _declare(kind: str, vjp: Any, jvp: Any) -> Primitive:
    def evaluate(*operands: Any, **params: Any) -> Any:
        return run_loop(kind, params, operands, _operands(kind, params))

    def aval(*avals: Aval, **params: Any) -> Aval:
        for have, want in zip(avals, _operands(kind, params), strict=True):
            if not have.same_array(want):
                raise TypeError(f"{kind}: expected an operand {want}, got {have}")
        link_all(params)  # a graph with this node is going to be compiled
        return Aval((result_words(kind, params),), np.dtype(np.float64))

    return primitive(kind, evaluate=evaluate, aval=aval, vjp=vjp, jvp=jvp, traits=PURE)


SCAN = _declare("scan", Joint(rules.scan_vjp), rules.scan_jvp)
WHILE = _declare("while_loop", Joint(rules.while_vjp), rules.while_jvp)
COND = _declare("cond", Joint(rules.branch_vjp), rules.branch_jvp)
CHECKPOINT = _declare("checkpoint", Joint(rules.checkpoint_vjp), rules.checkpoint_jvp)


def _pick(packed: Any, *, part: int, offset: int, shape: tuple[int, ...], dtype: str, kind: str) -> Any:
    kept = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64))
    raw = packed[offset : offset - (-size * kept.itemsize // 8)].view(np.uint8)[: size * kept.itemsize]
    value = raw.view(kept).reshape(shape)
    return value if kind == "array" else value[()] if kind == "scalar" else value.item()


def _pick_aval(packed: Aval, *, part: int, offset: int, shape: tuple[int, ...], dtype: str, kind: str) -> Aval:
    return Aval(shape, np.dtype(dtype), kind)


def _pick_vjp(b: Builder, ct: Any, out: Any, packed: Any, *, part: int, **_: Any) -> Part:
    return Part(part, ct)


def _pick_jvp(b: Builder, t: Mapping[int, Any], out: Any, packed: Any, *, part: int, **_: Any) -> Any:
    return t.get(part)


PICK = primitive("pick", evaluate=_pick, aval=_pick_aval, vjp=(_pick_vjp,), jvp=(_pick_jvp,), traits=PURE)


def pick_params(kind: str, params: dict[str, Any], kinds: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Params of the picks of all parts of a loop's result; `kinds` of scalars and Python numbers among the first ones."""
    avals = result_parts(kind, params)
    offsets, _ = parts(avals)
    made: list[dict[str, Any]] = []
    for k, (aval, offset) in enumerate(zip(avals, offsets, strict=True)):
        known = kinds[k] if k < len(kinds) else "scalar"
        found = "array" if aval.shape else known
        made.append({"part": k, "offset": offset, "shape": aval.shape, "dtype": aval.dtype.name, "kind": found})
    return made


__all__ = ["CHECKPOINT", "COND", "LINEAR", "PICK", "SCAN", "WHILE", "pick_params"]
