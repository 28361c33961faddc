"""Providers of models: where each is, what it asks for, and how its own SDK is set up.

One entry of `PROVIDERS` is one provider. Its SDK is imported when a model is built, never by this
module. Every SDK is given its HTTP client and is told to repeat nothing: deadlines, pauses and
repetitions are made in one place, `caller`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from hydra.engines.llm.roster import Gladiator
from hydra.settings import secret, variable

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI
    from pydantic_ai.models import Model


# What can stand in a header, and is never escaped where an error shows it: so it can be found.
_KEY = re.compile(r"[!#-&(-\[\]-~]+")


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider's models are and what they ask for."""

    title: str
    key_variable: str  # the environment variable of its key; "": it asks for none
    url_variable: str  # the environment variable that puts another address in place of `url`
    url: str
    price_id: str  # its name in genai-prices; "": not there
    build: Callable[[str, str, str, httpx2.AsyncClient], Model]  # model, url, key, client


def base_url_of(gladiator: Gladiator) -> str:
    """The address of its provider: its own, else the provider's variable, else the real one.

    Raises KeyError on an unknown provider.
    """
    provider = PROVIDERS[gladiator.provider]
    url = (gladiator.base_url or variable(provider.url_variable) or provider.url).rstrip("/")
    if gladiator.provider == "ollama":
        return url if url.endswith("/v1") else f"{url}/v1"  # its OpenAI-compatible part
    if gladiator.provider in ("anthropic", "google"):  # their SDKs add the version themselves
        return url.removesuffix("/v1").removesuffix("/v1beta")
    return url


def is_own_address(gladiator: Gladiator) -> bool:
    """Whether it plays at another address than the provider's public one."""
    return base_url_of(gladiator) != PROVIDERS[gladiator.provider].url


def key_variable_of(gladiator: Gladiator) -> str:
    """The variable that holds its key; "" where none is sent.

    The key that somebody has for OpenAI is not sent to an address of the gladiator's own.
    """
    if gladiator.key_env:
        return gladiator.key_env
    if gladiator.provider == "openai" and gladiator.base_url:
        return ""
    return PROVIDERS[gladiator.provider].key_variable


FindSecret = Callable[[str], SecretStr | None]  # by the name of its variable


def key_of(gladiator: Gladiator, find: FindSecret = secret) -> SecretStr | None:
    """Its key, by default from the environment or `.env`; None where there is none."""
    name = key_variable_of(gladiator)
    return find(name) if name else None


def why_benched(gladiator: Gladiator, find: FindSecret = secret) -> str:
    """Why it cannot play and what to set; "" where it can."""
    if gladiator.provider not in PROVIDERS:
        return f"unknown provider {gladiator.provider!r}; known: {', '.join(PROVIDERS)}"
    if gladiator.only_with and not variable(gladiator.only_with):
        return f"plays only where {gladiator.only_with} is set in the environment or .env"
    provider, url = PROVIDERS[gladiator.provider], base_url_of(gladiator)
    if not url.startswith(("http://", "https://")) or not urlsplit(url).hostname:
        return f"{provider.url_variable} must be an http:// or https:// address"
    needs_key = bool(gladiator.key_env) or bool(provider.key_variable)
    if gladiator.provider == "openai" and not gladiator.key_env:
        needs_key = not is_own_address(gladiator)
    key, name = key_of(gladiator, find), key_variable_of(gladiator)
    if needs_key and key is None:
        return f"no key: set {name} in the environment or .env"
    if key is not None and not _KEY.fullmatch(key.get_secret_value()):
        return f"no key: what {name} holds has spaces, quotes or other characters that no key has"
    return ""


def _openai_sdk(url: str, key: str, client: httpx2.AsyncClient) -> AsyncOpenAI:
    from openai import AsyncOpenAI

    return AsyncOpenAI(
        # The SDK wants one even for a server that asks for none.
        api_key=key or "no-key", base_url=url, http_client=client, max_retries=0,
        timeout=client.timeout,
    )  # fmt: skip


def _foreign_sdk(url: str, key: str, client: httpx2.AsyncClient) -> AsyncOpenAI:
    """OpenAI's SDK for somebody else, whom OPENAI_ORG_ID and OPENAI_PROJECT_ID do not concern."""
    sdk = _openai_sdk(url, key, client)
    sdk.organization = sdk.project = None
    return sdk


def _openai(model: str, url: str, key: str, client: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.profiles.openai import OpenAIModelProfile
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    if url == PROVIDERS["openai"].url:
        sdk = _openai_sdk(url, key, client)
        return OpenAIChatModel(model, provider=OpenAIProvider(openai_client=sdk))
    # What other servers understand: the old name of the limit, and no promise of strictness.
    plain = OpenAIModelProfile(
        openai_chat_supports_max_completion_tokens=False,
        openai_supports_strict_tool_definition=False,
    )
    sdk = _foreign_sdk(url, key, client)
    provider = OpenAICompatibleProvider("openai-compatible", openai_client=sdk, profile=plain)
    return OpenAIChatModel(model, provider=provider)


def _deepseek(model: str, url: str, key: str, client: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.deepseek import DeepSeekProvider

    sdk = _foreign_sdk(url, key, client)
    return OpenAIChatModel(model, provider=DeepSeekProvider(openai_client=sdk))


def _xai(model: str, url: str, key: str, client: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    # The name makes its usage be read as xAI counts: reasoning beside, not within, completion.
    provider = OpenAICompatibleProvider("xai", openai_client=_foreign_sdk(url, key, client))
    return OpenAIChatModel(model, provider=provider)


def _openrouter(model: str, url: str, key: str, client: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.openrouter import OpenRouterModel
    from pydantic_ai.providers.openrouter import OpenRouterProvider

    sdk = _foreign_sdk(url, key, client)
    return OpenRouterModel(model, provider=OpenRouterProvider(openai_client=sdk))


def _ollama(model: str, url: str, key: str, client: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.ollama import OllamaModel
    from pydantic_ai.providers.ollama import OllamaProvider

    sdk = _foreign_sdk(url, key, client)
    return OllamaModel(model, provider=OllamaProvider(openai_client=sdk))


def _anthropic(model: str, url: str, key: str, client: httpx2.AsyncClient) -> Model:
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    sdk = AsyncAnthropic(
        api_key=key, base_url=url, http_client=client, max_retries=0, timeout=client.timeout
    )
    return AnthropicModel(model, provider=AnthropicProvider(anthropic_client=sdk))


def _google(model: str, url: str, key: str, client: httpx2.AsyncClient) -> Model:
    from google.genai import Client
    from google.genai.types import HttpOptions, HttpRetryOptions
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    options = HttpOptions(
        base_url=url,
        httpx_async_client=client,  # else it takes aiohttp where that is installed
        retry_options=HttpRetryOptions(attempts=1),
    )
    sdk = Client(vertexai=False, api_key=key, http_options=options)
    return GoogleModel(model, provider=GoogleProvider(client=sdk))


PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        "deepseek": Provider(
            "DeepSeek", "DEEPSEEK_API_KEY", "DEEPSEEK_BASE_URL",
            "https://api.deepseek.com", "deepseek", _deepseek,
        ),
        "anthropic": Provider(
            "Anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL",
            "https://api.anthropic.com", "anthropic", _anthropic,
        ),
        "xai": Provider(
            "xAI", "XAI_API_KEY", "XAI_BASE_URL", "https://api.x.ai/v1", "x-ai", _xai,
        ),
        "google": Provider(
            "Google", "GOOGLE_API_KEY", "GOOGLE_BASE_URL",
            "https://generativelanguage.googleapis.com", "google", _google,
        ),
        "openai": Provider(
            "OpenAI", "OPENAI_API_KEY", "OPENAI_BASE_URL",
            "https://api.openai.com/v1", "openai", _openai,
        ),
        "openrouter": Provider(
            "OpenRouter", "OPENROUTER_API_KEY", "OPENROUTER_BASE_URL",
            "https://openrouter.ai/api/v1", "openrouter", _openrouter,
        ),
        "ollama": Provider(
            "Ollama", "", "OLLAMA_BASE_URL", "http://localhost:11434/v1", "", _ollama,
        ),
    }
)  # fmt: skip
