"""How Hydra compiles: one decorator, so that every kernel has the same rules.

Machine code is kept on disk. numba notices a change in a kernel's own file only, not in the
kernels of other files that it calls; so the code is kept in a folder named by a digest of all
sources with kernels, and a change in any of them compiles all anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import types

F = TypeVar("F", bound=Callable[..., object])

int64 = types.int64
float64 = types.float64
boolean = types.boolean

_PACKAGE = Path(__file__).parent
_PREFIX = "hydra-kernels-"
SOURCES = (
    "jit.py",
    "features/kernels.py",
    "portfolio/columns.py",
    "portfolio/fills.py",
    "portfolio/kernels.py",
    "portfolio/tickets.py",
    "tournament/kernels.py",
)


def _keep_machine_code() -> None:
    """Point numba at the folder of these very sources, and drop those of older ones."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((_PACKAGE / name).read_bytes())
    given = os.environ.get("NUMBA_CACHE_DIR")
    root = Path(given) if given else _PACKAGE / "__pycache__"
    folder = root / f"{_PREFIX}{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a read-only installation: numba finds a folder of the user's
    config: Any = numba.config
    config.CACHE_DIR = str(folder)
    for old in root.glob(f"{_PREFIX}*"):
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)


_keep_machine_code()


def record(dtype: np.dtype[Any]) -> Any:
    """The compiled type of one element of a structured array (fields are attributes)."""
    return numba.from_dtype(dtype)


def records(dtype: np.dtype[Any], dimensions: int = 1) -> Any:
    """The compiled type of a C-ordered structured array."""
    return types.Array(numba.from_dtype(dtype), dimensions, "C")


def kernel(signature: Any, *, nogil: bool = False) -> Callable[[F], F]:
    """Compile for one signature, keep the machine code on disk, divide as numpy does.

    The signature is said because numba otherwise compiles a function again for every
    combination of literals that it is called with. Pass records, not rows of arrays: a row
    is a reference-counted view, which costs more than what is done with it. `nogil`: other
    threads may run meanwhile.
    """

    def compiled(function: F) -> F:
        make = numba.njit(signature, cache=True, error_model="numpy", nogil=nogil)
        return cast(F, make(function))

    return compiled
