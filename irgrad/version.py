"""The version, for packaging and the key of the kernel store."""

__version__ = "0.1.0"
