"""The system prompts that ship: files of `prompts/`, named by their version."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib import resources

from hydra.errors import ConfigError
from hydra.tournament.season import PromptRow

_SUFFIX = ".md"


def versions() -> tuple[str, ...]:
    """Of the prompts there are, in alphabetical order."""
    names = (
        file.name for file in resources.files("hydra.engines.llm").joinpath("prompts").iterdir()
    )
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


@cache
def prompt(version: str) -> PromptRow:
    """The prompt of that version, its bytes' SHA-256 with it.

    Raises ConfigError, naming the versions there are.
    """
    if version not in versions():
        raise ConfigError(f"no prompt {version!r}; there are: {', '.join(versions())}")
    file = resources.files("hydra.engines.llm").joinpath("prompts", f"{version}{_SUFFIX}")
    content = file.read_bytes()
    return PromptRow(
        sha256=sha256(content).hexdigest(), version=version, text=content.decode("utf-8")
    )
