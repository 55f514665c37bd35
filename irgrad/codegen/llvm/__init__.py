"""Kernel text to machine code without Numba: text of LLVM's intermediate language, its optimiser, object files.

`function` translates statements, `expressions` values, `calls` the names that kernels use; `kinds` has the rules of numbers, which are
Numba's, `writer` makes LLVM's words, `module` puts a module together, `machine` runs LLVM. Text that is not understood is refused
(`Unsupported`), and Numba compiles it.
"""
