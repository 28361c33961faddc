"""The features an engine may ask for, by name and parameters.

A spec says what is wanted; `hydra.features.block` computes it, once for all engines that
ask for the same. Add a feature: one function here, one kernel in `kernels.py`, one line in
the table of `block.py`.
"""

from __future__ import annotations

import msgspec


class Feature(msgspec.Struct, frozen=True):
    """A feature of one stream of bars; equal specs are computed once."""

    kind: str
    params: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(f'{p:g}' for p in self.params)})"
