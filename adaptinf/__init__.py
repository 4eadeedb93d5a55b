"""Adapt-∞: keep a vision-language model learning from a stream of instruction datasets.

Public functions live in the modules named after their stage; see `adaptinf.formats`, `models`, `extraction`,
`clustering`, `selection`, `pruning`, `evaluation.metrics` and `pipeline`.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
