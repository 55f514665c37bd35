"""Object files for tests of the linker: LLVM's text compiled for a machine, a code model and a relocation model."""

from __future__ import annotations

from functools import cache

import llvmlite.binding as llvm

X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
MODELS = {X86: ("jitdefault", "small", "medium", "large"), ARM: ("jitdefault", "small")}
ALL = [(triple, model, kind) for triple, models in MODELS.items() for model in models for kind in ("static", "pic")]

CALLS = """
@counter = internal global i64 5
@zeros = internal global [1000 x i64] zeroinitializer
@table = internal constant [4 x double] [double 1.5, double 2.5, double 3.5, double 4.5]
@outside = external global i64
declare double @sin(double)
declare i64 @named(i64)

define internal i64 @inner(i64 %a) noinline {
  %p = getelementptr [1000 x i64], [1000 x i64]* @zeros, i64 0, i64 %a
  %old = load i64, i64* %p
  %new = add i64 %old, 7
  store i64 %new, i64* %p
  ret i64 %new
}

define i64 @entry(i64 %a, i64 %b, i64 %c) {
  %x = sitofp i64 %a to double
  %y = call double @sin(double %x)
  %p = getelementptr [4 x double], [4 x double]* @table, i64 0, i64 %b
  %t = load double, double* %p
  %z = fmul double %y, %t
  %w = fmul double %z, 1234567.891
  %old = load i64, i64* @counter
  %new = add i64 %old, %c
  store i64 %new, i64* @counter
  %o = load i64, i64* @outside
  %v = fptosi double %w to i64
  %s = add i64 %v, %new
  %i = call i64 @inner(i64 %c)
  %n = call i64 @named(i64 %i)
  %r = add i64 %s, %o
  %q = add i64 %r, %n
  ret i64 %q
}
"""

SWITCH = """
define i64 @entry(i64 %a, i64 %b, i64 %c) {
start:
  switch i64 %a, label %other [ i64 0, label %l0  i64 1, label %l1  i64 2, label %l2  i64 3, label %l3  i64 4, label %l4  i64 5, label %l5 ]
l0:
  %r0 = mul i64 %b, 3
  br label %done
l1:
  %r1 = sub i64 %b, %c
  br label %done
l2:
  %r2 = xor i64 %b, %c
  br label %done
l3:
  %r3 = sdiv i64 %b, %c
  br label %done
l4:
  %r4 = shl i64 %b, 4
  br label %done
l5:
  %r5 = srem i64 %b, %c
  br label %done
other:
  br label %done
done:
  %r = phi i64 [ %r0, %l0 ], [ %r1, %l1 ], [ %r2, %l2 ], [ %r3, %l3 ], [ %r4, %l4 ], [ %r5, %l5 ], [ -1, %other ]
  ret i64 %r
}
"""


@cache
def compiled(text: str, triple: str, model: str, kind: str) -> bytes:
    """The object file of a module's text."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = llvm.parse_assembly(text)
    module.triple = triple
    machine = llvm.Target.from_triple(triple).create_target_machine(jit=True, codemodel=model, reloc=kind)
    return bytes(machine.emit_object(module))
