"""`numpy.random` for traced code: numpy's functions, and generators whose draws programs record.

Under `jit` a draw is done again by each call, in program order, from the same generator and in the same amount as numpy would draw: equal
seeds give equal numbers, eager and compiled. Draws by formula (normal, uniform, exponential, laplace, logistic, gumbel, lognormal,
rayleigh, weibull, pareto, power, triangular, gamma in its scale, multivariate_normal in its mean, permutation and choice of rows)
are differentiable in their parameters; others refuse derivatives. Draws of generators that are plain numpy's make a traced function
impure. Limits: `shuffle` of what is not traced, `bytes`, `get_state` and `set_state` in a traced function make it impure as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as _np

import irgrad.frontend.handlers as _handlers  # noqa: F401  (registers the handlers)
from irgrad.frontend.context import current as _current
from irgrad.frontend.draws import note_effect as _note_effect
from irgrad.frontend.handlers.core import unwrap as _unwrap
from irgrad.frontend.handlers.random import OTHERS as _OTHERS
from irgrad.frontend.handlers.random import PARAMETERS as _PARAMETERS
from irgrad.frontend.handlers.random import call_method as _call_method
from irgrad.frontend.handlers.random import made_generator as _made_generator
from irgrad.frontend.handlers.random import other_effect as _other_effect
from irgrad.numpy._wrap import fill as _fill

if TYPE_CHECKING:
    from numpy.random import *  # noqa: F403 # pyright: ignore[reportWildcardImportFromLibrary]
else:
    _forms, __getattr__ = _fill(globals(), _np.random, ("RandomState", "Generator", "default_rng"))

    def __dir__() -> list[str]:
        return sorted({*globals(), *_forms})


class _Recorded(type):
    """Metaclass of generators that record: numpy's own ones are instances as well."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.__base__)  # type: ignore[arg-type]


class RandomState(_np.random.RandomState, metaclass=_Recorded):  # type: ignore[no-redef]
    """numpy's RandomState, whose draws are recorded in a traced function."""

    def __init__(self, seed: Any = None) -> None:
        super().__init__(_unwrap(seed))
        _made_generator(self, (seed,), {})

    @classmethod
    def __irgrad_make__(cls, seed: Any = None) -> RandomState:
        return cls(seed)

    def __reduce__(self) -> Any:
        return _random_state, (self._bit_generator,), self.get_state(legacy=False)


class Generator(_np.random.Generator, metaclass=_Recorded):  # type: ignore[no-redef]
    """numpy's Generator, whose draws are recorded in a traced function."""

    def __init__(self, bit_generator: Any) -> None:
        super().__init__(bit_generator)
        _made_generator(self, (bit_generator,), {})

    @property
    def bit_generator(self) -> Any:
        """What the numbers come from; whoever has it in a traced function may draw unseen."""
        _note_effect(_current(), "the bit generator of a generator is used")
        return super().bit_generator

    @classmethod
    def __irgrad_make__(cls, seed: Any = None) -> Generator:
        return _of(seed)

    def __reduce__(self) -> Any:
        return _generator, (self.bit_generator,), None


def default_rng(seed: Any = None) -> Generator:  # type: ignore[no-redef]
    """numpy's default generator; its draws are recorded in a traced function."""
    if isinstance(seed, _np.random.Generator):
        return seed
    made = _of(_unwrap(seed))
    return _made_generator(made, (seed,), {})


def _of(seed: Any) -> Generator:
    return _generator(_np.random.default_rng(seed).bit_generator)


def _generator(bit_generator: Any) -> Generator:
    made = Generator.__new__(Generator)
    _np.random.Generator.__init__(made, bit_generator)
    return made


def _random_state(bit_generator: Any) -> RandomState:
    return RandomState(bit_generator)


def _recorded(cls: type, name: str) -> None:
    original = getattr(cls.__base__, name)
    entry: Callable[..., Any] = _other_effect if name in _OTHERS else _call_method

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return entry(self, name, args, kwargs, lambda *args, **kwargs: original(self, *args, **kwargs))

    method.__name__ = name
    method.__qualname__ = f"{cls.__name__}.{name}"
    setattr(cls, name, method)


for _cls in (RandomState, Generator):
    for _name in (*_PARAMETERS, *_OTHERS):
        if hasattr(_cls.__base__, _name):
            _recorded(_cls, _name)
