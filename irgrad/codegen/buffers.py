"""Which buffers of a template may be one piece of memory: those that are not in use at the same row.

A buffer is in use from the first row that names it to the last, exported ones to the end. A row never reads and writes one piece
through two buffers, because LLVM would then not vectorise its loops.
"""

from __future__ import annotations

from dataclasses import replace

from irgrad.codegen.lowered import Export, HostRow, Ref, Row


def share_buffers(rows: list[Row | HostRow], buffers: list[int], exports: list[Export]) -> list[int]:
    """Rename the buffers in `rows` and `exports`, in place; returns the sizes in bytes of those that are left."""
    used = [_named(row) for row in rows]
    exported = {export.ref.home[1] for export in exports if export.ref is not None and export.ref.home[0] == "buffer"}
    last = {buffer: number for number, names in enumerate(used) for buffer in names}
    left: list[int] = []
    free: list[int] = []
    place: dict[int, int] = {}

    def take(buffer: int) -> None:
        nbytes = buffers[buffer]
        largest = nbytes if buffer in exported else 2 * nbytes
        fitting = [k for k in free if nbytes <= left[k] <= largest]
        if fitting:
            place[buffer] = min(fitting, key=lambda k: left[k])
            free.remove(place[buffer])
        else:
            place[buffer] = len(left)
            left.append(nbytes)

    for number, names in enumerate(used):
        for buffer in names:
            if buffer not in place:
                take(buffer)
        free += [place[buffer] for buffer in names if last[buffer] == number and buffer not in exported]
    for buffer in sorted(exported - place.keys()):
        take(buffer)
    for row in rows:
        _rename(row, place)
    for export in exports:
        if export.ref is not None:
            export.ref = _renamed(export.ref, place)
    return left


def _named(row: Row | HostRow) -> list[int]:
    """The buffers that a row names."""
    return list(dict.fromkeys(ref.home[1] for ref in row.refs() if isinstance(ref, Ref) and ref.home[0] == "buffer"))


def _rename(row: Row | HostRow, place: dict[int, int]) -> None:
    if isinstance(row, Row):
        row.pointers = [_renamed(ref, place) if isinstance(ref, Ref) else ref for ref in row.pointers]
        if row.streamed is not None:
            homes = {(kind, place[number] if kind == "buffer" else number) for kind, number in row.streamed.homes}
            row.streamed = replace(row.streamed, homes=homes)
        return
    row.operands = [(_renamed(o[0], place), *o[1:]) if isinstance(o, tuple) else o for o in row.operands]
    row.result = (_renamed(row.result[0], place), row.result[1])


def _renamed(ref: Ref, place: dict[int, int]) -> Ref:
    kind, number = ref.home
    return replace(ref, home=(kind, place[number])) if kind == "buffer" else ref
