"""Random plain-numpy programs that write in place: elements, slices, index arrays, views of views, in loops and branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

N = 10  # beyond what lives in scalar variables


class Writer:
    """The source of one program over `x` (N) and `m` (4, 5), and the function that it is.

    A `shared` one writes into these arguments, which have elements in common, and takes a number `w` besides.
    """

    def __init__(self, seed: int, shared: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.shared = shared
        self.lines = ["a = np.full(N, w)", "b = m", "c = x"] if shared else ["a = np.zeros(N)", "b = m * 1.0", "c = np.array(x)"]
        self.vectors = ["a", "c"]  # of N
        self.has_parts = self.rng.random() < 0.5
        if self.has_parts:
            self.lines.append("z = x * (0.5 + 1j)")
            self.vectors += ["z.real", "z.imag"]
        self.count = 0
        for _ in range(int(self.rng.integers(3, 9))):
            self.statement("")
        ends = [f"np.sum(np.sin({v}) * {v})" for v in dict.fromkeys([*self.vectors, "b"])]
        self.lines.append(f"return {' + '.join(ends)}")

    def pick(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def vector(self) -> str:
        return str(self.pick(self.vectors))

    def scalar(self, i: str = "") -> str:
        """An expression of one number."""
        places = [str(int(self.rng.integers(-N, N)))]
        if i:
            places += [i, f"{i} - 1", f"-{i}"]
        v = self.vector()
        forms = [f"{v}[{self.pick(places)}]", f"np.sin({v}[{self.pick(places)}])", f"x[{self.pick(places)}] * {v}[{self.pick(places)}]"]
        forms += [f"b[{int(self.rng.integers(4))}, {int(self.rng.integers(5))}]", f"{v}[{self.pick(places)}] * 0.5 + 0.25"]
        return str(self.pick(forms))

    def spread(self, n: int) -> str:
        """An expression of n numbers in a row."""
        at = int(self.rng.integers(0, N - n + 1))
        v = self.vector()
        forms = [f"{v}[{at}:{at + n}]", f"np.cos({v}[{at}:{at + n}])", f"x[{at}:{at + n}] * {v}[{at}:{at + n}]", self.scalar()]
        if n <= 5:
            row = int(self.rng.integers(4))
            forms += [f"b[{row}, :{n}]", f"b[{row}, {5 - n}:] * 0.5"]
        if n == N:
            forms += [f"{v}[::-1]", f"np.sin({v})"]
        return str(self.pick(forms))

    def statement(self, indent: str, i: str = "") -> None:
        kinds = ["element", "slice", "augmented", "matrix", "fancy", "view", "snapshot", "strided"]
        if self.has_parts:
            kinds += ["complex", "complex"]
        if not indent:
            kinds += ["loop", "loop", "branch", "out"]
        getattr(self, f"make_{self.pick(kinds)}")(indent, i)

    def say(self, indent: str, line: str) -> None:
        self.lines.append(indent + line)

    def make_element(self, indent: str, i: str) -> None:
        place = i if i and self.rng.random() < 0.7 else int(self.rng.integers(-N, N))
        self.say(indent, f"{self.vector()}[{place}] {self.pick(['=', '=', '+=', '*='])} {self.scalar(i)}")

    def make_slice(self, indent: str, i: str) -> None:
        n = int(self.rng.integers(2, N + 1))
        at = int(self.rng.integers(0, N - n + 1))
        value = f"({self.spread(n)}) * 1.0" if self.shared else self.spread(n)  # as in make_strided
        self.say(indent, f"{self.vector()}[{at}:{at + n}] {self.pick(['=', '+=', '-='])} {value}")

    def make_strided(self, indent: str, i: str) -> None:
        # times 1: numpy 2.4 itself is wrong where it assigns overlapping parts of one vector by different strides, a[1::2] = a[3:8]
        self.say(indent, f"{self.vector()}[{self.pick(['::2', '1::2', '::-2'])}] = ({self.spread(5)}) * 1.0")

    def make_augmented(self, indent: str, i: str) -> None:
        value = self.pick(["0.5", self.scalar(i), "np.sin(x)", self.spread(N)])
        self.say(indent, f"{self.vector()} {self.pick(['+=', '*=', '-='])} {value}")

    def make_matrix(self, indent: str, i: str) -> None:
        row, column = int(self.rng.integers(4)), int(self.rng.integers(5))
        target = self.pick([f"b[{row}, {column}]", f"b[{row}]", f"b[:, {column}]", "b[1:3, 1:4]", f"b.T[{column}]", f"b[{row}][1:4]"])
        value = self.pick([self.scalar(i), f"b[{int(self.rng.integers(4))}, {int(self.rng.integers(5))}] * 0.5"])
        self.say(indent, f"{target} {self.pick(['=', '+=', '*='])} {value}")

    def make_fancy(self, indent: str, i: str) -> None:
        index = [int(k) for k in self.rng.integers(-N, N, 3)]
        target, value = self.vector(), self.spread(3)
        self.say(indent, self.pick([f"{target}[{index}] = {value}", f"np.add.at({target}, {index}, {value})"]))

    def make_view(self, indent: str, i: str) -> None:
        v = self.vector()
        self.count += 1
        name = f"v{self.count}"
        self.say(indent, f"{name} = {self.pick([f'{v}[2:8]', f'{v}[::-1][1:7]', f'{v}.reshape(2, 5)[1]', f'{v}[1::2]'])}")
        self.say(indent, f"{self.vector()}[{int(self.rng.integers(N))}] = {name}[1] * 1.5")
        self.say(indent, f"{name}[{int(self.rng.integers(5))}] = {self.scalar(i)}")
        self.say(indent, f"{self.vector()}[0] += np.sum({name}) * 0.1")

    def make_complex(self, indent: str, i: str) -> None:
        at, n = int(self.rng.integers(N)), int(self.rng.integers(1, N + 1))
        values = [f"z[{int(self.rng.integers(N))}] * 0.5j", f"{self.scalar(i)} - 1j", "z.conj()[0]"]
        part = self.pick(["real", "imag"])
        places = [f"z[{at}] = {self.pick(values)}", f"z[:{n}] *= 0.6 - 0.4j", f"z.{part} = {self.spread(N)}"]
        places += [f"z.reshape(2, 5).T.{part}[{at % 5}] += {self.scalar(i)}", f"z[::-1].{part}[:{n}] = {self.spread(n)}"]
        places += [f"z.{part}.reshape(5, 2)[{at % 5}] = {self.spread(2)}", f"z.{part}[{at}:] *= 0.5"]
        self.say(indent, str(self.pick(places)))

    def make_snapshot(self, indent: str, i: str) -> None:
        if indent:
            self.make_element(indent, i)
            return
        self.count += 1
        name = f"s{self.count}"
        self.say(indent, f"{name} = {self.vector()}.copy()")
        self.vectors.append(name)

    def make_out(self, indent: str, i: str) -> None:
        self.say(indent, f"np.{self.pick(['multiply', 'add'])}({self.vector()}, {self.pick(['x', '0.5'])}, out={self.vector()})")

    def make_loop(self, indent: str, i: str) -> None:
        start, stop = self.pick([(1, N), (2, 7), (0, 4)])
        self.say(indent, f"for i in range({start}, {stop}):")
        for _ in range(int(self.rng.integers(1, 4))):
            self.statement("    ", "i")

    def make_branch(self, indent: str, i: str) -> None:
        self.say(indent, f"if {self.scalar()} > 0.2:")
        self.statement("    ")
        self.say(indent, "else:")
        self.statement("    ")

    def source(self) -> str:
        return f"def program(x, m{', w' if self.shared else ''}):\n" + "".join(f"    {line}\n" for line in self.lines)

    def function(self) -> Callable[..., Any]:
        names: dict[str, Any] = {"np": np, "N": N}
        exec(compile(self.source(), "<program>", "exec"), names)
        return names["program"]  # type: ignore[no-any-return]

    def overlapping(self) -> Callable[[], tuple[Any, Any]]:
        """Makes arguments that share memory, equal ones each time."""
        own, at = self.rng.normal(size=60) * 0.7, int(self.rng.integers(0, 20))
        step = int(self.rng.choice([1, 2, -1, 3]))
        turned = self.rng.random() < 0.3

        def make() -> tuple[Any, Any]:
            memory = own.copy()
            x = (
                memory[at : at + 3 * N : 3][:N]
                if step == 3
                else memory[at + N :: -1][:N]
                if step < 0
                else memory[at : at + step * N : step]
            )
            m = memory[10:30]
            return x, m.reshape(5, 4).T if turned else m.reshape(4, 5)

        return make

    def arguments(self) -> tuple[Any, Any]:
        return self.rng.normal(size=N) * 0.7, self.rng.normal(size=(4, 5)) * 0.7
