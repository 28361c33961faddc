"""Recorded replies of the real providers, heard again through the real SDKs.

Each recorded HTTP body is served as it is; what the reply says must be what a plain reading of
that body says. The recordings are those of pydantic-ai's and logfire's own tests.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import yaml

from hydra.clock import ManualClock
from hydra.engines.llm.caller import LiveModels, Patience
from hydra.engines.llm.calls import Message, Outcome, Question, Reply
from hydra.engines.llm.roster import Gladiator
from tests.support.llm_server import LoopbackModels, Say
from tests.support.shared_data import shared_data, shared_files

Json = dict[str, Any]
# Anthropic's SDK says so of the models of older recordings.
pytestmark = pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning")
CASSETTES = shared_files("llm_cassettes", "*/*.yaml")
# Whose replies are recorded, by host; the others speak OpenAI's language at addresses of their own.
PROVIDERS = {
    "api.anthropic.com": "anthropic",
    "api.openai.com": "openai",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google",
    "api.deepseek.com": "deepseek",
    "openrouter.ai": "openrouter",
}


class Recorded(NamedTuple):
    """One recorded call of a chat model."""

    provider: str
    model: str
    status: int
    body: bytes
    is_streamed: bool


class Expected(NamedTuple):
    """What a plain reading of a body says."""

    texts: list[str]
    calls: list[Any]  # arguments, decoded
    finish: str
    tokens: tuple[int, int, int] | None  # input with cached, output, cached
    model: str


@pytest.fixture(autouse=True)
def _no_real_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@cache
def recorded(path: str) -> tuple[list[Recorded], Counter[str]]:
    """The chat calls of a cassette, and what else is in it, by reason to leave it out."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    cassette = yaml.load(shared_data(path).read_bytes(), Loader=loader)
    calls, left_out = [], Counter[str]()
    for one in cassette["interactions"]:
        if "request" not in one:
            left_out["a gRPC exchange: xAI is reached by its OpenAI-compatible HTTP"] += 1
            continue
        call = _call(one["request"], one["response"])
        if isinstance(call, str):
            left_out[call] += 1
        else:
            calls.append(call)
    return calls, left_out


def _call(request: Json, response: Json) -> Recorded | str:
    url = urlsplit(request["uri"])
    provider = PROVIDERS.get(url.netloc, "openai")
    if url.path.endswith(("/chat/completions", "/v1/messages")):
        provider = "openai" if provider == "google" else provider
        model = (request.get("parsed_body") or json.loads(request["body"]))["model"]
    elif url.path.endswith((":generateContent", ":streamGenerateContent")):
        model = url.path.rpartition("/")[2].partition(":")[0]
    else:
        return f"not a call of a chat model: {request['method']} {url.path}"
    kind = "".join(
        "".join(values) for name, values in response["headers"].items()
        if name.lower() == "content-type"
    )  # fmt: skip
    body = _bytes(response)
    return Recorded(provider, model, response["status"]["code"], body, "event-stream" in kind)


def _bytes(response: Json) -> bytes:
    if "parsed_body" in response:
        return json.dumps(response["parsed_body"], ensure_ascii=False).encode()
    body = response["body"]["string"]
    body = body.encode() if isinstance(body, str) else body
    return zlib.decompress(body, zlib.MAX_WBITS | 16) if body[:2] == b"\x1f\x8b" else body


# ── plain readings ────────────────────────────────────────────────────────────────────────────


def _events(call: Recorded) -> Iterator[Json]:
    """The body, or the data of its server-sent events."""
    if not call.is_streamed:
        yield json.loads(call.body)
        return
    for line in call.body.decode().splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def read_openai(call: Recorded) -> Expected:
    texts, arguments, finish, tokens, model = [], dict[int, str](), "", None, ""
    for event in _events(call):
        model = model or event.get("model", "")
        for choice in event.get("choices", [])[:1]:
            said = choice.get("delta") or choice.get("message") or {}
            content = said.get("content") or ""
            if isinstance(content, list):
                content = "".join(part.get("text", "") for part in content)
            texts.append(content)
            for i, tool in enumerate(said.get("tool_calls") or ()):
                place = tool.get("index", i)
                part = tool["function"].get("arguments") or ""
                arguments[place] = arguments.get(place, "") + part
            # OpenRouter passes on how the model's own provider says it.
            finish = choice.get("native_finish_reason") or choice.get("finish_reason") or finish
        if usage := event.get("usage"):
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            tokens = usage["prompt_tokens"], usage["completion_tokens"], cached
    calls = [json.loads(text) for text in arguments.values() if text]
    # Models of one's own machine think aloud in the text; thoughts are no part of the answer.
    text = re.sub(r"<think>.*?</think>", "", "".join(texts), flags=re.DOTALL)
    return Expected([text], calls, finish, tokens, model)


def read_anthropic(call: Recorded) -> Expected:
    texts, calls, partial = list[str](), list[Any](), ""
    finish, usage, model = "", Json(), ""
    for event in _events(call):
        if event["type"] == "message_delta":
            finish = event["delta"]["stop_reason"] or finish
            usage |= {key: n for key, n in event["usage"].items() if n is not None}
            continue
        message = event.get("message", event)
        if message["type"] == "message":
            usage, model = dict(message["usage"]), message["model"]
            finish = message["stop_reason"] or finish
        opened = [event["content_block"]] if "content_block" in event else []
        for block in opened or message.get("content", []):
            if block["type"] == "text":
                texts.append(block["text"])
            elif block["type"] == "tool_use" and not call.is_streamed:
                calls.append(block["input"])
        delta = event.get("delta", {})
        texts.append(delta.get("text", ""))
        partial += delta.get("partial_json", "")
    cached = usage.get("cache_read_input_tokens") or 0
    total = usage["input_tokens"] + cached + (usage.get("cache_creation_input_tokens") or 0)
    if finish == "tool_use" and partial:
        calls = [json.loads(partial)]
    return Expected(texts, calls, finish, (total, usage["output_tokens"], cached), model)


def read_google(call: Recorded) -> Expected:
    texts, calls, finish, tokens, model = list[str](), list[Any](), "", None, ""
    for event in _events(call):
        model = event["modelVersion"]
        for candidate in event.get("candidates", [])[:1]:
            finish = candidate.get("finishReason", finish)
            for part in candidate.get("content", {}).get("parts", []):
                if "functionCall" in part:
                    calls.append(part["functionCall"]["args"])
                elif not part.get("thought"):
                    texts.append(part.get("text", ""))
        usage = event["usageMetadata"]
        tokens = (
            usage["promptTokenCount"] + usage.get("toolUsePromptTokenCount", 0),
            usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0),
            usage.get("cachedContentTokenCount", 0),
        )
    return Expected(texts, calls, finish, tokens, model)


READERS = {"anthropic": read_anthropic, "google": read_google}


# ── the tests ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackModels]:
    with LoopbackModels(lambda _: Say.empty()) as running:
        yield running


async def ask_again(
    call: Recorded, server: LoopbackModels, monkeypatch: pytest.MonkeyPatch
) -> Reply:
    one = Gladiator(
        name="them", provider=call.provider, model=call.model,
        usd_per_mtok_in=Decimal(1), usd_per_mtok_out=Decimal(1),
    )  # fmt: skip
    question = Question(
        engine="them", at_ns=0, attempt=1, provider=call.provider, model=call.model,
        prompt_version="v1", system="s", messages=(Message("user", "q"),),
        schema={"type": "object", "properties": {}}, max_output_tokens=1_000,
    )  # fmt: skip
    kind = "text/event-stream" if call.is_streamed else "application/json"

    server.brain = lambda _: Say.recorded(call.status, call.body, content_type=kind)
    monkeypatch.setenv(f"{call.provider.upper()}_BASE_URL", server.url(call.provider))
    monkeypatch.setenv(f"{call.provider.upper()}_API_KEY", "no-real-key")
    gladiators, once = {"them": one}, Patience(tries=1)
    async with LiveModels(gladiators, clock=ManualClock(), patience=once) as live:
        return await live.ask(question, deadline_s=300.0 if call.is_streamed else 20.0)


@pytest.mark.parametrize("path", CASSETTES)
async def test_a_recorded_reply_says_what_its_body_says(
    path: str, server: LoopbackModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, left_out = recorded(path)
    if not calls:
        pytest.skip("; ".join(left_out))
    for call in calls:
        reply = await ask_again(call, server, monkeypatch)

        if call.status >= 400:
            refused = {429: Outcome.RATE_LIMITED, 400: Outcome.REJECTED, 404: Outcome.REJECTED}
            assert reply.outcome is refused[call.status]
            assert str(call.status) in reply.error
            continue
        said = READERS.get(call.provider, read_openai)(call)
        if said.calls:
            decoder, rest, heard = json.JSONDecoder(), reply.text, []
            while rest:
                one, end = decoder.raw_decode(rest)
                heard.append(one)
                rest = rest[end:].lstrip("\n")
            assert heard == said.calls
        else:
            assert reply.text == "".join(said.texts)
        assert reply.outcome is (Outcome.ANSWERED if reply.text.strip() else Outcome.EMPTY)
        assert reply.finish == said.finish
        assert reply.model == said.model
        usage = reply.usage
        counted = usage and (usage.input_tokens, usage.output_tokens, usage.cached_tokens)
        assert counted == said.tokens
        assert reply.cost_units == (said.tokens and (said.tokens[0] + said.tokens[1]) * 100)


def test_no_chat_call_of_the_cassettes_is_left_out() -> None:
    shared_data("llm_cassettes")
    heard, left_out = Counter[str](), Counter[str]()
    for path in CASSETTES:
        calls, others = recorded(path)
        heard.update(call.provider for call in calls)
        left_out.update(others)

    assert heard == {"anthropic": 34, "deepseek": 5, "google": 26, "openai": 42, "openrouter": 14}
    assert not [why for why in left_out if "completions" in why and "/v1/completions" not in why]
    assert sum(n for why, n in left_out.items() if "gRPC" in why) == 13
    assert heard.total() + left_out.total() == 189
