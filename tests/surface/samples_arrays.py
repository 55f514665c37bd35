"""A sample for every method and attribute of numpy.ndarray, its operators included, in the form of `samples_numpy`."""

from __future__ import annotations

_BYTES = "-bytes and memory, not numbers"
_PROTOCOL = "-a protocol of Python or numpy, not called by users"

_OPERATORS = {
    "__{0}__": {
        "add": "X + Y", "sub": "X - Y", "mul": "X * Y", "truediv": "X / Y", "floordiv": "X // Y", "mod": "X % Y", "pow": "P**Y",
        "matmul": "A @ S", "and": "I & 3", "or": "I | 3", "xor": "I ^ 3", "lshift": "I << 1", "rshift": "I >> 1",
        "divmod": "divmod(X, Y)",
    },
    "__r{0}__": {
        "add": "2.0 + X", "sub": "2.0 - X", "mul": "2.0 * X", "truediv": "2.0 / P", "floordiv": "2.0 // P", "mod": "2.0 % P",
        "pow": "2.0**X", "matmul": "np.ones((2, 3)) @ A", "and": "3 & I", "or": "3 | I", "xor": "3 ^ I", "lshift": "1 << I",
        "rshift": "9 >> I",
        "divmod": "divmod(2.0, P)",
    },
}  # fmt: skip
_INPLACE = {
    "add": "Y", "sub": "Y", "mul": "Y", "truediv": "Y", "floordiv": "Y", "mod": "Y", "pow": "2", "matmul": "S",
    "and": "3", "or": "3", "xor": "3", "lshift": "1", "rshift": "1",
}  # fmt: skip
_SUBJECT = {"matmul": "A", "and": "I", "or": "I", "xor": "I", "lshift": "I", "rshift": "I"}

_OTHERS = """
T: T.T
all: B.all(axis=0)
any: B.any(axis=0)
argmax: X.argmax()
argmin: X.argmin(axis=0)
argpartition: X.argpartition(2)
argsort: X.argsort()
astype: X.astype(np.complex128)
base: {bytes}
byteswap: {bytes}
choose: (V > 0).astype(int).choose([V, W])
clip: X.clip(-0.5, 0.5)
compress: X.compress([True, False, True], axis=0)
conj: C.conj()
conjugate: C.conjugate()
copy: X.copy()
ctypes: {bytes}
cumprod: X.cumprod(axis=1)
cumsum: X.cumsum(axis=1)
data: {bytes}
device: X.device
diagonal: A.diagonal()
dot: X.dot(V)
dtype: X.dtype
dump: {bytes}
dumps: {bytes}
fill: write(np, X, lambda a: a.fill(Q))
flags: X.flags.c_contiguous
flat: list(V.flat)
flatten: X.flatten()
getfield: {bytes}
imag: C.imag
item: V.item(1)
itemsize: X.itemsize
max: X.max(axis=1)
mean: X.mean(axis=1)
mT: T.mT
min: X.min(axis=1)
nbytes: X.nbytes
ndim: X.ndim
nonzero: B.nonzero()
partition: write(np, V, lambda a: a.partition(2))
prod: X.prod(axis=1)
put: write(np, V, lambda a: a.put([0, 2], [Q, 1.0]))
ravel: X.ravel()
real: C.real
repeat: V.repeat(2)
reshape: X.reshape(4, 3)
resize: {bytes}
round: X.round(1)
searchsorted: G.searchsorted(X)
setfield: {bytes}
setflags: {bytes}
shape: X.shape
size: X.size
sort: write(np, X, lambda a: a.sort(axis=1))
squeeze: X[:1].squeeze()
std: X.std(axis=1)
strides: X.strides
sum: X.sum(axis=1)
swapaxes: T.swapaxes(0, 1)
take: X.take([1, 0], axis=1)
to_device: X.to_device("cpu")
tobytes: {bytes}
tofile: {bytes}
tolist: X.tolist()
trace: A.trace()
transpose: T.transpose(1, 0, 2)
var: X.var(axis=1)
view: {bytes}
__abs__: abs(X)
__array__: {protocol}
__array_finalize__: {protocol}
__array_function__: {protocol}
__array_interface__: {protocol}
__array_namespace__: {protocol}
__array_priority__: {protocol}
__array_struct__: {protocol}
__array_ufunc__: {protocol}
__array_wrap__: {protocol}
__bool__: bool(Q)
__buffer__: {protocol}
__class_getitem__: {protocol}
__complex__: complex(Q)
__contains__: 5 in I
__setstate__: {protocol}
__copy__: copy(X)
__deepcopy__: deepcopy(X)
__delitem__: -arrays have no items to delete
__dlpack__: {protocol}
__dlpack_device__: {protocol}
__eq__: X == Y
__float__: float(Q)
__ge__: X >= Y
__getitem__: X[1:, [0, 2]]
__gt__: X > Y
__index__: [10, 11, 12, 13][J[0]]
__int__: int(Q)
__invert__: ~I
__iter__: [row[0] for row in X]
__le__: X <= Y
__len__: len(X)
__lt__: X < Y
__ne__: X != Y
__neg__: -X
__pos__: +X
__setitem__: write(np, X, lambda a: a.__setitem__((0, slice(None)), V))
"""


def _table() -> dict[str, str]:
    made: dict[str, str] = {}
    for line in _OTHERS.strip().splitlines():
        name, _, call = line.partition(": ")
        assert name not in made
        made[name] = call.format(bytes=_BYTES, protocol=_PROTOCOL) if call.startswith("{") else call
    for pattern, calls in _OPERATORS.items():
        made |= {pattern.format(name): call for name, call in calls.items()}
    for name, right in _INPLACE.items():
        made[f"__i{name}__"] = f"write(np, {_SUBJECT.get(name, 'X')}, lambda a: operator.i{name.rstrip('_')}(a, {right}))"
    return made


SAMPLES = _table()

UFUNC_METHODS: dict[str, str] = {
    "add.reduce": "np.add.reduce(X, axis=1)",
    "maximum.reduce": "np.maximum.reduce(X)",
    "logaddexp.reduce": "np.logaddexp.reduce(X, axis=1)",
    "subtract.reduce": "np.subtract.reduce(X)",
    "divide.reduce": "np.divide.reduce(P, axis=1)",
    "multiply.accumulate": "np.multiply.accumulate(X, axis=1)",
    "maximum.accumulate": "np.maximum.accumulate(X, axis=1)",
    "divide.accumulate": "np.divide.accumulate(P)",
    "add.reduceat": "np.add.reduceat(X, [0, 2, 1], axis=1)",
    "subtract.outer": "np.subtract.outer(V, R)",
    "add.at": "write(np, X, lambda a: np.add.at(a, (J[:2] * 0 + 1, J[:2]), V[:2]))",
    "out=": "write(np, X, lambda a: np.exp(Y, out=a))",
    "where=": "write(np, X, lambda a: np.exp(Y, out=a, where=B))",
}
