"""What segments have in common: their content, as a key, and the kind that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from irgrad.ir.blocks import Kind, aval_at
from irgrad.ir.primitive import Joint, NonDiff, Primitive
from irgrad.ir.recording import INTERNED, Record
from irgrad.ir.value import Static

MAX_KINDS = 2048
_STATIC = 1 << 40
_RULES = "irgrad.ops."  # whose rules go by forms alone; a user's may go by anything
_kinds: dict[Any, Kind] = {}
_ours: dict[Primitive, bool] = {}


def run_key(records: Sequence[Record], first: int, last: int, externals: dict[int, int]) -> list[Any] | None:
    """The content of a segment: `ir.template`'s key, with whole literals by value. None if rules of others belong to it."""
    key: list[Any] = []
    literals: dict[Any, int] = {}
    for record in records[first:last]:
        op, operands = record.op, record.operands
        if op is None:
            key += (-1, record.aval)
            continue
        if not (_ours.get(op) or is_ours(op)):
            return None
        key += (record.code, len(operands))
        for o in operands:
            kind = type(o)
            if kind is int:
                if o >= first:
                    key.append(o - first)
                    continue
                name = externals.get(o)
                if name is None:
                    name = externals[o] = len(externals)
                    key.append(aval_at(records, o))
                key.append(~name)
            elif kind is Static:
                key.append(_STATIC + INTERNED.static(o.value))
            elif type(o.value) is float:
                key.append(2 * _STATIC + literals.setdefault(o.key, len(literals)))
            else:
                key.append((type(o.value), o.value if type(o.value) in (int, bool) else literals.setdefault(id(o.value), len(literals))))
    return key


def shared_kind(content: Any) -> Kind:
    """The kind of the segments of this content."""
    if len(_kinds) >= MAX_KINDS:
        _kinds.clear()
    return _kinds.setdefault(content, Kind())


def is_ours(op: Primitive) -> bool:
    """Are the reverse rules of an operation irgrad's own, and of the simple kind?"""
    rules = op.vjp.rule if isinstance(op.vjp, Joint) else op.vjp
    each = rules if isinstance(rules, tuple) else (rules,)
    made = isinstance(rules, NonDiff) or all(rule is None or getattr(rule, "__module__", "").startswith(_RULES) for rule in each)
    _ours[op] = made
    return made
