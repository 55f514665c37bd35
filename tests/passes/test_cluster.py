"""Which kernels a graph becomes: kinds, and the operations in each section, by text."""

from __future__ import annotations

import pytest

import irgrad.ops  # noqa: F401  (declares the primitives)
from irgrad.ir.graph import Node
from irgrad.ir.parser import parse
from irgrad.ir.plan import Plan, contiguous
from irgrad.passes.cluster import MAX_POINTERS, MAX_STATEMENTS, cluster
from irgrad.passes.legalize import legalize


def plan(text: str) -> Plan:
    graph = parse(text)
    legalize(graph)
    return cluster(graph, [contiguous(node.aval.shape) for node in graph.inputs])


def names(nodes: list[Node]) -> str:
    return " ".join(node.op.name for node in nodes if node.op is not None)


def shown(text: str) -> list[str]:
    """One line per cluster: ``kind: before | inside | after``, without empty sections."""
    lines: list[str] = []
    for each in plan(text).clusters:
        sections = [names(section) for section in (each.before, each.inside, each.after) if section]
        lines.append(f"{each.kind}: {' | '.join(sections)}")
    return lines


SLICE = "count=(9,), drop=(), start=(1,), step=(1,)"


def test_elementwise_chain_is_one_loop() -> None:
    assert shown(
        """
        graph f(x: f64[9,9], y: f64[9], c: f64[]) -> (f64[9,9])
        primal
          %0: f64[9,9] = mul %x %y
          %1: f64[9,9] = add %0 %c
          %2: f64[9,9] = sin %1
        return %2
        """
    ) == ["nest: mul add sin"]


def test_sum_of_products_is_one_loop() -> None:
    made = plan(
        "graph f(x: f64[99], y: f64[99]) -> (f64[])\nprimal\n  %0: f64[99] = mul %x %y\n  %1: f64[] = reduce_sum[axes=(0,)] %0\nreturn %1\n"
    )
    assert [names(each.inside) for each in made.clusters] == ["mul reduce_sum"]
    assert len(made.stored) == 1  # the product has no memory


def test_relu_layer_is_a_product_and_a_loop() -> None:
    assert shown(
        """
        graph f(x: f64[9,20], w: f64[20,9], b: f64[9]) -> (f64[9,9])
        primal
          %0: f64[9,9] = dot %x %w
          %1: f64[9,9] = add %0 %b
          %2: f64[9,9] = maximum %1 0.0
        return %2
        """
    ) == ["dot: dot", "nest: add maximum"]


def test_reductions_over_one_space_share_a_loop() -> None:
    assert shown(
        """
        graph f(x: f64[9,9]) -> (f64[9], f64[9])
        primal
          %0: f64[9,9] = mul %x %x
          %1: f64[9]   = reduce_sum[axes=(0,)] %x
          %2: f64[9]   = reduce_sum[axes=(0,)] %0
        return %1, %2
        """
    ) == ["nest: mul reduce_sum reduce_sum"]


def test_reductions_over_different_axes_do_not() -> None:
    assert shown(
        """
        graph f(x: f64[9,9]) -> (f64[9], f64[9])
        primal
          %0: f64[9] = reduce_sum[axes=(0,)] %x
          %1: f64[9] = reduce_sum[axes=(1,)] %x
        return %0, %1
        """
    ) == ["nest: reduce_sum", "nest: reduce_sum"]


def test_scalar_code_before_and_after_a_sum_joins_it() -> None:
    assert shown(
        """
        graph f(x: f64[99], c: f64[]) -> (f64[])
        primal
          %0: f64[]   = exp %c
          %1: f64[99] = mul %x %0
          %2: f64[]   = reduce_sum[axes=(0,)] %1
          %3: f64[]   = sqrt %2
          %4: f64[]   = div %3 %0
        return %4
        """
    ) == ["nest: exp | mul reduce_sum | sqrt div"]


def test_a_total_of_much_is_not_read_in_the_same_nest() -> None:
    """The loops of a nest over everything would not find it in the cache."""
    text = """
        graph f(x: f64[{n}]) -> (f64[{n}])
        primal
          %0: f64[]    = reduce_sum[axes=(0,)] %x
          %1: f64[{n}] = div %x %0
        return %1
        """
    assert shown(text.format(n=99)) == ["nest: reduce_sum div"]
    assert shown(text.format(n=99_999)) == ["nest: reduce_sum", "nest: div"]


def test_few_elements_are_straight_line_code() -> None:
    assert shown(
        """
        graph f(x: f64[3], m: f64[2,3]) -> (f64[2], f64[5])
        primal
          %0: f64[3] = sin %x
          %1: f64[2] = dot %m %0
          %2: f64[5] = concatenate[axis=0] %0 %1
        return %1, %2
        """
    ) == ["scalar: sin dot concatenate"]


def test_a_slice_of_a_result_is_read_from_memory() -> None:
    made = plan(
        f"""
        graph f(x: f64[10]) -> (f64[9])
        primal
          %0: f64[10] = sin %x
          %1: f64[9]  = slice[{SLICE}] %0
          %2: f64[9]  = exp %1
        return %2
        """
    )
    assert [names(each.nodes) for each in made.clusters] == ["sin", "exp"]
    assert len(made.stored) == 2


def test_a_slice_of_an_input_is_not_copied() -> None:
    assert shown(f"graph f(x: f64[10]) -> (f64[9])\nprimal\n  %0: f64[9] = slice[{SLICE}] %x\n  %1: f64[9] = exp %0\nreturn %1\n") == [
        "nest: exp"
    ]


def test_a_reshape_without_strides_is_a_copy() -> None:
    assert shown(
        """
        graph f(x: f64[3,5]) -> (f64[15])
        primal
          %0: f64[5,3] = transpose[axes=(1, 0)] %x
          %1: f64[15]  = reshape[shape=(15,)] %0
          %2: f64[15]  = exp %1
        return %2
        """
    ) == ["nest: identity", "nest: exp"]


def test_an_update_comes_after_the_readers_of_its_buffer() -> None:
    made = plan(
        f"""
        graph f(e0: f64[10], y: f64[9]) -> (f64[10], f64[10], f64[9])
        primal
          %0: f64[10] = exp %e0
          %1: f64[9]  = slice[{SLICE}] %e0
          %2: f64[9]  = mul %1 %y
          %3: f64[10] = slice_add[{SLICE}] %e0 %y
        return %0, %3, %2
        """
    )
    assert [names(each.nodes) for each in made.clusters] == ["exp", "mul slice_add"]
    assert next(iter(made.updates.values())).name == "e0"  # in place


@pytest.mark.parametrize("late", ["reduce_max[axes=(0,)] %e0", "slice[count=(2,), drop=(), start=(1,), step=(1,)] %e0"])
def test_a_buffer_that_is_read_later_is_copied_first(late: str) -> None:
    aval = "f64[]" if late.startswith("reduce") else "f64[2]"
    made = plan(
        f"""
        graph f(e0: f64[10], y: f64[9]) -> (f64[10], {aval})
        primal
          %0: f64[10] = slice_add[{SLICE}] %e0 %y
          %1: {aval} = {late}
        return %0, %1
        """
    )
    assert names(made.clusters[0].nodes).startswith("identity")
    assert names(made.clusters[1].nodes) == "slice_add"
    assert next(iter(made.updates.values())).op is not None  # the copy


def test_an_argument_is_never_changed() -> None:
    text = f"graph f(x: f64[10], y: f64[9]) -> (f64[10])\nprimal\n  %0: f64[10] = slice_add[{SLICE}] %x %y\nreturn %0\n"
    assert shown(text) == ["nest: identity", "nest: slice_add"]


def test_an_update_waits_for_all_of_its_buffer() -> None:
    """The loop that fills the buffer and the one that changes a region have one space, but not one order."""
    assert shown(
        f"""
        graph f(x: f64[9], y: f64[9]) -> (f64[9])
        primal
          %0: f64[9] = exp %x
          %1: f64[9] = slice_add[{SLICE.replace("(1,), step=(1,)", "(8,), step=(-1,)")}] %0 %y
        return %1
        """
    ) == ["nest: exp", "nest: slice_add"]


def test_an_update_that_reads_its_own_buffer_reads_a_copy() -> None:
    assert shown(
        """
        graph f(e0: f64[30]) -> (f64[30])
        primal
          %0: f64[29] = slice[count=(29,), drop=(), start=(0,), step=(1,)] %e0
          %1: f64[30] = slice_update[count=(29,), drop=(), start=(1,), step=(1,)] %e0 %0
        return %1
        """
    ) == ["nest: identity", "nest: slice_update"]


def test_concatenation_writes_each_part_in_place() -> None:
    made = plan(
        """
        graph f(x: f64[9], y: f64[20]) -> (f64[29])
        primal
          %0: f64[9]  = sin %x
          %1: f64[29] = concatenate[axis=0] %0 %y
        return %1
        """
    )
    assert [names(each.nodes) for each in made.clusters] == ["sin", "identity"]
    assert not made.updates
    (whole,) = made.graph.outputs
    assert {made.views[index].root for index in made.parts} == {whole}
    assert sorted(made.views[index].offset for index in made.parts) == [0, 9]


def test_operations_without_loops_stand_alone() -> None:
    assert shown(
        """
        graph f(x: f64[9], i: i64[20]) -> (f64[9], f64[20], f64[9], c128[], i64[20])
        primal
          %0: f64[9]   = sin %x
          %1: f64[9]   = sort[axis=0] %0
          %2: f64[20]  = gather %0 %i
          %3: f64[9]   = cumsum[axis=0] %0
          %4: c128[9]  = convert[dtype='complex128'] %x
          %5: c128[]   = reduce_max[axes=(0,)] %4
          %6: i64[20]  = left_shift %i %i
        return %1, %2, %3, %5, %6
        """
    ) == ["nest: sin convert", "host: sort", "gather: gather", "cumsum: cumsum", "host: reduce_max", "nest: left_shift"]


def test_half_precision_runs_in_numpy() -> None:
    assert shown(
        """
        graph f(x: f16[9], y: f16[2]) -> (f16[9], f16[9])
        primal
          %0: f16[9] = sin %x
          %1: f16[9] = zeros[dtype='float16', shape=(9,)]
          %2: f16[9] = slice_add[count=(2,), drop=(), start=(1,), step=(1,)] %1 %y
        return %0, %2
        """
    ) == ["host: sin", "host: zeros", "host: slice_add"]


def test_statements_and_pointers_are_capped() -> None:
    count = MAX_STATEMENTS + 60
    chain = "".join(f"  %{k + 1}: f64[] = mul %{k} 1.5\n" for k in range(count))
    sizes = [
        len(each.nodes) for each in plan(f"graph f(x: f64[]) -> (f64[])\nprimal\n  %0: f64[] = sin %x\n{chain}return %{count}\n").clusters
    ]
    assert max(sizes) <= MAX_STATEMENTS
    assert sum(sizes) == count + 1
    inputs = ", ".join(f"x{k}: f64[99]" for k in range(100))
    adds = "".join(f"  %{k}: f64[99] = add %{f'x{k}' if k == 0 else k - 1} %x{k}\n" for k in range(100))
    made = plan(f"graph f({inputs}) -> (f64[99])\nprimal\n{adds}return %99\n")
    assert all(
        len({o for n in each.nodes for o in n.operands if isinstance(o, Node) and o.is_input}) <= MAX_POINTERS for each in made.clusters
    )
    assert len(made.clusters) == 3


def read_and_overwritten(read: str) -> Plan:
    """The plan of a program that reads one region of a vector and overwrites another."""
    return plan(
        f"""
        graph f(e0: f64[99], c: f64[]) -> (f64[9], f64[99])
        primal
          %0: f64[9] = slice[{read}] %e0
          %1: f64[99] = slice_update[{SLICE}] %e0 0.0
          %2: f64[9] = mul %0 %c
        return %2, %1
        """
    )


def test_an_element_is_read_and_overwritten_in_one_nest() -> None:
    """What reads the region behind the update is moved in front of it, and no copy is made."""
    made = read_and_overwritten(SLICE)
    assert [names(each.inside) for each in made.clusters] == ["mul slice_update"]
    assert len(made.updates) == 1


@pytest.mark.parametrize(
    "other",
    [
        "count=(9,), drop=(), start=(2,), step=(1,)",  # an element that is overwritten before it is read
        "count=(9,), drop=(), start=(9,), step=(-1,)",
    ],
)
def test_elements_read_elsewhere_are_read_before(other: str) -> None:
    assert [names(each.inside) for each in read_and_overwritten(other).clusters] == ["mul", "slice_update"]


def test_what_reads_both_versions_keeps_a_copy() -> None:
    made = plan(
        f"""
        graph f(e0: f64[99]) -> (f64[99], f64[99])
        primal
          %0: f64[99] = slice_update[{SLICE}] %e0 0.0
          %1: f64[99] = mul %e0 %0
        return %0, %1
        """
    )
    assert [names(each.inside) for each in made.clusters] == ["identity", "slice_update", "mul"]


def region(row: int, column: int) -> str:
    return f"count=(40, 30), drop=(), start=({row}, {column}), step=(1, 1)"


def test_additions_to_regions_of_a_buffer_are_one_nest() -> None:
    def chain(dtype: str) -> list[str]:
        return shown(
            f"""
            graph f(e0: {dtype}[50,50], x: {dtype}[40,30]) -> ({dtype}[50,50])
            primal
              %0: {dtype}[50,50] = slice_add[{region(0, 1)}] %e0 %x
              %1: {dtype}[50,50] = slice_add[{region(1, 0)}] %0 %x
              %2: {dtype}[50,50] = slice_add[{region(2, 2)}] %1 %x
            return %2
            """
        )

    assert chain("f64") == ["nest: slice_add slice_add slice_add"]
    assert chain("i64") == ["nest: slice_add"] * 3


def test_an_addition_that_is_read_ends_the_nest() -> None:
    assert shown(
        f"""
        graph f(e0: f64[50,50], x: f64[40,30]) -> (f64[50,50], f64[])
        primal
          %0: f64[50,50] = slice_add[{region(0, 1)}] %e0 %x
          %1: f64[] = reduce_sum[axes=(0, 1)] %0
          %2: f64[50,50] = slice_add[{region(1, 0)}] %0 %x
        return %2, %1
        """
    ) == ["nest: slice_add", "nest: reduce_sum", "nest: slice_add"]
