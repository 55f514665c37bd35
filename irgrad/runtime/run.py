"""One call of a program: fresh results, a context, the native entry, host calls, and what the driver answered."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.codegen.layout import DONE, FAILED, HOST, MISMATCH, NEW_PATH, NUMBER, ROW_WORDS
from irgrad.codegen.pool import LARGE
from irgrad.codegen.program import ARENA, FIRST_INPUT, Context, HostCall, Program
from irgrad.errors import RuntimeGuardError
from irgrad.ir.effects import Effects
from irgrad.ir.primitive import EFFECT, PURE
from irgrad.runtime.results import Results, size_of
from irgrad.runtime.stats import Stats

_native: Any = None  # irgrad.codegen.entry's: llvmlite is imported with the first program, not with irgrad

RELEASE = 200_000  # operations (about 50 us) from which a call releases the interpreter lock


def run(variant: Any, objects: tuple[Any, ...], stats: Stats, effects: Effects | None = None) -> tuple[bool, Any]:
    """Run a variant's program on normalised objects: (True, result), or (False, driver code) where Python has to trace.

    What it drew until then is in `effects`, or left for `interrupted` if none is given.
    """
    program = variant.program
    native = _native or _load()
    results = variant.results
    if results is None or results[0] is not program:
        results = variant.results = (program, Results(program))
    made = results[1]
    outs = made.make()
    context = program.context()
    if program.has_effects:
        context.effects = Effects() if effects is None else effects.repeated()
    together = objects + outs
    try:
        if native is Portable:
            code = enter_portable(program, context, together)
        else:
            enter = native.enter if program.flops < RELEASE else native.enter_released
            code = enter(program.address, context.address, together)
        while code & 15 == HOST:
            row = code >> 4
            stats.host_calls += 1
            host(program.hosts[row], context)
            code = native.drive(program.address, context.address, row + 1)
        if code & 15 == NEW_PATH:
            _note_exit(variant, program, context, code)
    except (RuntimeGuardError, np.linalg.LinAlgError):  # a trace raises it again, with the line
        code = FAILED
    finally:
        drawn, context.effects = context.effects, None
        program.release(context)
    if code & 15 == DONE:
        return True, made.builders[code >> 4](outs)
    if drawn is not None and drawn.log:
        if effects is None:
            _INTERRUPTED.effects = drawn
        else:
            effects.log = drawn.log
    return False, code


_INTERRUPTED = threading.local()


def _note_exit(variant: Any, program: Program, context: Context, code: int) -> None:
    """Note the guard where a program was left, and what it saw."""
    row = code >> 4
    ref, width = program.rows[ROW_WORDS * row + 1 : ROW_WORDS * row + 3].tolist()
    kind = ctypes.c_int8 if width == 1 else ctypes.c_int64
    variant.exit = (program.guards[row], kind.from_address(int(context.bases[ref & 65535]) + (ref >> 16)).value)


def leave(variant: Any, program: Program, code: int) -> None:
    """Note that the call at hand has tried this program of a variant: `left` tells."""
    _INTERRUPTED.left = (variant, program, code)


def left() -> tuple[Any, Program | None, int]:
    """The variant and the program that the call at hand has left on a new path, with what the driver answered; once."""
    return vars(_INTERRUPTED).pop("left", None) or (None, None, 0)


def has_left() -> bool:
    """Will `left` tell of one?"""
    return "left" in vars(_INTERRUPTED)


def interrupted() -> Effects:
    """What the last `run` of this thread drew, where it did not come to its end; once."""
    return vars(_INTERRUPTED).pop("effects", None) or Effects()


def _load() -> Any:
    global _native
    from irgrad.codegen import entry

    _native = entry.native() if entry.probe() else Portable
    return _native


class Portable:
    """The driver without the native entry, where argument objects do not have the layout that it reads."""

    @staticmethod
    def drive(address: int, bases: int, row: int) -> int:
        from irgrad.codegen import entry

        return entry.native().drive(address, bases, row)


def enter_portable(program: Program, context: Context, objects: tuple[Any, ...]) -> int:
    """What `driver.enter` does, by numpy's own means."""
    for k, (obj, argument) in enumerate(zip(objects, program.arguments, strict=False)):
        kind = type(obj)
        if kind is not argument.type:
            return MISMATCH
        if argument.kind == NUMBER:
            context.scratch[k] = np.asarray(obj)
            context.bases[FIRST_INPUT + k] = context.scratch[k].ctypes.data
            continue
        if obj.dtype != argument.dtype or obj.shape != argument.shape or not obj.flags.aligned:
            return MISMATCH
        if any(have != want for have, want, n in zip(obj.strides, argument.strides, obj.shape, strict=True) if n != 1):
            return MISMATCH
        context.bases[FIRST_INPUT + k] = obj.ctypes.data
    count = len(program.arguments)
    for k, out in enumerate(objects[count:], count):
        context.bases[FIRST_INPUT + k] = out.ctypes.data
    return Portable.drive(program.address, context.address, 0)


def direct(
    variant: Any, check: Callable[[], bool] | None, read: Callable[[], tuple[Any, ...]] | None, miss: Any
) -> Callable[[tuple[Any, ...]], Any] | None:
    """`run` written out for flat arguments and programs without host rows; None for others."""
    program, (_, made) = variant.program, variant.results
    native = _native or _load()
    if native is Portable or program.hosts or program.has_effects:
        return None
    enter = native.enter if program.flops < RELEASE else native.enter_released
    if not made.kind:
        return _direct_nested(variant, enter, check, read, miss)
    if made.kind != "array":
        return _direct_number(variant, enter, check, read, miss)
    count, address, contexts, make = variant.num_leaves, program.address, program.contexts, program.context
    ((shape, dtype),) = made.shapes
    allocate = made.make
    empty = np.empty if size_of((shape, dtype)) < LARGE else None  # a call of numpy's costs less than one of Python's

    def fast(args: tuple[Any, ...]) -> Any:
        if len(args) != count or (check is not None and not check()):
            return miss
        out = allocate()[0] if empty is None else empty(shape, dtype)
        objects = (*args, out) if read is None else (*args, *read(), out)
        context = contexts.pop() if contexts else make()
        code = enter(address, context.address, objects)
        if code & 15 == DONE:
            contexts.append(context)
            return out
        _leave_early(variant, program, context, code)
        return miss

    return fast


def _direct_number(
    variant: Any, enter: Any, check: Callable[[], bool] | None, read: Callable[[], tuple[Any, ...]] | None, miss: Any
) -> Callable[[tuple[Any, ...]], Any]:
    """The same for a number, which goes through memory that the context keeps."""
    program, (_, made) = variant.program, variant.results
    count, address, contexts, make = variant.num_leaves, program.address, program.contexts, program.context
    ((shape, dtype),) = made.shapes
    is_numpys = made.kind == "scalar"

    def fast(args: tuple[Any, ...]) -> Any:
        if len(args) != count or (check is not None and not check()):
            return miss
        context = contexts.pop() if contexts else make()
        out = context.number
        if out is None:
            out = context.number = np.empty(shape, dtype)
        code = enter(address, context.address, (*args, out) if read is None else (*args, *read(), out))
        if code & 15 == DONE:
            number = out[()] if is_numpys else out.item()
            contexts.append(context)
            return number
        _leave_early(variant, program, context, code)
        return miss

    return fast


def _direct_nested(
    variant: Any, enter: Any, check: Callable[[], bool] | None, read: Callable[[], tuple[Any, ...]] | None, miss: Any
) -> Callable[[tuple[Any, ...]], Any]:
    """The same for several results, or results of which the path decides."""
    program, (_, made) = variant.program, variant.results
    count, address, contexts, make = variant.num_leaves, program.address, program.contexts, program.context
    allocate, builders = made.make, made.builders

    def fast(args: tuple[Any, ...]) -> Any:
        if len(args) != count or (check is not None and not check()):
            return miss
        outs = allocate()
        context = contexts.pop() if contexts else make()
        code = enter(address, context.address, (*args, *outs) if read is None else (*args, *read(), *outs))
        if code & 15 == DONE:
            contexts.append(context)
            return builders[code >> 4](outs)
        _leave_early(variant, program, context, code)
        return miss

    return fast


def _leave_early(variant: Any, program: Program, context: Context, code: int) -> None:
    """Give back the context of a call that the program did not serve."""
    if code & 15 == NEW_PATH:
        _note_exit(variant, program, context, code)
        leave(variant, program, code)
    program.contexts.append(context)


def host(call: HostCall, context: Context) -> None:
    """Run one row in Python on the call's memory; what is no numpy function of ours gets copies, which it may keep or change.

    Raises RuntimeGuardError where the result has not the recorded shape and dtype.
    """
    values = [_array(context, *operand) if isinstance(operand, tuple) else operand for operand in call.operands]
    if call.op.has(PURE):
        with np.errstate(all="ignore"):
            result = call.op.evaluate(*values, **call.params)
    elif call.op.has(EFFECT):
        try:
            result = call.op.evaluate(*values, effects=context.effects or Effects(), **call.params)
        except Exception as error:  # a parameter that numpy refuses
            raise RuntimeGuardError(f"{call.op.name}: {error}") from error
    else:
        values = [value.copy() if isinstance(value, np.ndarray) else value for value in values]
        result = call.op.evaluate(*values, **call.params)
    ref, shape, dtype = call.result
    is_number = type(result) is float and shape == () and dtype == np.float64
    is_array = type(result) is np.ndarray and result.shape == shape and result.dtype is dtype
    if not (is_array or is_number) and (np.shape(result) != shape or np.result_type(result) != dtype):
        raise RuntimeGuardError(f"{call.op.name} returned another shape or dtype than the trace holds for")
    _array(context, ref, shape, None, dtype)[...] = result


def _array(
    context: Context, ref: int, shape: tuple[int, ...], strides: tuple[int, ...] | None, dtype: np.dtype[Any]
) -> np.ndarray[Any, Any]:
    """A numpy view of memory of a call; one of the arena, which stays where it is, is made once a context."""
    if ref & 65535 != ARENA:
        return np.asarray(_Memory(int(context.bases[ref & 65535]) + (ref >> 16), shape, strides, dtype))
    key = (ref, shape, strides, dtype)
    known = context.views.get(key)
    if known is None:
        known = context.views[key] = np.asarray(_Memory(int(context.bases[ARENA]) + (ref >> 16), shape, strides, dtype))
    return known


class _Memory:
    def __init__(self, address: int, shape: tuple[int, ...], strides: tuple[int, ...] | None, dtype: np.dtype[Any]) -> None:
        self.__array_interface__ = {"data": (address, False), "shape": shape, "strides": strides, "typestr": dtype.str, "version": 3}
