"""Text of kernels to object files: translation, LLVM's optimiser, the processor's code."""

from __future__ import annotations

import ast
from functools import cache
from typing import Any

from irgrad.codegen import written
from irgrad.codegen.llvm.function import Space, define
from irgrad.codegen.llvm.kinds import Number, Unsupported
from irgrad.codegen.llvm.module import Module
from irgrad.codegen.llvm.writer import I64, Value


@cache
def _routines() -> Space:
    """The routines that kernels share."""
    return Space(_functions(_text_of(written.__file__)), written.CONSTANTS)


def _text_of(file: str) -> str:
    with open(file, encoding="utf-8") as found:
        return found.read()


def _functions(text: str) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


def ir(name: str, text: str, constants: dict[str, Any] | None = None) -> str:
    """A module of LLVM for the function `name` of a text, all whose parameters are int64, as its result.

    Other functions of the text are found by name, and `constants`. Raises Unsupported where something is not understood.
    """
    functions = _functions(text)
    space = Space(functions, constants or {}, _routines)
    module = Module()
    definition = functions[name]
    operands = [Number("int64", Value(I64, "")) for _ in definition.args.args]
    define(module, space, definition, name, operands, "int64", "")
    return module.text(head())


@cache
def _machine() -> Any:
    """The processor of this process, as Numba describes it to LLVM."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    relocation = "static" if target.name.startswith("x86") else "pic" if target.name.startswith("ppc") else "default"
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=cpu, features=features, opt=3, reloc=relocation, codemodel="jitdefault", jit=True)


@cache
def head() -> str:
    """What every module says of the machine."""
    import llvmlite.binding as llvm

    return f'target datalayout = "{_machine().target_data}"\ntarget triple = "{llvm.get_process_triple()}"'


def optimised(text: str) -> Any:
    """A module of LLVM's own from its text, optimised for this processor."""
    import llvmlite.binding as llvm

    try:
        module = llvm.parse_assembly(text)
        module.verify()  # LLVM ends the process at what it does not understand
    except RuntimeError as error:
        raise Unsupported(f"LLVM: {error}") from error
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(_machine(), options)
    builder.getModulePassManager().run(module, builder)
    return module


def object_code(text: str) -> bytes:
    """The object file of a module's text."""
    return bytes(_machine().emit_object(optimised(text)))
