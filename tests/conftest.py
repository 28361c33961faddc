"""What no test may do: read somebody's keys, or spend their money."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hydra.engines.llm.providers import PROVIDERS
from hydra.variables import SETTINGS, Kind

# Told to worker processes, as if somebody looked through a window of that size.
WINDOW = ("COLUMNS", "LINES")


@pytest.fixture(autouse=True, scope="session")
def nobodys_keys() -> Iterator[None]:
    """Without secrets, providers' variables and a `.env`, in programs that tests start too."""
    secrets = [one.name for one in SETTINGS if one.kind is Kind.SECRET]
    names = [*secrets, *(f"{name}_FILE" for name in secrets)]
    names += [one.key_variable for one in PROVIDERS.values()]
    names += [one.url_variable for one in PROVIDERS.values()]
    with pytest.MonkeyPatch.context() as patch:
        for name in (*filter(None, names), "HYDRA_GLADIATORS", *WINDOW):
            patch.delenv(name, raising=False)
        patch.setenv("HYDRA_ENV_FILE", os.devnull)
        yield
