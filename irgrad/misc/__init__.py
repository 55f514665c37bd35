"""Helpers that autograd's users import: `flatten`, optimizers, fixed points."""

from irgrad.misc.flatten import flatten

__all__ = ["flatten"]
