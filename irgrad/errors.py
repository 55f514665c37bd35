"""The exceptions of irgrad: one tree, each also a builtin that a caller would catch.

`TraceError`, `DifferentiationError` and `RuntimeGuardError` are about the user's code and name its file and line;
`InternalError` is a fault of irgrad and names what to attach to a report.
"""

from __future__ import annotations

from numpy.linalg import LinAlgError


class IrgradError(Exception):
    """Root of every exception that irgrad raises on its own account."""


class TraceError(IrgradError, TypeError):
    """The traced program does something that cannot be recorded.

    Shortest program: ``irgrad.grad(lambda x: float(x))(1.0)``.
    """


class ConcretizationError(TraceError):
    """A traced value is asked for as a plain number or array where that would lose its derivative.

    Shortest program: ``irgrad.grad(lambda x: x.__float__())(1.0)``.
    """


class TraceValueError(TraceError, ValueError):
    """A numpy ``ValueError`` inside a traced function, with the user's line.

    Shortest program: ``irgrad.grad(lambda x: (x[:2] + x).sum())(numpy.ones(3))``.
    """


class TraceIndexError(TraceError, IndexError):
    """A numpy ``IndexError`` inside a traced function, with the user's line.

    Shortest program: ``irgrad.grad(lambda x: x[5])(numpy.ones(3))``.
    """


class TraceAxisError(TraceValueError, TraceIndexError):
    """A numpy ``AxisError`` inside a traced function, with the user's line.

    Shortest program: ``irgrad.grad(lambda x: numpy.sum(x, axis=2))(numpy.ones(3))``.
    """


class TraceLinAlgError(TraceValueError, LinAlgError):
    """A numpy ``LinAlgError`` inside a traced function (a singular matrix, no convergence), with the user's line.

    Shortest program: ``irgrad.grad(lambda x: numpy.linalg.inv(x).sum())(numpy.zeros((2, 2)))``.
    """


class UnsupportedError(TraceError, NotImplementedError):
    """A numpy function or keyword that irgrad does not trace.

    Shortest program: ``irgrad.grad(lambda x: numpy.roots(x)[0])(numpy.ones(3))``.
    """


class NotCompiledError(UnsupportedError):
    """A function of the user computes with values that no program can hold: under `jit` it keeps running eagerly.

    Shortest program: ``irgrad.jit(irgrad.grad(f)).compile(x)`` for an `x` whose type has a space of its own (`irgrad.extend.VSpace`).
    """


class PlainArrayError(UnsupportedError):
    """A numpy function is to write a traced value into an array that was made outside the traced function.

    Shortest program: ``irgrad.grad(lambda x, a=[numpy.ones(3)]: numpy.add(x, x, out=a[0]).sum())(numpy.ones(3))``.
    """


class DifferentiationError(IrgradError, TypeError):
    """A derivative that does not exist or is not what the operator computes.

    Shortest program: ``irgrad.grad(lambda x: x * 2)(numpy.ones(3))``.
    """


class MissingRuleError(DifferentiationError, NotImplementedError):
    """A primitive has no derivative rule for an operand that needs one.

    Shortest program: ``irgrad.grad(p)(1.0)`` with ``p = irgrad.extend.primitive(lambda x: x)``.
    """


class RuntimeGuardError(IrgradError, RuntimeError):
    """A compiled path met a situation it does not hold for and cannot be retraced.

    Shortest program: use of a tracer after its trace has ended.
    """


class InternalError(IrgradError, AssertionError):
    """A broken invariant of irgrad itself; the message names the dump to attach to a report."""


def translate(error: Exception, message: str) -> TraceError:
    """The TraceError of the same builtin family as `error`, with `message` (call, operands, file:line)."""
    if isinstance(error, LinAlgError):
        return TraceLinAlgError(message)
    if isinstance(error, ValueError) and isinstance(error, IndexError):
        return TraceAxisError(message)
    if isinstance(error, IndexError):
        return TraceIndexError(message)
    if isinstance(error, ValueError):
        return TraceValueError(message)
    return TraceError(message)
