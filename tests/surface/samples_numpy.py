"""A sample call for every public name of numpy: ``name: expression``, or ``name: -reason`` for what has no traced call.

Names in capitals are the traced inputs, `np` is numpy or irgrad.numpy. The expressions are shown in docs/coverage.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_RNG = np.random.default_rng(17)

INPUTS: dict[str, Any] = {
    "X": _RNG.normal(size=(3, 4)),
    "Y": _RNG.normal(size=(3, 4)) + 0.1,
    "U": _RNG.uniform(0.2, 0.8, size=(3, 4)),  # between 0 and 1
    "P": _RNG.uniform(1.2, 2.5, size=(3, 4)),  # above 1
    "V": np.array([0.3, -1.2, 2.0, 0.7]),
    "W": np.array([1.4, 0.2, -0.6, 0.9]),
    "A": _RNG.normal(size=(3, 3)) + 2 * np.eye(3),
    "S": (lambda a: a @ a.T + np.eye(3))(_RNG.normal(size=(3, 3))),  # symmetric, positive definite
    "R": np.array([0.5, -1.0, 1.5]),
    "T": _RNG.normal(size=(2, 3, 4)),
    "C": _RNG.normal(size=(3, 4)) + 1j * _RNG.normal(size=(3, 4)),
    "H": (lambda a: a + a.conj().T)(_RNG.normal(size=(3, 3)) + 1j * _RNG.normal(size=(3, 3))),
    "N": np.array([[1.0, np.nan, -2.0, 0.4], [0.5, 3.0, np.nan, -1.0], [2.0, 0.1, 0.7, 1.1]]),
    "I": np.array([[3, 1, 2], [0, 5, 4]]),
    "J": np.array([1, 3, 0, 1]),
    "B": np.array([[True, False, True, True], [False, True, False, True], [True, True, False, False]]),
    "G": np.array([-2.0, -0.5, 0.6, 2.5]),  # rising
    "Q": np.float64(0.3),
}

_TEXT = "-text, not numbers"
_FILE = "-reads or writes files"
_SETTINGS = "-settings of numpy"
_DATES = "-dates have no derivative and no kernel"
_DTYPES = "-asks about dtypes"
_MEMORY = "-memory outside a traced function"

_UNARY = {
    "X": "absolute abs arcsinh arctan cbrt ceil cos cosh deg2rad degrees exp exp2 expm1 fabs fix floor isfinite isinf "
    "isnan logical_not negative positive rad2deg radians rint sign signbit sin sinc sinh spacing square tan tanh trunc around "
    "round isneginf isposinf nan_to_num i0",
    "C": "angle conj conjugate imag iscomplex isreal real real_if_close",
    "U": "acos arccos acosh arccosh asin arcsin arcsinh asinh arctanh atan atanh log log10 log1p log2 reciprocal sqrt",
    "I": "bitwise_count bitwise_invert bitwise_not invert",
    "N": "nanargmax nanargmin nancumprod nancumsum nanmax nanmean nanmedian nanmin nanprod nanstd nansum nanvar",
}
_BINARY = {
    "X, Y": "add atan2 arctan2 copysign divide equal floor_divide fmax fmin fmod greater greater_equal heaviside hypot less less_equal "
    "logaddexp logaddexp2 logical_and logical_or logical_xor maximum minimum mod multiply nextafter not_equal remainder subtract "
    "true_divide divmod isclose array_equal array_equiv",
    "P, Y": "float_power pow power",
    "I, 3": "bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor gcd lcm left_shift right_shift",
}

_OTHERS = """
acosh: np.acosh(P)
arccosh: np.arccosh(P)
asinh: np.asinh(X)
arcsinh: np.arcsinh(X)
atan: np.atan(X)
all: np.all(B, axis=1)
allclose: np.allclose(X, Y)
amax: np.amax(X, axis=0)
amin: np.amin(X, axis=0)
any: np.any(B, axis=1)
append: np.append(X, Y, axis=0)
apply_along_axis: np.apply_along_axis(lambda v: v[0] * v, 1, X)
apply_over_axes: np.apply_over_axes(np.sum, T, [0, 2])
arange: np.arange(Q, 3.0, 0.5)
argmax: np.argmax(X, axis=1)
argmin: np.argmin(X, axis=1)
argpartition: np.argpartition(X, 2)
argsort: np.argsort(X)
argwhere: np.argwhere(X > 0)
array: np.array([Q, 1.0, Q * Q])
array2string: np.array2string(V)
array_repr: np.array_repr(V)
array_split: np.array_split(V, 3)
array_str: np.array_str(V)
asanyarray: np.asanyarray(X)
asarray: np.asarray([Q, Q])
asarray_chkfinite: np.asarray_chkfinite(X)
ascontiguousarray: np.ascontiguousarray(X)
asfortranarray: np.asfortranarray(X)
asmatrix: -numpy.matrix: use arrays of two axes
astype: np.astype(X, np.complex128)
atleast_1d: np.atleast_1d(Q)
atleast_2d: np.atleast_2d(V)
atleast_3d: np.atleast_3d(X)
average: np.average(X, axis=1, weights=V + 2)
bartlett: np.bartlett(5) * Q
base_repr: {text}
binary_repr: {text}
bincount: np.bincount(J, weights=V)
blackman: np.blackman(5) * Q
block: np.block([[X, Y], [Y, X]])
bmat: -numpy.matrix: use block
broadcast_arrays: np.broadcast_arrays(V, X)
broadcast_shapes: np.broadcast_shapes((1, 3), (2, 1))
broadcast_to: np.broadcast_to(V, (3, 4))
busday_count: {dates}
busday_offset: {dates}
can_cast: np.can_cast(X.dtype, np.float32)
c_: np.c_[V, W]
choose: np.choose(J, [V, W, V * W, V + W])
clip: np.clip(X, -0.5, 0.5)
column_stack: np.column_stack([V, W])
common_type: np.common_type(X)
compress: np.compress([True, False, True], X, axis=0)
concat: np.concat([X, Y])
concatenate: np.concatenate([X, Y], axis=1)
convolve: np.convolve(V, R)
copy: np.copy(X)
copyto: write(np, X, lambda a: np.copyto(a, Y))
corrcoef: np.corrcoef(X)
correlate: np.correlate(V, R, "full")
count_nonzero: np.count_nonzero(B, axis=0)
cov: np.cov(X, aweights=V + 2)
cross: np.cross(A, R)
cumprod: np.cumprod(X, axis=1)
cumsum: np.cumsum(X, axis=1)
cumulative_prod: np.cumulative_prod(X, axis=1)
cumulative_sum: np.cumulative_sum(X, axis=1, include_initial=True)
datetime_as_string: {dates}
datetime_data: {dates}
delete: np.delete(X, 1, axis=0)
diag: np.diag(V)
diag_indices: A[np.diag_indices(3)]
diag_indices_from: A[np.diag_indices_from(A)]
diagflat: np.diagflat(A)
diagonal: np.diagonal(X)
diff: np.diff(X)
digitize: np.digitize(X, G)
dot: np.dot(X, V)
dsplit: np.dsplit(T, 2)
dstack: np.dstack([X, Y])
ediff1d: np.ediff1d(V)
einsum: np.einsum("ij,ij->i", X, Y)
einsum_path: np.einsum_path("ij,jk", A, A)[0]
empty: np.empty((2, 3)).shape
empty_like: np.empty_like(X).shape
expand_dims: np.expand_dims(X, 1)
extract: np.extract(X > 0, X)
eye: np.eye(3) * Q
fill_diagonal: write(np, A, lambda a: np.fill_diagonal(a, 2.0))
flatnonzero: np.flatnonzero(X > 0)
flip: np.flip(X)
fliplr: np.fliplr(X)
flipud: np.flipud(X)
format_float_positional: {text}
format_float_scientific: {text}
frexp: np.frexp(X)
from_dlpack: {memory}
frombuffer: np.frombuffer(bytes(16)) + Q
fromfile: {file}
fromfunction: np.fromfunction(lambda i, j: i + Q * j, (2, 3))
fromiter: np.fromiter([1.0, 2.0], float) * Q
frompyfunc: np.frompyfunc(lambda a: a * a, 1, 1)(V).astype(float)
fromregex: {file}
fromstring: {text}
full: np.full((2, 3), Q)
full_like: np.full_like(X, Q)
genfromtxt: {file}
geomspace: np.geomspace(U, P, 4)
get_include: {settings}
get_printoptions: {settings}
getbufsize: {settings}
geterr: {settings}
geterrcall: {settings}
gradient: np.gradient(X)
hamming: np.hamming(5) * Q
hanning: np.hanning(5) * Q
histogram: np.histogram(V, bins=3, weights=W)
histogram2d: np.histogram2d(V, W, bins=2)
histogram_bin_edges: np.histogram_bin_edges(V, bins=3)
histogramdd: np.histogramdd(X, bins=2)
hsplit: np.hsplit(X, 2)
hstack: np.hstack([X, Y])
identity: np.identity(3) * Q
indices: np.indices((2, 3)) * Q
info: {text}
inner: np.inner(X, Y)
insert: np.insert(X, 1, V, axis=0)
interp: np.interp(V, G, W)
intersect1d: np.intersect1d(V, V[:2])
is_busday: {dates}
iscomplexobj: np.iscomplexobj(X)
isdtype: {dtypes}
isfortran: np.isfortran(X)
isin: np.isin(X, X[0])
isnat: {dates}
isrealobj: np.isrealobj(X)
isscalar: np.isscalar(Q)
issubdtype: {dtypes}
iterable: np.iterable(X)
ix_: X[np.ix_([0, 2], [1, 3])]
kaiser: np.kaiser(5, Q)
kron: np.kron(A, R)
ldexp: np.ldexp(X, 2)
lexsort: np.lexsort((V, J))
linspace: np.linspace(V, W, 3)
load: {file}
loadtxt: {file}
logspace: np.logspace(V, W, 3)
mask_indices: A[np.mask_indices(3, np.triu)]
matmul: np.matmul(T, V)
matrix_transpose: np.matrix_transpose(T)
matvec: np.matvec(T, V)
max: np.max(X, axis=1)
may_share_memory: np.may_share_memory(X, Y)
mean: np.mean(X, axis=0)
median: np.median(X, axis=1)
meshgrid: np.meshgrid(V, R)
min: np.min(X, axis=1)
min_scalar_type: np.min_scalar_type(X)
mintypecode: {dtypes}
mgrid: np.mgrid[0:2, 0:3] * Q
modf: np.modf(X)
moveaxis: np.moveaxis(T, 0, 1)
nanpercentile: np.nanpercentile(N, 40, axis=1)
nanquantile: np.nanquantile(N, 0.4, axis=1)
ndim: np.ndim(X)
nested_iters: -an iterator over memory
nonzero: np.nonzero(X > 0)
ogrid: np.ogrid[0:2, 0:3][1] * Q
ones: np.ones((2, 3)) * Q
ones_like: np.ones_like(X) * Q
outer: np.outer(V, R)
packbits: np.packbits(B, axis=1)
pad: np.pad(X, 2, mode="reflect")
partition: np.partition(V, 2)
percentile: np.percentile(X, 40, axis=1)
permute_dims: np.permute_dims(T, (2, 0, 1))
piecewise: np.piecewise(X, [X < 0, X >= 0], [np.exp, lambda v: v * v])
place: write(np, X, lambda a: np.place(a, B, V))
poly: np.poly(V)
polyadd: np.polyadd(V, R)
polyder: np.polyder(V)
polydiv: np.polydiv(V, R)
polyfit: np.polyfit(V, W, 2)
polyint: np.polyint(V)
polymul: np.polymul(V, R)
polysub: np.polysub(V, R)
polyval: np.polyval(V, X)
printoptions: {settings}
prod: np.prod(X, axis=1)
promote_types: {dtypes}
ptp: np.ptp(X, axis=1)
put: write(np, X, lambda a: np.put(a, [0, 5], [Q, 2.0]))
put_along_axis: write(np, X, lambda a: np.put_along_axis(a, I[:1, :1], V[:1], axis=1))
putmask: write(np, X, lambda a: np.putmask(a, B, Y))
quantile: np.quantile(X, Q, axis=1)
r_: np.r_[V, 1.0, R]
ravel: np.ravel(X)
ravel_multi_index: np.ravel_multi_index((J, J), (4, 5))
repeat: np.repeat(X, 2, axis=0)
require: np.require(X)
reshape: np.reshape(X, (4, 3))
resize: np.resize(V, (2, 3))
result_type: np.result_type(X, Q)
roll: np.roll(X, 1, axis=1)
rollaxis: np.rollaxis(T, 2)
roots: np.roots(V)
rot90: np.rot90(X)
row_stack: -deprecated name of vstack
s_: X[np.s_[1:, ::2]]
save: {file}
savetxt: {file}
savez: {file}
savez_compressed: {file}
searchsorted: np.searchsorted(G, X)
select: np.select([X < 0, X > 1], [X * X, Y], default=Q)
set_printoptions: {settings}
setbufsize: {settings}
setdiff1d: np.setdiff1d(V, V[:2])
seterr: {settings}
seterrcall: {settings}
setxor1d: np.setxor1d(V, np.append(W, V[:2]))
shape: np.shape(X)
shares_memory: np.shares_memory(X, Y)
show_config: {settings}
show_runtime: {settings}
size: np.size(X)
sort: np.sort(X)
sort_complex: np.sort_complex(C)
split: np.split(V, 2)
squeeze: np.squeeze(X[:1])
stack: np.stack([X, Y], axis=1)
std: np.std(X, axis=1)
sum: np.sum(X, axis=1)
swapaxes: np.swapaxes(T, 0, 2)
take: np.take(X, [2, 0], axis=1)
take_along_axis: np.take_along_axis(X, np.argsort(X, axis=1), axis=1)
tensordot: np.tensordot(T, X, axes=([1, 2], [0, 1]))
test: {settings}
tile: np.tile(X, (2, 1))
trace: np.trace(A)
transpose: np.transpose(T)
trapezoid: np.trapezoid(V, G)
tri: np.tri(3) * Q
tril: np.tril(A)
tril_indices: A[np.tril_indices(3)]
tril_indices_from: A[np.tril_indices_from(A)]
trim_zeros: np.trim_zeros(np.append(V, 0.0))
triu: np.triu(A)
triu_indices: A[np.triu_indices(3)]
triu_indices_from: A[np.triu_indices_from(A)]
typename: {dtypes}
union1d: np.union1d(V, W)
unique: np.unique(V)
unique_all: np.unique_all(V)
unique_counts: np.unique_counts(V)
unique_inverse: np.unique_inverse(V)
unique_values: np.sort(np.unique_values(V))
unpackbits: np.unpackbits(np.packbits(B))
unravel_index: np.unravel_index(J, (2, 3))
unstack: np.unstack(X)
unwrap: np.unwrap(V * 3)
vander: np.vander(V)
var: np.var(X, axis=1)
vdot: np.vdot(X, Y)
vecdot: np.vecdot(X, Y)
vecmat: np.vecmat(R, T)
vectorize: np.vectorize(lambda a, b: a * b if a > 0 else a + b)(V, W)
vsplit: np.vsplit(X, 3)
vstack: np.vstack([V, W])
where: np.where(X > 0, X, Y)
zeros: np.zeros((2, 3)) + Q
zeros_like: np.zeros_like(X) + Q
linalg.cholesky: np.linalg.cholesky(S @ S.T)
linalg.cond: np.linalg.cond(A)
linalg.cross: np.linalg.cross(A, S)
linalg.det: np.linalg.det(A)
linalg.diagonal: np.linalg.diagonal(A)
linalg.eig: np.abs(np.linalg.eig(A)[0])
linalg.eigh: np.linalg.eigh(S)[0]
linalg.eigvals: np.linalg.eigvals(A)
linalg.eigvalsh: np.linalg.eigvalsh(S)
linalg.inv: np.linalg.inv(A)
linalg.lstsq: np.linalg.lstsq(X.T, V)[0]
linalg.matmul: np.linalg.matmul(A, S)
linalg.matrix_norm: np.linalg.matrix_norm(X)
linalg.matrix_power: np.linalg.matrix_power(A, 3)
linalg.matrix_rank: np.linalg.matrix_rank(A)
linalg.matrix_transpose: np.linalg.matrix_transpose(T)
linalg.multi_dot: np.linalg.multi_dot([A, X, V])
linalg.norm: np.linalg.norm(X, axis=1)
linalg.outer: np.linalg.outer(V, R)
linalg.pinv: np.linalg.pinv(X)
linalg.qr: np.linalg.qr(A)
linalg.slogdet: np.linalg.slogdet(A)
linalg.solve: np.linalg.solve(A, R)
linalg.svd: np.linalg.svd(X, full_matrices=False)[1]
linalg.svdvals: np.linalg.svdvals(X)
linalg.tensordot: np.linalg.tensordot(X, Y)
linalg.tensorinv: np.linalg.tensorinv(A, ind=1)
linalg.tensorsolve: np.linalg.tensorsolve(A, R)
linalg.test: {settings}
linalg.trace: np.linalg.trace(A)
linalg.vecdot: np.linalg.vecdot(X, Y)
linalg.vector_norm: np.linalg.vector_norm(X, axis=1)
fft.fft: np.fft.fft(X)
fft.fft2: np.fft.fft2(X)
fft.fftfreq: np.fft.fftfreq(4, Q)
fft.fftn: np.fft.fftn(T)
fft.fftshift: np.fft.fftshift(X)
fft.hfft: np.fft.hfft(C)
fft.ifft: np.fft.ifft(C)
fft.ifft2: np.fft.ifft2(C)
fft.ifftn: np.fft.ifftn(C)
fft.ifftshift: np.fft.ifftshift(X)
fft.ihfft: np.fft.ihfft(X)
fft.irfft: np.fft.irfft(C)
fft.irfft2: np.fft.irfft2(C)
fft.irfftn: np.fft.irfftn(C)
fft.rfft: np.fft.rfft(X)
fft.rfft2: np.fft.rfft2(X)
fft.rfftfreq: np.fft.rfftfreq(4, Q)
fft.rfftn: np.fft.rfftn(X)
fft.test: {settings}
"""


def _lines(text: str) -> dict[str, str]:
    """``name: expression`` per line, the reasons filled in."""
    filled = text
    for word, reason in (
        ("text", _TEXT), ("file", _FILE), ("settings", _SETTINGS), ("dates", _DATES), ("dtypes", _DTYPES), ("memory", _MEMORY),
    ):  # fmt: skip
        filled = filled.replace("{" + word + "}", reason)
    pairs = [line.split(": ", 1) for line in filled.strip().splitlines()]
    assert len({name for name, _ in pairs}) == len(pairs), "a name has two samples"
    return dict(pairs)  # type: ignore[arg-type]


def _table() -> dict[str, str]:
    made = {name: f"np.{name}({x})" for x, names in _UNARY.items() for name in names.split()}
    made |= {name: f"np.{name}({x})" for x, names in _BINARY.items() for name in names.split()}
    return made | _lines(_OTHERS)


SAMPLES = _table()
