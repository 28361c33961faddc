"""What no test may do: read somebody's keys, or spend their money."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hydra.engines.llm.providers import PROVIDERS


@pytest.fixture(autouse=True, scope="session")
def nobodys_keys() -> Iterator[None]:
    """Without the providers' variables and without a `.env`, in programs that tests start too."""
    names = [one.key_variable for one in PROVIDERS.values()]
    names += [one.url_variable for one in PROVIDERS.values()]
    with pytest.MonkeyPatch.context() as patch:
        for name in (*filter(None, names), "HYDRA_GLADIATORS"):
            patch.delenv(name, raising=False)
        patch.setenv("HYDRA_ENV_FILE", os.devnull)
        yield
