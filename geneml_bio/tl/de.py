"""The old place of what is in ``join`` now."""

from .join import add_de, unique_names

__all__ = ["add_de", "unique_names"]
