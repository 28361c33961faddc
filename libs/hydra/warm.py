"""Compiles every kernel once, so that the first season starts at once: `python -m hydra.warm`."""

from __future__ import annotations

import importlib

KERNELS = (
    "hydra.features.kernels",
    "hydra.portfolio.fills",
    "hydra.portfolio.kernels",
    "hydra.portfolio.tickets",
    "hydra.tournament.kernels",
)


def warm() -> None:
    """Import the modules with compiled code: each compiles, or loads what is on disk."""
    for name in KERNELS:
        importlib.import_module(name)


if __name__ == "__main__":
    warm()
