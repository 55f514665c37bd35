"""Why a case falls short of a target, what was tried, what it would need: written by hand, printed by `benchmarks.page`."""

from __future__ import annotations

SCALAR_CHAIN = (
    "One loop over the steps each way, bound by the chain of operations from step to step, which the adjoint has more of than the "
    "derivative by hand: it multiplies the cotangent by one factor after the other, so that products are those of the traced operations."
)
SMALL_NESTS = (
    "Loops over inner axes of 3 to 5 elements, with intermediate arrays between them: it would need nests whose short axes are written "
    "out, and sums over them fused with what produces and uses them."
)

GENERAL = """\
- **Time to compiled**, cold: loading LLVM takes 6 ms, mostly its relocations, and the first kernel 3 more than later ones, for
  pages of LLVM's code. A kernel without jumps takes 0.6 ms of processor time, a loop 4 to 6 where irgrad writes its vectors (on
  processors with masks) or where steps wait for one another, and 9 to 13 where LLVM's vectoriser does. Two threads share this, and LLVM
  is loaded while a function is traced. The driver comes with the package (Linux on x86-64 and AArch64).
- **Time to compiled** of long loops, cold and warm, is tracing (rk4_1000, soft_distance_60, gauss_seidel_32, logistic_map; the last
  section has a step's share). JAX's figure there is of a loop rewritten with `lax.scan`, which traces its body once; so does `irgrad.scan`
  (rk4_scan_10000). Segments that repeat are frozen, differentiated and linked whole, without records of their own (gauss_seidel_32: 0.74 s
  to 0.54). Of what is left up to a half is the function itself on recording numbers, 1.6 us an operation; freezing, analysis,
  adjoint and linking share the rest, a little for each iteration of the innermost loop. It would need runs of iterations whose operands
  move by constant steps as one object, so that these four cost once an outer iteration.
- **Memory**: large arrays are not computed by traces. Of small cases it is what a first program takes, 0.3 MB (tables and code, and
  pages of numpy's and libmvec's code that are read for the first time), where autograd takes 0.15. Of loops over small arrays it is
  tracing: the values that autograd keeps as well, but for sums and scaled arrays of 1 kB and more, and the recording. Graphs, records
  and texts are dropped once they are rows, modules that few programs need are imported late; the rest (0.1 MB of names, the first
  kernel's pages) would have to be made at import, which is no gain to the user. Of the whole process it is the import, 13 MB more than
  autograd's. At size M, convolution_layer keeps contiguous copies of nine slices for the adjoint's products.
- **Size M against autograd**: numpy's loops and BLAS do the same work on the same core, so that what fusion saves in memory traffic is what
  can be won on one thread; `--threads 2` measures two. *Of the limit* says how far each case is from what the machine allows: where
  products are the work, autograd's own call reaches a third of that and more. Against JAX, too, half of these cases are its BLAS against
  OpenBLAS.
- **Scalar loops against Numba**: steps of a Python loop that are one kernel each are one row, its state in registers; where a step takes
  several kernels, each is a row of the driver's table, 5 ns."""

NOTES: dict[str, str] = {
    "sine_chain": SCALAR_CHAIN,
    "logistic_map": (
        SCALAR_CHAIN
        + " Half of the time, by hand too, is the processor's handling of subnormal numbers: the cotangent shrinks to nothing. "
        "Taking the cotangent out of the sum of two products gives 0.75, but other bits, and nan and infinities in other places: it would "
        "need the loop to test its last cotangent and run again as written."
    ),
    "rk4_10": SCALAR_CHAIN,
    "gauss_seidel_32": "A row of the driver for each line of the grid, each way.",
    "huber": "One loop at the speed of memory, which fetches ahead what it reads; the result goes past the caches.",
    "k_means": SMALL_NESTS,
    "n_body_100": SMALL_NESTS,
    "jacobi_128": (
        "Five rows a sweep: the new values go through an array of their own; back the cotangent is written with zeros around it, and "
        "gathered. By hand it is one loop each way, on arrays whose edges stay zero."
    ),
    "tanh_chain": "Bound by tanh itself, 1.5 ns each: arithmetic on two vectors at a time, as each step waits for the one before.",
    "mlp_f32": "Bound by BLAS: OpenBLAS's sgemm against the one that XLA calls, at 128 x 784 x 256.",
    "convolution_layer": (
        "Nine products with matrices of 8 x 16: BLAS on long thin operands, each result added to the total in a pass of its own."
    ),
}
