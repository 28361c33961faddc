"""What no test may do: read somebody's keys, or spend their money."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dotenv import dotenv_values

import hydra.settings
from hydra.engines.llm.providers import PROVIDERS


@pytest.fixture(autouse=True, scope="session")
def nobodys_keys() -> Iterator[None]:
    """Without the providers' variables, and without the project's own `.env`."""
    own = hydra.settings.project_root() / ".env"
    names = [one.key_variable for one in PROVIDERS.values()]
    names += [one.url_variable for one in PROVIDERS.values()]
    with pytest.MonkeyPatch.context() as patch:
        for name in (*filter(None, names), "HYDRA_GLADIATORS"):
            patch.delenv(name, raising=False)
        patch.setitem(hydra.settings.Settings.model_config, "env_file", None)
        patch.setattr(
            "hydra.settings.dotenv_values",
            lambda path, **more: {} if path == own else dotenv_values(path, **more),
        )
        yield
