"""Nodes of syntax trees: those of `ast.walk`, without operators and contexts, in its order."""

from __future__ import annotations

import ast

import pytest

from irgrad.codegen import driver, written
from irgrad.codegen.llvm.tree import walk

LEFT_OUT = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)


@pytest.mark.parametrize("file", [driver.__file__, written.__file__, __file__])
def test_all_nodes_are_found_in_order(file: str) -> None:
    with open(file, encoding="utf-8") as text:
        tree = ast.parse(text.read())
    expected = [node for node in ast.walk(tree) if not isinstance(node, LEFT_OUT)]
    assert len(expected) > 50
    assert [id(node) for node in walk(tree)] == [id(node) for node in expected]
