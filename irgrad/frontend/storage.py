"""Storages: the memory behind traced arrays that are written in place.

A tracer is both a handle (the user's array) and a value that never changes. From the first write on, a trace keeps a `Storage` for
the memory: the handle that first had it and the *version*, the value that it holds now. A write is a functional update of the
version, recorded; handles are resolved to the present version, views of them to the same view of it, when they become operands.
Derivative rules refer to values, never to handles: they record with `Trace.raw`.

The concrete buffer of a version belongs to its storage and is written in place, unless the version was an operand in between: then
the write copies first. Views are recorded with values of their own.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from irgrad.errors import DifferentiationError, TraceError
from irgrad.frontend.overlaps import Step, share
from irgrad.frontend.sites import code_info, user_source
from irgrad.frontend.tracer import Tracer, is_deferred
from irgrad.ir.primitive import PART, REGISTRY, VIEW, Primitive

if TYPE_CHECKING:
    from irgrad.frontend.trace import Trace

Params = dict[str, tuple[int, ...]]
_ndarray = np.ndarray
SHARES = VIEW | PART  # numpy's result shares memory with operand 0


class Storage:
    """One array's memory: `root`, the handle that had it first, and its contents after `number` writes."""

    __slots__ = ("line", "number", "owned", "read", "root", "version", "views")

    def __init__(self, root: Tracer) -> None:
        self.root = root
        self.version = root
        self.number = 0
        self.owned = False  # the version's buffer may be changed in place
        self.read = True  # the version is an operand of something that keeps its bits
        self.views: dict[int, tuple[int, Tracer]] = {}  # view handle -> the same view of the version of that number
        self.line: Any = None  # of the last write


# ---- handles ----


def follow(trace: Trace, t: Tracer) -> tuple[Tracer, list[Tracer], Storage | None]:
    """The handle that owns the memory of `t`, the views from there to `t`, and its storage if it was written."""
    storages = trace.storages
    chain: list[Tracer] = []
    while True:
        storage = storages.get(t.index)
        if storage is not None:
            return storage.root, chain[::-1], storage
        if not is_view(trace, t):
            return t, chain[::-1], None
        chain.append(t)
        t = t.operands[0]


def is_view(trace: Trace, t: Tracer) -> bool:
    """Does `t` share the memory of its operand, as in numpy?"""
    op = t.op
    if op is None or not op.traits & SHARES or type(t.form) is not _ndarray:
        return False
    base = t.operands[0]
    if type(base) is not Tracer or type(base.form) is not _ndarray:
        return False
    if op.traits & PART:
        return bool(base.form.dtype.kind == "c")
    if op.name != "reshape":
        return True
    known = trace.views.get(t.index)
    return bool(np.may_share_memory(t.value, base.value)) if known is None else known


def _is_of_written(trace: Trace, t: Tracer) -> bool:
    """Would `t` be a view of written memory if all reshapes were views? Whether they are may need values that are deferred."""
    while t.index not in trace.storages:
        if t.op is None or not t.op.traits & SHARES or type(t.operands[0]) is not Tracer:
            return False
        t = t.operands[0]
    return True


def resolve(trace: Trace, t: Tracer, whole: bool = True) -> Tracer:
    """The value that the handle `t` has now; `whole` says that its bits are kept by who asks."""
    if type(t.form) is not _ndarray:
        return t
    storage = trace.storages.get(t.index)
    if storage is not None:
        storage.read = storage.read or whole
        return storage.version
    if t.op is None or not t.op.traits & SHARES or (trace.defers and not _is_of_written(trace, t)):
        return t
    _, chain, storage = follow(trace, t)
    if storage is None or not chain:
        return t
    if chain[0].operands[0].index != storage.version.index:
        t = _viewed(trace, storage, chain, t)
    if whole and storage.owned and t.value.base is storage.version.value:
        t.value = t.form = t.value.copy(order="K")  # the bits of a view are looked at in the buffer until somebody keeps them
    return t


def _viewed(trace: Trace, storage: Storage, chain: list[Tracer], t: Tracer) -> Tracer:
    """The view `t` of the present version."""
    known = storage.views.get(t.index)
    if known is not None and known[0] == storage.number:
        return known[1]
    made = storage.version
    before, trace.inside = trace.inside, True
    try:
        for link in chain:
            assert link.op is not None
            made = trace.call(link.op, (made,), link.params)
            if type(made.form) is not _ndarray:
                made = _array_form(made)
    finally:
        trace.inside = before
    storage.views[t.index] = (storage.number, made)
    return made


def _array_form(t: Tracer) -> Tracer:
    """A 0-d array of the same recorded value."""
    made = Tracer(t._trace, np.asarray(t.value), t.op, t.operands, t.params, t.index)
    if t._trace.is_graph:
        made.segment, made.site = t.segment, t.site
    return made


def resolve_all(trace: Trace, args: Sequence[Any], whole: bool) -> list[Any]:
    return [resolve(trace, a, whole) if type(a) is Tracer and a._trace is trace else a for a in args]


def resolve_tree(trace: Trace, value: Any) -> Any:
    """`resolve` in lists, tuples and dicts; bits are not kept."""
    kind = type(value)
    if kind is Tracer:
        return resolve(trace, value, False) if value._trace is trace else value
    if kind is list or kind is tuple:
        return kind([resolve_tree(trace, v) for v in value])
    return value


def present(t: Tracer) -> Tracer:
    """What a handle holds now, to look at."""
    trace = t._trace
    return resolve(trace, t, False) if trace.storages and not trace.raw else t


def slice_of(trace: Trace, t: Tracer, params: Params) -> tuple[Tracer, Params]:
    """A slice of a view of written memory as one of the memory itself, if there is one: a read costs what it reads."""
    made = params
    _, chain, storage = follow(trace, t)
    if storage is None:
        return t, params
    for link in reversed(chain):
        assert link.op is not None
        if link.op.name == "slice":
            made, _ = _through_slice(trace, link, made, None)
        elif link.op.name == "transpose" and len(made["count"]) - len(made["drop"]) <= 1:
            back = sorted(range(len(made["count"])), key=link.params["axes"].__getitem__)
            dropped = tuple(k for k, i in enumerate(back) if i in made["drop"])
            made = {**{k: tuple(made[k][i] for i in back) for k in ("start", "count", "step")}, "drop": dropped}
        elif link.op.name == "reshape" and len(made["count"]) == len(made["drop"]):
            made = _element(link, made)
            made["drop"] = tuple(range(len(made["count"])))
        else:
            return t, params
    return storage.version, made


def _element(link: Tracer, params: Params) -> Params:
    """One element of a reshaped array in the array before."""
    inner, outer = link.shape, link.operands[0].shape
    flat = int(np.ravel_multi_index(params["start"], inner)) if inner else 0
    at = tuple(int(i) for i in np.unravel_index(flat, outer)) if outer else ()
    return {"start": at, "count": (1,) * len(outer), "step": (1,) * len(outer), "drop": ()}


def note_view(trace: Trace, made: Tracer) -> None:
    """A reshape was recorded while there are storages: does it share the memory of its operand?"""
    assert made.op is not None
    if made.op.name != "reshape" or type(made.form) is not _ndarray:
        return
    base = made.operands[0]
    if type(base) is Tracer and type(base.form) is _ndarray:
        seen, storage = laid_out(trace, base)
        if storage is not None:
            trace.views[made.index] = bool(np.may_share_memory(made.op.evaluate(seen, **made.params), seen))


def laid_out(trace: Trace, t: Tracer) -> tuple[Any, Storage | None]:
    """An array with the strides that numpy's would have in the place of `t`, and its storage if it was written."""
    root, chain, storage = follow(trace, t)
    seen = root.value
    for link in chain:
        assert link.op is not None
        seen = getattr(seen, link.op.name) if link.op.traits & PART else np.asarray(link.op.evaluate(seen, **link.params))
    return seen, storage


def memory_order(strides: tuple[int, ...]) -> tuple[int, ...]:
    """The axes from the slowest to the fastest in memory, as numpy's iterators find them: an axis of stride 0 stays where it is."""
    order = list(range(len(strides)))[::-1]
    for place, axis in enumerate(order):
        target = place
        for other in range(place - 1, -1, -1):
            if strides[axis] and strides[order[other]]:
                if abs(strides[axis]) >= abs(strides[order[other]]):
                    break
                target = other
        order.insert(target, order.pop(place))
    return tuple(order[::-1])


def view_of_part(trace: Trace, op: Primitive, x: Tracer, params: dict[str, Any]) -> Tracer:
    """``op(x)`` for a view of real or imaginary parts: the parts of a view, so that elements of them cost what elements cost."""
    before, trace.inside = trace.inside, True
    try:
        assert x.op is not None
        return trace.call(x.op, (trace.call(op, (x.operands[0],), params),), {})
    finally:
        trace.inside = before


# ---- writing ----


def write(trace: Trace, handle: Tracer, params: Params | None, value: Any) -> None:
    """``handle[region] = value``: the region of a slice node (None: all); `value` has the dtype and broadcasts to it."""
    root, chain, storage = follow(trace, handle)
    if trace.fixed and any(link.index in trace.fixed for link in chain):
        raise ValueError("assignment destination is read-only")
    for link in reversed(chain):
        params, value = _through(trace, link, params, value)
    storage = storage or _open(trace, root)
    shape = root.shape
    if params is None or _is_all(params, shape):
        have = np.shape(value.form if type(value) is Tracer else value)
        if params is not None and params["drop"] and have:
            value = _shaped(trace, value, tuple(n for i, n in enumerate(shape) if i not in params["drop"]))
            value = _reshape(trace, value, shape)
        replace(trace, root, identity(trace, _shaped(trace, value, shape)), storage)
        return
    update(trace, storage, REGISTRY["slice_update"], (value,), params)


def update_all(trace: Trace, handle: Tracer, op: Primitive, *operands: Any) -> None:
    """``handle = op(handle, *operands)`` for an update of index arrays."""
    root, chain, storage = follow(trace, handle)
    if not chain:
        update(trace, storage or _open(trace, root), op, operands, {})
        return
    write(trace, handle, None, trace.call(op, (handle, *operands), {}))


def update(trace: Trace, storage: Storage, op: Primitive, operands: Sequence[Any], params: Any) -> None:
    """Record an update of the whole storage, computed in place where nobody keeps the present bits."""
    _note(trace, storage)
    made = [resolve(trace, o) if type(o) is Tracer else o for o in operands]
    if trace.is_graph:
        made = [trace.lift(o) if isinstance(o, _ndarray) and type(o) is not Tracer else o for o in made]
    version = storage.version
    if trace.defers and (later := trace.update_later(op, (version, *made), params)) is not None:
        replace_version(trace, storage, later)
        return
    buffer = version.value
    if storage.read or not storage.owned:
        buffer = buffer.copy(order="K")
    values = [o.value if type(o) is Tracer else o for o in made]
    assert op.in_place is not None
    op.in_place(buffer, *values, **params)
    tracer = trace.append(op, (version, *made), params, buffer)
    storage.owned, storage.read = True, False
    advance(trace, storage, tracer)


def replace(trace: Trace, root: Tracer, made: Tracer, storage: Storage | None = None) -> None:
    """The whole contents become `made`, a value that no other handle has."""
    storage = storage or _open(trace, root)
    _note(trace, storage)
    if not (trace.defers and is_deferred(made)):
        made.value = made.form = laid_like(root.value, made.value)
    replace_version(trace, storage, made)


def laid_like(memory: np.ndarray[Any, Any], value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """New contents of memory with its order of axes: results have numpy's, and their reshapes are views where numpy's are."""
    if value.ndim < 2 or value.strides == memory.strides:
        return value
    made = np.empty_like(memory, subok=False)
    made[...] = value
    return made


def replace_version(trace: Trace, storage: Storage, version: Tracer) -> None:
    """`version` is what the memory holds now; nobody may write into its buffer."""
    storage.owned, storage.read = False, True
    advance(trace, storage, version)


def advance(trace: Trace, storage: Storage, version: Tracer) -> None:
    """`version` is what the memory holds now."""
    storage.version = version
    storage.number += 1
    trace.storages[version.index] = storage


def _open(trace: Trace, root: Tracer) -> Storage:
    """The storage of a handle that has not been written yet.

    Raises TraceError for memory that the traced function does not have to itself.
    """
    if type(root.form) is not _ndarray:
        raise TypeError(f"{type(root.form).__name__!r} object does not support item assignment")
    op = root.op
    if op is None and type(root.params["origin"]) is not int:
        if trace.is_body:
            raise _written_outside(trace.what)
        origin = root.params["origin"]
        name = origin.describe() if origin is not None else "an array made outside"
        raise TraceError(
            f"the traced function writes into {name} ({user_source(sys._getframe(1))}), which it does not own; copy it inside the function "
            "(W = np.copy(W)) or make the array there (np.zeros)"
        )
    if op is not None and op.name == "imag":
        raise ValueError("assignment destination is read-only")  # of a real array
    storage = trace.storages[root.index] = Storage(root)
    return storage


def _written_outside(what: str) -> TraceError:
    where = user_source(sys._getframe(1))
    return TraceError(f"the body of {what} writes into an array from outside of it ({where}); make it a part of the carry and return it")


def _note(trace: Trace, storage: Storage) -> None:
    """Say once that an argument is written: its caller does not see it."""
    root = storage.root
    op = root.op
    if trace.suspended:
        raise _written_outside(trace.suspended)
    if trace.shared and (root.index in trace.shared or root.index in trace.shared.values()):
        source = user_source(sys._getframe(1))
        raise DifferentiationError(
            f"{source.function if source else 'the function'} writes into memory ({source}) that an argument which is being differentiated "
            "shares with another argument: a derivative with respect to one of them alone is not defined; pass copies"
        )
    if storage.number == 0 and not trace.is_body and (op is None or op.name == "mark"):
        storage.line = source = user_source(sys._getframe(1))
        _check_alone(trace, root, source)
        level, frame = 1, sys._getframe(0)
        while frame.f_back is not None and code_info(frame.f_code).internal:
            frame, level = frame.f_back, level + 1
        warnings.warn(
            f"the traced function writes into its argument ({source}); the caller's array stays as it is: copy the argument first "
            "to say that this is meant",
            RuntimeWarning,
            stacklevel=level,
        )


def _check_alone(trace: Trace, root: Tracer, source: Any) -> None:
    """Note that an argument of the program is written.

    Raises SharedArguments where another one shows the same memory, ValueError for an array that is read-only.
    """
    argument = root if root.op is None else root.operands[0] if root.operands else root
    if type(argument) is not Tracer:
        return
    number = argument.params.get("origin")
    if not trace.is_graph or type(number) is not int:
        if not argument.operands and not argument.value.flags.writeable:
            raise ValueError("assignment destination is read-only")
        return
    trace.written_arguments.add(number)
    given = trace.given[number]
    if not given.flags.writeable:
        raise ValueError("assignment destination is read-only")
    if any(k != number and type(other) is _ndarray and share(other, given) for k, other in enumerate(trace.given)):
        raise SharedArguments(
            f"{source.function} writes into its argument ({source}), which shares memory with another argument; pass a copy of one"
        )


class SharedArguments(TraceError):
    """The traced function writes into an argument in whose memory another one is: `jit` and `grad` begin again, with views of one array."""


def view_of(trace: Trace, base: Tracer, steps: Sequence[Step]) -> Tracer:
    """An argument as a view of memory that it shares with others."""
    trace.bases.add(base.index)
    before, trace.inside = trace.inside, True
    try:
        for name, params in steps:
            base = trace.call(REGISTRY[name], (base,), params)
    finally:
        trace.inside = before
    return base


def shared_base(trace: Trace, t: Any) -> int | None:
    """The index of the memory that the argument `t` shares with others, if it does."""
    root = follow(trace, t)[0] if trace.bases and type(t) is Tracer else None
    return root.index if root is not None and root.index in trace.bases else None


def check_written(trace: Any, outputs: Sequence[Any]) -> None:
    """Raise TraceError where an argument is written and nothing depends on it: the call would do nothing."""
    storages = {id(s): s for s in trace.storages.values() if s.root.op is None and s.number}
    if not storages:
        return
    if any(t.op is not None and t.op.name == "mark" for t in trace.tape):
        return  # of a derivative: it need not depend on what the function returns
    stack = [o for o in outputs if type(o) is Tracer]
    stack += [t for t in trace.tape if t.op is not None and t.op.name == "guard"]
    seen: set[int] = set()
    while stack:
        t = stack.pop()
        if t.index not in seen:
            seen.add(t.index)
            stack.extend(o for o in t.operands if type(o) is Tracer)
    for storage in storages.values():
        written = [i for i, s in trace.storages.items() if s is storage and i != storage.root.index]
        if not any(i in seen for i in written):
            raise TraceError(
                f"the traced function writes into its argument ({storage.line}) and returns nothing of it: the call would do nothing, "
                "as the caller's array stays as it is; return the array"
            )


def identity(trace: Trace, value: Any) -> Tracer:
    """A value of its own with the same contents."""
    before, trace.inside = trace.inside, True
    try:
        return trace.call(REGISTRY["identity"], (value,), {})
    finally:
        trace.inside = before


def _is_all(params: Params, shape: tuple[int, ...]) -> bool:
    return params["count"] == shape and not any(params["start"]) and all(s == 1 for s in params["step"])


def _shape(value: Any) -> tuple[int, ...]:
    return np.shape(value.form if type(value) is Tracer else value)


def _call(trace: Trace, name: str, value: Any, **params: Any) -> Any:
    return trace.call(REGISTRY[name], (value,), params)


def _reshape(trace: Trace, value: Any, shape: tuple[int, ...]) -> Any:
    return value if _shape(value) == shape else _call(trace, "reshape", value, shape=shape)


def _shaped(trace: Trace, value: Any, shape: tuple[int, ...]) -> Any:
    return value if _shape(value) == shape and not np.isscalar(value) else _call(trace, "broadcast_to", value, shape=shape)


def _through(trace: Trace, link: Tracer, params: Params | None, value: Any) -> tuple[Params | None, Any]:
    """A write into a view as one into what it is a view of."""
    assert link.op is not None
    return _THROUGH[link.op.name](trace, link, params, value)


def _everything(shape: tuple[int, ...]) -> Params:
    n = len(shape)
    return {"start": (0,) * n, "count": shape, "step": (1,) * n, "drop": ()}


def _through_slice(trace: Trace, link: Tracer, params: Params | None, value: Any) -> tuple[Params, Any]:
    outer: Params = link.params
    if params is None:
        return outer, value
    start, count, step, drop = [], [], [], []
    inner = 0
    for axis in range(len(outer["start"])):
        if axis in outer["drop"]:
            start.append(outer["start"][axis])
            count.append(1)
            step.append(1)
            drop.append(axis)
            continue
        start.append(outer["start"][axis] + params["start"][inner] * outer["step"][axis])
        count.append(params["count"][inner])
        step.append(outer["step"][axis] * params["step"][inner] if params["count"][inner] > 1 else 1)
        if inner in params["drop"]:
            drop.append(axis)
        inner += 1
    return {"start": tuple(start), "count": tuple(count), "step": tuple(step), "drop": tuple(drop)}, value


def _undropped(trace: Trace, params: Params, value: Any) -> tuple[Params, Any]:
    """The same write without dropped axes."""
    if not params["drop"] and len(_shape(value)) in (0, len(params["count"])):
        return params, value
    if _shape(value):
        value = _shaped(trace, value, tuple(n for i, n in enumerate(params["count"]) if i not in params["drop"]))
        value = _reshape(trace, value, params["count"])
    return {**params, "drop": ()}, value


def _through_transpose(trace: Trace, link: Tracer, params: Params | None, value: Any) -> tuple[Params, Any]:
    axes = link.params["axes"]
    params, value = _undropped(trace, params or _everything(link.shape), value)
    back = sorted(range(len(axes)), key=axes.__getitem__)
    if _shape(value):
        value = _call(trace, "transpose", _shaped(trace, value, params["count"]), axes=tuple(back))
    return {**{k: tuple(params[k][i] for i in back) for k in ("start", "count", "step")}, "drop": ()}, value


def _through_reshape(trace: Trace, link: Tracer, params: Params | None, value: Any) -> tuple[Params | None, Any]:
    inner, outer = link.shape, link.operands[0].shape
    params, value = _undropped(trace, params or _everything(inner), value)
    if _is_all(params, inner):
        return None, (_reshape(trace, _shaped(trace, value, inner), outer) if _shape(value) else value)
    plain: Params | None = None
    if all(n == 1 for n in params["count"]):
        plain = _element(link, params)
    elif [n for n in inner if n != 1] == [n for n in outer if n != 1]:
        axes = iter([i for i, n in enumerate(inner) if n != 1])
        places = [next(axes) if n != 1 else None for n in outer]
        plain = {
            "start": tuple(0 if i is None else params["start"][i] for i in places),
            "count": tuple(1 if i is None else params["count"][i] for i in places),
            "step": tuple(1 if i is None else params["step"][i] for i in places),
            "drop": (),
        }
        if any(n == 1 and c == 0 for n, c in zip(inner, params["count"], strict=True)):
            plain["count"] = (0,) * len(outer)
    if plain is not None:
        if _shape(value):
            value = _reshape(trace, _shaped(trace, value, params["count"]), plain["count"])
        return plain, value
    made = trace.call(REGISTRY["slice_update"], (resolve(trace, link), value), params)
    return None, _reshape(trace, made, outer)


def _through_part(trace: Trace, link: Tracer, params: Params | None, value: Any) -> tuple[Params | None, Any]:
    """Numbers beside the other parts of the region, as they are."""
    whole = link.operands[0]
    assert link.op is not None
    other = _call(trace, "imag" if link.op.name == "real" else "real", whole if params is None else _call(trace, "slice", whole, **params))
    parts = (value, other) if link.op.name == "real" else (other, value)
    op = REGISTRY["complex_of"]
    return params, trace.apply(op, op.evaluate, *parts)


def _through_broadcast(trace: Trace, link: Tracer, params: Params | None, value: Any) -> tuple[Params, Any]:
    raise ValueError("assignment destination is read-only")


_THROUGH: dict[str, Callable[..., Any]] = {
    "slice": _through_slice, "transpose": _through_transpose, "reshape": _through_reshape, "broadcast_to": _through_broadcast,
    "real": _through_part, "imag": _through_part,
}  # fmt: skip
