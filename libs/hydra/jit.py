"""How Hydra compiles: one decorator, so that every kernel has the same rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import types

F = TypeVar("F", bound=Callable[..., object])

int64 = types.int64
float64 = types.float64
boolean = types.boolean


def record(dtype: np.dtype[Any]) -> Any:
    """The compiled type of one element of a structured array (fields are attributes)."""
    return numba.from_dtype(dtype)


def records(dtype: np.dtype[Any], dimensions: int = 1) -> Any:
    """The compiled type of a C-ordered structured array."""
    return types.Array(numba.from_dtype(dtype), dimensions, "C")


def kernel(signature: Any) -> Callable[[F], F]:
    """Compile for one signature, keep the machine code on disk, divide as numpy does.

    The signature is said because numba otherwise compiles a function again for every
    combination of literals that it is called with. Pass records, not rows of arrays: a row
    is a reference-counted view, which costs more than what is done with it.
    """

    def compiled(function: F) -> F:
        return cast(F, numba.njit(signature, cache=True, error_model="numpy")(function))

    return compiled
