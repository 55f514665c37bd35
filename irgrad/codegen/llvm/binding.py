"""LLVM itself: text of its language to object files, by the C functions of llvmlite's library.

They are called directly where llvmlite is of a version whose functions are known here: importing its Python parts takes three times as
long as loading the library, and its lock would let one thread into LLVM at a time. Each compilation has a context and a target machine
of its own, so that several threads may compile. Other versions are used by their public interface (`Public`).
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from irgrad.codegen import processor
from irgrad.codegen.llvm.kinds import Unsupported
from irgrad.codegen.locks import Lock

if TYPE_CHECKING:
    from collections.abc import Iterator

KNOWN = ("0.50.",)  # llvmlite's versions whose C functions have the signatures below
FILES = {"linux": "libllvmlite.so", "darwin": "libllvmlite.dylib"}


class Effort(NamedTuple):
    """How much LLVM is to do: its pipeline of a level (1 to 3), or `PASSES` alone (0); what loops are worth; how code is chosen."""

    level: int
    vectorise: bool = False
    unroll: bool = False
    code: int = 3  # level of what chooses instructions and registers; at 0 no pass runs before it

    def passes(self) -> tuple[str, ...]:
        if not self.code:
            return ()
        return tuple(name for name in PASSES if self.unroll or name != "LoopUnroll")


FULL = Effort(3, vectorise=True, unroll=True)
LIGHT = Effort(0)  # of code whose work is done by what it calls: a fifth of the time
LIGHT_LOOPS = Effort(0, unroll=True)  # the same, called by a loop of its own
STRAIGHT = Effort(0, code=0)  # of few operations without jumps: a quarter of the time of LIGHT, and up to 1 ns slower
PASSES = ("AlwaysInliner", "SROA", "SimplifyCFG", "InstCombine", "LoopRotate", "LoopUnroll", "NewGVN", "InstCombine", "SimplifyCFG")


_PUBLIC = {
    "AlwaysInliner": "always_inliner", "SROA": "sroa", "SimplifyCFG": "simplify_cfg", "InstCombine": "instruction_combine",
    "LoopRotate": "loop_rotate", "LoopUnroll": "loop_unroll", "NewGVN": "new_gvn",
}  # fmt: skip


class Compiler(Protocol):
    """What makes code of a module's text. Both methods raise Unsupported where LLVM refuses the text."""

    def head(self) -> str: ...

    def object_code(self, text: str, effort: Effort) -> bytes: ...

    def optimised(self, text: str, effort: Effort) -> str: ...


def compiler() -> Compiler:
    """The way to LLVM of this process."""
    if not _found:
        with _starting:
            if not _found:
                _found.append(_way())
    return _found[0]


def _way() -> Compiler:
    if processor.version_of("llvmlite").startswith(KNOWN) and sys.platform in FILES:
        try:
            return Direct(_library())
        except (OSError, AttributeError):
            pass
    return Public()


_found: list[Compiler] = []
_starting = Lock()


def _library() -> Any:
    spec = find_spec("llvmlite")
    if spec is None or spec.origin is None:
        raise OSError("llvmlite is not there")
    path = str(Path(spec.origin).parent / "binding" / FILES[sys.platform])
    if sys.platform == "linux":  # ctypes would keep the interpreter lock for the 5 ms that loading it takes
        system = ctypes.CDLL(None)
        system.dlopen.restype, system.dlopen.argtypes = _P, [_S, _I]
        system.dlopen(os.fsencode(path), os.RTLD_NOW)
    return ctypes.CDLL(path)


_P, _S, _I = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "InitializeNativeTarget": (None, []),
    "InitializeNativeAsmPrinter": (None, []),
    "GetProcessTriple": (None, [_P]),
    "GetHostCPUName": (None, [_P]),
    "GetHostCPUFeatures": (_I, [_P]),
    "GetTargetFromTriple": (_P, [_S, _P]),
    "GetTargetName": (_S, [_P]),
    "CreateTargetMachine": (_P, [_P, _S, _S, _S, _I, _S, _S, _I, _I, _S]),
    "CreateTargetMachineData": (_P, [_P]),
    "CopyStringRepOfTargetData": (None, [_P, _P]),
    "DisposeTargetData": (None, [_P]),
    "DisposeString": (None, [_P]),
    "ContextCreate": (_P, []),
    "ContextDispose": (None, [_P]),
    "ParseAssembly": (_P, [_P, _S, _P]),
    "VerifyModule": (_I, [_P, _P]),
    "PrintModuleToString": (None, [_P, _P]),
    "DisposeModule": (None, [_P]),
    "CreatePipelineTuningOptions": (_P, []),
    "PTOSetLoopVectorization": (None, [_P, ctypes.c_bool]),
    "PTOSetSLPVectorization": (None, [_P, ctypes.c_bool]),
    "PTOSetLoopUnrolling": (None, [_P, ctypes.c_bool]),
    "DisposePipelineTuningOptions": (None, [_P]),
    "CreatePassBuilder": (_P, [_P, _P]),
    "DisposePassBuilder": (None, [_P]),
    "buildPerModuleDefaultPipeline": (_P, [_P, _I]),
    "CreateNewModulePassManager": (_P, []),
    "RunNewModulePassManager": (None, [_P, _P, _P]),
    "DisposeNewModulePassManger": (None, [_P]),
    "TargetMachineEmitToMemory": (_P, [_P, _P, _I, _P]),
    "GetBufferStart": (_P, [_P]),
    "GetBufferSize": (ctypes.c_size_t, [_P]),
    "DisposeMemoryBuffer": (None, [_P]),
    **{f"module_Add{name}Pass": (None, [_P]) for name in PASSES},
}


LONG = ("InitializeNativeTarget", "RunNewModulePassManager", "TargetMachineEmitToMemory")


class Direct:
    """LLVM by the C functions of llvmlite's library. Raises AttributeError where one is missing.

    `LONG` ones run without the interpreter lock; to give it up in others would mean to wait for it, as long as another thread traces.
    """

    def __init__(self, library: Any) -> None:
        locked = ctypes.PyDLL(library._name, handle=library._handle)  # noqa: SLF001
        for name, (result, operands) in _SIGNATURES.items():
            function = getattr(library if name in LONG else locked, f"LLVMPY_{name}")
            function.restype, function.argtypes = result, operands
            setattr(self, name, function)
        self._machines: dict[int, list[int]] = {0: [], 3: []}  # free ones, by the level of their code
        with _lock_of_llvmlite():
            self.InitializeNativeTarget()
            self.InitializeNativeAsmPrinter()
            self._triple, self._cpu = self._text(self.GetProcessTriple), self._text(self.GetHostCPUName)
            self._features = self._text(self.GetHostCPUFeatures)
            self._machines[3].append(self._new_machine(3))
        data = self.CreateTargetMachineData(self._machines[3][0])
        self._layout = self._text(self.CopyStringRepOfTargetData, data)
        self.DisposeTargetData(data)

    def __getattr__(self, name: str) -> Any:  # the functions of the library
        raise AttributeError(name)

    def _text(self, function: Any, *operands: Any) -> str:
        """What a function writes to its last operand."""
        found = _S()
        function(*operands, ctypes.byref(found))
        return self._taken(found)

    def _taken(self, found: Any) -> str:
        text = (found.value or b"").decode()
        if found:
            self.DisposeString(found)
        return text

    def _new_machine(self, level: int) -> int:
        """The processor of this process, as Numba describes it to LLVM."""
        problem = _S()
        target = self.GetTargetFromTriple(self._triple.encode(), ctypes.byref(problem))
        if not target:
            raise OSError(self._taken(problem))
        cpu, features, reloc = self._cpu.encode(), self._features.encode(), relocation(self.GetTargetName(target).decode())
        made = self.CreateTargetMachine(target, self._triple.encode(), cpu, features, level, reloc.encode(), b"jitdefault", 0, 1, b"")
        if not made:
            raise OSError("LLVM has no description of this processor")
        return int(made)

    def head(self) -> str:
        """What every module says of the machine."""
        return f'target datalayout = "{self._layout}"\ntarget triple = "{self._triple}"'

    def object_code(self, text: str, effort: Effort) -> bytes:
        """The object file of a module's text."""
        with self._made(text, effort) as (module, machine):
            problem = _S()
            buffer = self.TargetMachineEmitToMemory(machine, module, 1, ctypes.byref(problem))
            if not buffer:
                raise Unsupported(f"LLVM: {self._taken(problem)}")
            try:
                return ctypes.string_at(self.GetBufferStart(buffer), self.GetBufferSize(buffer))
            finally:
                self.DisposeMemoryBuffer(buffer)

    def optimised(self, text: str, effort: Effort) -> str:
        """The module's text behind LLVM's optimiser."""
        with self._made(text, effort) as (module, _):
            return self._text(self.PrintModuleToString, module)

    @contextmanager
    def _made(self, text: str, effort: Effort) -> Iterator[tuple[int, int]]:
        """A module, optimised, and the machine it was optimised for."""
        context = self.ContextCreate()
        free = self._machines[effort.code]
        machine = free.pop() if free else self._new_machine(effort.code)
        module = 0
        try:
            problem = _S()
            module = self.ParseAssembly(context, f"{self.head()}\n{text}".encode(), ctypes.byref(problem)) or 0
            refused = problem.value or not module or self.VerifyModule(module, ctypes.byref(problem))
            if refused:  # LLVM ends the process at what it does not understand
                raise Unsupported(f"LLVM: {self._taken(problem)}")
            self._taken(problem)
            if effort.level or effort.passes():
                self._optimise(module, machine, effort)
            yield module, machine
        finally:
            if module:
                self.DisposeModule(module)
            self.ContextDispose(context)
            free.append(machine)

    def _optimise(self, module: int, machine: int, effort: Effort) -> None:
        options = self.CreatePipelineTuningOptions()
        self.PTOSetLoopVectorization(options, effort.vectorise)
        self.PTOSetSLPVectorization(options, False)
        self.PTOSetLoopUnrolling(options, effort.unroll)
        builder = self.CreatePassBuilder(machine, options)
        if effort.level:
            manager = self.buildPerModuleDefaultPipeline(builder, effort.level)
        else:
            manager = self.CreateNewModulePassManager()
            for name in effort.passes():
                getattr(self, f"module_Add{name}Pass")(manager)
        self.RunNewModulePassManager(manager, module, builder)
        self.DisposeNewModulePassManger(manager)
        self.DisposePassBuilder(builder)
        self.DisposePipelineTuningOptions(options)


class Public:
    """The same by llvmlite's Python interface; one thread at a time is in LLVM."""

    def __init__(self, triple: str = "", cpu: str = "") -> None:
        """For this process; given a triple, for a processor of another kind."""
        import llvmlite.binding as llvm

        self._llvm: Any = llvm
        if triple:
            llvm.initialize_all_targets()
            llvm.initialize_all_asmprinters()
        else:
            llvm.initialize_native_target()
            llvm.initialize_native_asmprinter()
        self._triple = triple or llvm.get_process_triple()
        target = llvm.Target.from_triple(self._triple)
        features = "" if triple else llvm.get_host_cpu_features().flatten()
        settings = {"reloc": relocation(target.name), "codemodel": "jitdefault", "jit": True}
        settings |= {"cpu": cpu or llvm.get_host_cpu_name(), "features": features}
        self._machines = {level: target.create_target_machine(opt=level, **settings) for level in (0, 3)}

    def head(self) -> str:
        return f'target datalayout = "{self._machines[3].target_data}"\ntarget triple = "{self._triple}"'

    def object_code(self, text: str, effort: Effort) -> bytes:
        with _starting:
            return bytes(self._machines[effort.code].emit_object(self._made(text, effort)))

    def optimised(self, text: str, effort: Effort) -> str:
        with _starting:
            return str(self._made(text, effort))

    def _made(self, text: str, effort: Effort) -> Any:
        llvm = self._llvm
        try:
            module = llvm.parse_assembly(f"{self.head()}\n{text}", llvm.create_context())
            module.verify()
        except RuntimeError as error:
            raise Unsupported(f"LLVM: {error}") from error
        options = llvm.create_pipeline_tuning_options(speed_level=effort.level)
        options.loop_vectorization, options.slp_vectorization = effort.vectorise, False
        options.loop_unrolling = effort.unroll
        builder = llvm.create_pass_builder(self._machines[effort.code], options)
        if effort.level:
            manager = builder.getModulePassManager()
        else:
            manager = llvm.create_new_module_pass_manager()
            for name in effort.passes():
                getattr(manager, f"add_{_PUBLIC[name]}_pass")()
        manager.run(module, builder)
        return module


def relocation(target: str) -> str:
    """Numba's choice of how code refers to addresses."""
    return "static" if target.startswith("x86") else "pic" if target.startswith("ppc") else "default"


@contextmanager
def _lock_of_llvmlite() -> Iterator[None]:
    """LLVM's registries have no locks: whoever has imported llvmlite may fill them too."""
    there = sys.modules.get("llvmlite.binding.ffi")
    lock: Any = getattr(getattr(there, "lib", None), "_lock", None)
    if lock is None:
        yield
        return
    with lock:
        yield
