"""A smaller program that still fails: outputs and statements are dropped, values become arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.support.program import SPACE, Program, Statement


def shrink(program: Program, fails: Callable[[Program], bool], steps: int = 400) -> Program:
    """The smallest program found in so many attempts for which `fails` holds, as it does for `program`."""
    best = program
    progress = True
    while progress and steps > 0:
        progress = False
        for candidate in _smaller(best):
            steps -= 1
            if steps <= 0:
                break
            if fails(candidate):
                best, progress = candidate, True
                break
    return best


def _smaller(program: Program) -> Iterator[Program]:
    if len(program.outputs) > 1:
        for k in range(len(program.outputs)):
            yield _pruned(program, outputs=[*program.outputs[:k], *program.outputs[k + 1 :]])
    for k in range(len(program.statements)):  # a value as an argument: what leads to it goes
        made = _cut(program, k)
        if made is not None:
            yield made
    for k, statement in enumerate(program.statements):
        if len(statement.lines) > 2:
            for j in range(2, len(statement.lines)):
                lines = [*statement.lines[:j], *statement.lines[j + 1 :]]
                if any(head.endswith(":") and not body.startswith(" ") for head, body in zip(lines, [*lines[1:], ""], strict=True)):
                    continue
                yield _pruned(
                    program,
                    statements=[*program.statements[:k], Statement(statement.target, lines, statement.reads), *program.statements[k + 1 :]],
                )


def _cut(program: Program, place: int) -> Program | None:
    statement = program.statements[place]
    space = {**SPACE, **program.arguments}
    try:
        for each in program.statements[: place + 1]:
            exec("\n".join(each.lines), space)
    except Exception:
        return None
    arguments = {**program.arguments, statement.target: np.array(space[statement.target])}
    return _pruned(program, statements=[*program.statements[:place], *program.statements[place + 1 :]], arguments=arguments)


def _pruned(
    program: Program,
    outputs: list[str] | None = None,
    statements: list[Statement] | None = None,
    arguments: dict[str, Any] | None = None,
) -> Program:
    """The program without what its outputs do not need."""
    outputs = program.outputs if outputs is None else outputs
    statements = program.statements if statements is None else statements
    arguments = program.arguments if arguments is None else arguments
    needed = set(re.findall(r"\b[vx]\d+\b", " ".join(outputs)))
    kept: list[Statement] = []
    for statement in reversed(statements):
        if statement.target in needed:
            kept.append(statement)
            needed |= set(re.findall(r"\b[vx]\d+\b", "\n".join(statement.lines)))
    named = {name: value for name, value in arguments.items() if name in needed} or dict(list(arguments.items())[:1])
    return Program(named, kept[::-1], outputs, program.exact & {*named, *(s.target for s in kept)}, program.seed)
