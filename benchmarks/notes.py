"""Why a case falls short of a target, what was tried, what it would need: written by hand, printed by `benchmarks.page`."""

from __future__ import annotations

SCALAR_ROWS = (
    "Each step of the loop is a row of the driver with a scalar kernel: about 5 ns a row, and sin by one lane of the vector routine (so "
    "that a value does not depend on where it stands) takes twice libm's 7 ns. It would need rows that run several steps."
)
SMALL_NESTS = (
    "Loops over inner axes of 3 to 5 elements, with intermediate arrays between them: it would need nests whose short axes are written "
    "out, and sums over them fused with what produces and uses them."
)

GENERAL = """\
- **Time to compiled**, cold and new: importing Numba and the first use of its compiler take 0.35 s, each kernel 60 to 110 ms, a third
  of it in LLVM, the rest in Numba's typing and lowering. The driver, which every process needed Numba for, is now kept in the store, so
  that a warm process does without: 0.08 s instead of 0.35 to 0.5 s (0.14 s where BLAS is called, as scipy.linalg is imported for its
  addresses). Half of JAX's time would need LLVM's text written without Numba, and fewer kernels.
- **Memory** at size M is that of tracing, not of the compiled call: a trace keeps the value of every operation, of the derivative too,
  until it ends, and two calls are traced. Values would have to go as soon as nothing but the recording refers to them. At size S it is
  LLVM's own code and data (60 MB).
- **Size M against autograd**: numpy's loops and BLAS do the same work on the same core, so that what fusion saves in memory traffic is what
  can be won on one thread; `--threads 2` measures two.
- **Scalar loops against Numba**: a step of a Python loop is one row, or a few, of the driver's table, 5 ns each; by hand the whole loop
  is one function with its state in registers."""

NOTES: dict[str, str] = {
    "sine_chain": SCALAR_ROWS,
    "logistic_map": SCALAR_ROWS,
    "rk4_10": SCALAR_ROWS,
    "gauss_seidel_32": (
        "A row of the driver for each element that is written, on the way forward and on the way back, by addresses in the row's table; "
        "by hand all of it is one loop nest."
    ),
    "huber": "One loop at the speed of memory, level with the one by hand.",
    "k_means": SMALL_NESTS,
    "n_body_100": SMALL_NESTS,
    "jacobi_128": (
        "Eight rows a sweep: slices of the cotangent are copied and added one after the other. It would need the writes of a sweep and its "
        "reads in one nest."
    ),
    "tanh_chain": "Bound by tanh itself, 2 to 3 ns each by libmvec's routine; XLA writes a polynomial of its own into the loop.",
    "mlp_f32": "Bound by BLAS: OpenBLAS's sgemm against the one that XLA calls, at 128 x 784 x 256.",
    "convolution_layer": (
        "Nine products with matrices of 8 x 16: BLAS on long thin operands, each result added to the total in a pass of its own."
    ),
}
