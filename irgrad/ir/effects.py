"""What one run of a program has drawn: random numbers are the one effect that programs have.

A draw changes its generator, so it is done once for each time that the program says so, in program order, and never again: where
compiled code meets a new path, the trace that takes over gets the numbers that were drawn already from the log, and draws on.
"""

from __future__ import annotations

from typing import Any, Protocol


class Effect(Protocol):
    """A draw as the log sees it: equal draws of one run are told apart by their order."""

    @property
    def stream(self) -> Any:
        """What is drawn from: equal for draws that follow each other."""

    def perform(self, effects: Effects, operands: tuple[Any, ...]) -> Any:
        """Do it."""


class Effects:
    """The draws of one run in order. `generators` holds those that the run makes, by their number."""

    __slots__ = ("generators", "log", "position", "restarted")

    def __init__(self) -> None:
        self.log: list[tuple[Effect, Any]] = []
        self.position = 0
        self.generators: dict[int, Any] = {}
        self.restarted: set[Any] = set()  # streams that begin anew in each run: repeated, not looked up

    def draw(self, effect: Effect, operands: tuple[Any, ...]) -> Any:
        """The numbers that the interrupted run drew here, or new ones."""
        if self.restarted and effect.stream in self.restarted:
            return effect.perform(self, operands)
        if self.position < len(self.log):
            known, value = self.log[self.position]
            if known == effect:
                self.position += 1
                return value
            del self.log[self.position :]  # a comparison went another way by rounding: what follows is drawn
        value = effect.perform(self, operands)
        self.log.append((effect, value))
        self.position += 1
        return value

    def restart(self, effect: Effect, operands: tuple[Any, ...]) -> Any:
        """Seed a generator: what was drawn from it since, in an interrupted run, is drawn again."""
        stream = effect.stream
        self.restarted.add(stream)
        self.log[self.position :] = [entry for entry in self.log[self.position :] if entry[0].stream != stream]
        return effect.perform(self, operands)

    def repeated(self) -> Effects:
        """These draws for the run that takes over."""
        made = Effects()
        made.log = self.log
        return made
