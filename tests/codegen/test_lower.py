"""From plans to rows: where values live, what the pointer table holds, and the text of scalar sections."""

from __future__ import annotations

import textwrap

import pytest

import irgrad.ops
import irgrad.ops.special  # noqa: F401  (both declare primitives)
from irgrad.codegen.lower import lower
from irgrad.codegen.lowered import HostRow, Lowered, Ref, Row
from irgrad.errors import InternalError
from irgrad.ir.parser import parse
from irgrad.ir.plan import Plan, contiguous
from irgrad.passes.cluster import cluster
from irgrad.passes.legalize import legalize


def planned(text: str) -> Plan:
    graph = parse(text)
    legalize(graph)
    return cluster(graph, [contiguous(node.aval.shape) for node in graph.inputs])


def lowered(text: str) -> Lowered:
    return lower(planned(text))


def row(made: Lowered, number: int = 0) -> Row:
    found = made.rows[number]
    assert isinstance(found, Row)
    return found


def test_one_loop() -> None:
    made = lowered(
        """
        graph f(x: f64[9,2], y: f64[2]) -> (f64[9,2])
        primal
          %0: f64[9,2] = mul %x %y
          %1: f64[9,2] = add %0 1.5
        return %1
        """
    )
    assert row(made).source == textwrap.dedent(
        """\
        def kernel(p, n):
            p0 = scoped_float64(p, 0, 0, 3)
            p1 = scoped_float64(p, 1, 1, 3)
            p2 = scoped_float64(p, 2, 2, 3)
            n0 = size(n, 0)
            n1 = size(n, 1)
            s0_0 = size(n, 2)
            for i0 in range(n0):
                b0_0 = i0 * s0_0
                for i1 in range(n1):
                    v1 = load(p0, (b0_0 + i1))
                    v2 = load(p1, i1)
                    v3 = v1 * v2
                    v4 = v3 + 1.5
                    store(p2, (b0_0 + i1), v4)
            return 0
        """
    )
    assert row(made).pointers == [Ref(("slot", 0)), Ref(("slot", 1)), Ref(("buffer", 0))]
    assert row(made).sizes == [9, 2, 2]
    assert made.buffers == [9 * 2 * 8]
    assert made.changed == frozenset()


def test_few_elements_are_variables() -> None:
    made = lowered(
        """
        graph f(x: f64[2], m: f64[2,2]) -> (f64[2])
        primal
          %0: f64[2]   = dot %m %x
          %1: f64[2]   = sin %0
          %2: f64[1]   = slice[count=(1,), drop=(), start=(1,), step=(1,)] %1
          %3: f64[]    = reduce_sum[axes=(0,)] %1
          %4: f64[1]   = reshape[shape=(1,)] %3
          %5: f64[2]   = concatenate[axis=0] %2 %4
        return %5
        """
    )
    assert row(made).source == textwrap.dedent(
        """\
        def kernel(p, n):
            p0 = pointer_float64(p, 0)
            p1 = pointer_float64(p, 1)
            p2 = pointer_float64(p, 2)
            v1 = load(p0, 0)
            v2 = load(p0, 1)
            v3 = load(p0, 2)
            v4 = load(p0, 3)
            v5 = load(p1, 0)
            v6 = load(p1, 1)
            v7 = v1 * v5 + v2 * v6
            v8 = v3 * v5 + v4 * v6
            v9 = sin(v7)
            v10 = sin(v8)
            v11 = v9 + v10
            store(p2, 0, v10)
            store(p2, 1, v11)
            return 0
        """
    )


def test_a_view_is_a_reference_not_a_copy() -> None:
    made = lowered(
        """
        graph f(x: f64[6,5]) -> (f64[5,2], f64[2,5])
        primal
          %0: f64[2,5] = slice[count=(2, 5), drop=(), start=(3, 0), step=(1, 1)] %x
          %1: f64[5,2] = transpose[axes=(1, 0)] %0
        return %1, %0
        """
    )
    assert made.rows == []
    assert made.buffers == []
    assert [(e.ref, e.strides) for e in made.exports] == [(Ref(("slot", 0), 15 * 8), (1, 5)), (Ref(("slot", 0), 15 * 8), (5, 1))]


def test_offsets_that_are_data_are_terms_of_the_reference() -> None:
    made = lowered(
        """
        graph f(x: f64[60,5]) -> (f64[9,5])
        primal
          %0: f64[9,5] = slice[count=(9, 5), drop=(), dynamic=0, start=(3, 0), step=(1, 1)] %x
          %1: f64[9,5] = sin %0
        return %1
        """
    )
    assert row(made).pointers[0] == Ref(("slot", 0), 0, ((0, (40, 8)),))


def test_an_update_in_place_changes_its_slot() -> None:
    made = lowered(
        """
        graph f(e0: f64[10], y: f64[9]) -> (f64[10])
        primal
          %0: f64[10] = slice_add[count=(9,), drop=(), start=(1,), step=(1,)] %e0 %y
        return %0
        """
    )
    assert made.changed == frozenset({0})
    assert made.buffers == []
    assert made.exports[0].ref == Ref(("slot", 0))
    assert row(made).pointers == [Ref(("slot", 1)), Ref(("slot", 0), 8)]


def test_numbers_are_exported_as_numbers() -> None:
    made = lowered("graph f(x: f64[]) -> (f32)\nreturn 2.5!f32\n")
    assert made.rows == []
    assert made.exports[0].ref is None
    assert made.exports[0].number == 2.5


def test_what_has_no_kernel_is_a_host_row() -> None:
    plan = planned(
        """
        graph f(x: f64[9,2]) -> (f64[2,9])
        primal
          %0: f64[2,9] = transpose[axes=(1, 0)] %x
          %1: f64[2,9] = sort[axis=1] %0
        return %1
        """
    )
    made, nodes = lower(plan), plan.graph.nodes()
    (found,) = made.rows
    assert isinstance(found, HostRow)
    assert found.what == "sort"
    assert found.params == {"axis": 1}
    assert found.operands == [(Ref(("slot", 0)), nodes[0].aval, (8, 16))]
    assert found.result == (Ref(("buffer", 0)), nodes[1].aval)


def test_equal_templates_have_equal_text() -> None:
    """Sizes and offsets are tables: another extent is the same kernel."""
    sources = {
        row(lowered(f"graph f(x: f64[{n},{m}]) -> (f64[{n}])\nprimal\n  %0: f64[{n}] = reduce_sum[axes=(1,)] %x\nreturn %0\n")).source
        for n, m in ((9, 20), (30, 40), (12, 31))
    }
    assert len(sources) == 1


CENTRED = """
graph f(x: f64[300,{n}]) -> (f64[300,{n}])
primal
  %0: f64[300] = reduce_sum[axes=(1,)] %x
  %1: f64[300,1] = reshape[shape=(300,1)] %0
  %2: f64[300,{n}] = sub %x %1
return %2
"""


@pytest.mark.parametrize("size", [4, 200])
def test_a_total_that_is_read_by_the_loop_that_adds_to_it_is_an_error(size: int) -> None:
    text = CENTRED.format(n=size)
    assert lower(planned(text)).rows
    made = planned(text)
    (nest,) = made.clusters
    last = nest.inside[-1]
    total = next(node for node in nest.inside if node.op is not None and node.op.name == "reduce_sum")
    assert nest.stage[last.index] > nest.stage[total.index]
    nest.stage = dict.fromkeys(nest.stage, 0)
    nest.loops = [set().union(*nest.loops)]
    with pytest.raises(InternalError, match=r"reads the total .* before it is complete"):
        lower(made)


def test_memory_that_is_read_before_it_is_written_is_an_error() -> None:
    text = """
    graph f(x: f64[40,30], y: f64[30,20]) -> (f64[40,20])
    primal
      %0: f64[40,30] = tanh %x
      %1: f64[40,20] = dot %0 %y
      %2: f64[40,20] = exp %1
    return %2
    """
    assert len(lower(planned(text)).rows) == 3
    for order in ([1, 0, 2], [0, 2, 1]):
        made = planned(text)
        made.clusters[:] = [made.clusters[k] for k in order]
        with pytest.raises(InternalError, match="from memory before it is there"):
            lower(made)


def test_a_whole_that_is_read_before_all_its_parts_are_written_is_an_error() -> None:
    text = """
    graph f(x: f64[40,30], y: f64[30,20]) -> (f64[70,20])
    primal
      %0: f64[30,20] = tanh %y
      %1: f64[40,20] = dot %x %y
      %2: f64[70,20] = concatenate[axis=0] %0 %1
      %3: f64[70,20] = exp %2
    return %3
    """
    made = planned(text)
    assert len(made.parts) == 2
    assert len(lower(made).rows) == 3
    for k in (0, 1):
        made = planned(text)
        made.clusters.append(made.clusters.pop(k))
        with pytest.raises(InternalError, match="from memory before it is there"):
            lower(made)


def test_routines_have_names_of_their_own() -> None:
    """A number goes to scipy's routine, by address, and an array through the function that is written out, in one kernel."""
    made = lowered(
        """
        graph f(x: f64[40], a: f64[]) -> (f64[40])
        primal
          %0: f64     = psi %a
          %1: f64[40] = psi %x
          %2: f64[40] = mul %1 %0
        return %2
        """
    )
    text = row(made).source
    assert "special_psi(" in text and "call_real1(routine_psi, " in text and "special_psi =" not in text
