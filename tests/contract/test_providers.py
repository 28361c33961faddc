"""One contract for all providers: from a question to a reply, through their real SDKs.

The server at the other end is ours and misbehaves on command; no test leaves this machine.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest

from hydra.clock import NS_PER_S, ManualClock, to_ns
from hydra.engines.llm.caller import Breaker, LiveModels, Patience
from hydra.engines.llm.calls import Message, Outcome, Question, Reply, Usage
from hydra.engines.llm.line import Line, http_client
from hydra.engines.llm.providers import PROVIDERS, base_url_of, key_of, why_benched
from hydra.engines.llm.roster import Gladiator
from hydra.settings import secret, variable
from tests.support.llm_server import Heard, LoopbackModels, Say

MODELS = {
    "anthropic": "claude-sonnet-5-5", "google": "gemini-3.8-flash", "openai": "gpt-5.2",
    "deepseek": "deepseek-v4-pro", "xai": "grok-4.7", "openrouter": "deepseek/deepseek-v4-pro",
    "ollama": "qwen3:8b",
}  # fmt: skip
WIRES = ("anthropic", "google", "openai", "openrouter")  # those whose SDK or adapter differs
PLAIN_S, STREAMED_S = 20.0, 300.0  # deadlines below and above which an answer is streamed
NOON_NS = to_ns(datetime(2026, 11, 26, 12, tzinfo=UTC))  # a Thursday, no peak hour of DeepSeek's
QUICK = Patience(first_pause_s=0.001, longest_pause_s=0.002)
ONCE = Patience(tries=1)
SCHEMA = {
    "type": "object",
    "description": "What to do now.",
    "properties": {
        "decisions": {
            "type": "array",
            "maxItems": 10,
            "items": {
                "type": "object",
                "properties": {
                    "symbol": {"type": "string", "pattern": "^[A-Z]+$"},
                    "side": {"type": "string", "enum": ["buy", "sell"]},
                    "stop": {"type": ["number", "null"], "minimum": 0},
                    "note": {"type": "string", "maxLength": 200},
                },
                "required": ["symbol", "side"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["decisions"],
    "additionalProperties": False,
}
DECISION = {"decisions": [{"symbol": "EURUSD", "side": "buy", "stop": 1.0825, "note": "é €"}]}


def key_for(provider: str) -> str:
    return f"canary-{provider}-4f1c9a"


@pytest.fixture(scope="module")
def running() -> Iterator[LoopbackModels]:
    with LoopbackModels(lambda _: Say.empty()) as server:
        yield server


@pytest.fixture
def server(running: LoopbackModels) -> LoopbackModels:
    running.heard.clear()
    running.most_at_once = 0
    running.brain = lambda _: Say.decisions(DECISION)
    return running


@pytest.fixture(autouse=True)
def _only_this_machine(server: LoopbackModels, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no address of the developer's: not of the environment, nor of `.env`."""
    monkeypatch.setenv("HYDRA_ENV_FILE", os.devnull)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, provider in PROVIDERS.items():
        monkeypatch.setenv(provider.url_variable, server.url(name))
        if provider.key_variable:
            monkeypatch.setenv(provider.key_variable, key_for(name))


def a_gladiator(provider: str = "anthropic", **settings: Any) -> Gladiator:
    if provider in ("openai", "ollama"):  # at an address of their own nobody knows the price
        settings = {"usd_per_mtok_in": Decimal(2), "usd_per_mtok_out": Decimal(8)} | settings
    return Gladiator(
        **{"name": provider, "provider": provider, "model": MODELS[provider]} | settings
    )


def a_question(one: Gladiator, **what: Any) -> Question:
    usual: dict[str, Any] = {
        "engine": one.name, "at_ns": 0, "attempt": 1, "provider": one.provider,
        "model": one.model, "prompt_version": "v1", "system": "You trade.",
        "messages": (Message("user", "EURUSD 1.0850"),), "schema": SCHEMA,
        "max_output_tokens": 1_000,
    }  # fmt: skip
    return Question(**usual | what)


def live(*gladiators: Gladiator, patience: Patience = QUICK, **how: Any) -> LiveModels:
    named = {name: one for one in gladiators for name in one.names()}
    return LiveModels(
        named, clock=how.pop("clock", ManualClock(NOON_NS)), jitter=Random(1), patience=patience,
        **how,
    )  # fmt: skip


async def ask(
    provider: str, *, patience: Patience = ONCE, deadline_s: float = PLAIN_S, **what: Any
) -> Reply:
    one = a_gladiator(provider)
    async with live(one, patience=patience) as models:
        return await models.ask(a_question(one, **what), deadline_s=deadline_s)


def says(*answers: Say) -> Callable[[Heard], Say]:
    """One after the other; the last one from then on."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


# ── what is asked, and what is answered ───────────────────────────────────────────────────────


@pytest.mark.parametrize("deadline_s", [PLAIN_S, STREAMED_S], ids=["plain", "streamed"])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_question_arrives_whole_and_the_answer_comes_back_unchanged(
    server: LoopbackModels, provider: str, deadline_s: float
) -> None:
    turns = (Message("user", "one"), Message("assistant", "two"), Message("user", "three"))
    reply = await ask(provider, deadline_s=deadline_s, messages=turns)

    [heard] = server.heard
    assert heard.provider == provider
    assert heard.model == MODELS[provider]
    assert heard.system == "You trade."
    assert [text for _, text in heard.messages] == ["one", "two", "three"]
    assert heard.schema == SCHEMA
    assert heard.max_tokens == 1_000
    assert heard.is_streamed == (deadline_s == STREAMED_S)
    assert heard.key == (key_for(provider) if provider != "ollama" else "no-key")

    assert reply.outcome is Outcome.ANSWERED
    assert json.loads(reply.text) == DECISION
    assert reply.error == ""
    assert reply.model == MODELS[provider]
    assert reply.finish == {"anthropic": "tool_use", "google": "STOP"}.get(provider, "tool_calls")
    assert reply.usage == Usage(input_tokens=1_000, output_tokens=50, cached_tokens=200)
    assert reply.tries == 1
    assert reply.called_ns == NOON_NS
    assert 0 < reply.latency_ns < PLAIN_S * NS_PER_S


class ToLoopback(httpx2.AsyncBaseTransport):
    """Lets no request leave this machine, wherever it is to go."""

    def __init__(self, server: LoopbackModels, provider: str) -> None:
        self.urls: list[str] = []
        self._server = server
        self._provider = provider
        self._inner = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.urls.append(str(request.url))
        path = f"/{self._provider}{request.url.path}"
        request.url = request.url.copy_with(
            scheme="http", host="127.0.0.1", port=self._server.port, path=path
        )
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("anthropic", "https://api.anthropic.com/v1/messages"),
        (
            "google",
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-3.8-flash"
            ":generateContent",
        ),
        ("openai", "https://api.openai.com/v1/chat/completions"),
        ("deepseek", "https://api.deepseek.com/chat/completions"),
        ("xai", "https://api.x.ai/v1/chat/completions"),
        ("openrouter", "https://openrouter.ai/api/v1/chat/completions"),
        ("ollama", "http://localhost:11434/v1/chat/completions"),
    ],
)
async def test_by_default_the_question_goes_to_the_providers_real_address(
    server: LoopbackModels, monkeypatch: pytest.MonkeyPatch, provider: str, url: str
) -> None:
    monkeypatch.delenv(PROVIDERS[provider].url_variable)
    wire = ToLoopback(server, provider)
    monkeypatch.setattr("hydra.engines.llm.caller.http_client", lambda: http_client(wire))

    reply = await ask(provider)

    assert [sent.partition("?")[0] for sent in wire.urls] == [url]
    assert (reply.outcome, json.loads(reply.text)) == (Outcome.ANSWERED, DECISION)
    assert server.heard[0].schema == SCHEMA


@pytest.mark.parametrize(
    ("provider", "cost_units"),
    [  # (800 × input + 200 × cached + 50 × output) USD per million, in 1e-8 USD
        ("anthropic", 800 * 200 + 200 * 10 + 50 * 1_000),  # 2, 0.1, 10
        ("google", 800 * 75 + 1_500 + 50 * 375),  # 0.75, 0.075, 3.75 until the end of 2026
        ("deepseek", 800 * 66 + 440 + 50 * 198),  # 0.66, 0.022, 1.98 off its peak hours
        ("xai", 800 * 200 + 200 * 50 + 50 * 600),  # 2, 0.5, 6
        ("openai", 1_000 * 200 + 50 * 800),  # the gladiator's own figures know no cached rate
    ],
)
async def test_a_reply_costs_what_its_tokens_cost(provider: str, cost_units: int) -> None:
    assert (await ask(provider)).cost_units == cost_units


@pytest.mark.parametrize("deadline_s", [PLAIN_S, STREAMED_S], ids=["plain", "streamed"])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_answer_in_prose_comes_back_as_it_is(
    server: LoopbackModels, provider: str, deadline_s: float
) -> None:
    text = 'Here is my decision:\n\n```json\n{"decisions": []}\n```\nGood luck — viel Glück.'
    server.brain = says(Say.plain(text).with_thoughts("hm, should I?"))

    reply = await ask(provider, deadline_s=deadline_s)

    assert (reply.outcome, reply.text) == (Outcome.ANSWERED, text)


@pytest.mark.parametrize("provider", WIRES)
async def test_calls_of_the_tool_come_back_one_in_a_line(
    server: LoopbackModels, provider: str
) -> None:
    server.brain = says(Say.decisions({"decisions": []}, DECISION))

    lines = (await ask(provider)).text.splitlines()

    assert [json.loads(line) for line in lines] == [{"decisions": []}, DECISION]


@pytest.mark.parametrize("provider", ["openai", "google", "ollama"])
async def test_temperature_and_seed_are_sent_where_they_are_set(
    server: LoopbackModels, provider: str
) -> None:
    await ask(provider)
    await ask(provider, temperature=0.25, seed=7)

    plain, set_ = (heard.body.get("generationConfig", heard.body) for heard in server.heard)
    assert "seed" not in plain
    assert "temperature" not in plain
    assert set_["seed"] == 7
    if provider != "openai":  # gpt-5.2 reasons, and takes no temperature
        assert set_["temperature"] == 0.25


async def test_a_model_under_another_name_is_reported_as_the_provider_names_it(
    server: LoopbackModels,
) -> None:
    server.brain = says(Say.decisions(DECISION).by("some-other-model"))

    reply = await ask("deepseek")

    assert (reply.outcome, reply.model) == (Outcome.ANSWERED, "some-other-model")


async def test_reasoning_is_paid_for_however_it_is_counted(server: LoopbackModels) -> None:
    server.brain = says(Say.decisions(DECISION).with_usage(1_000, 90, reasoning=40))

    for provider in ("xai", "google", "openai"):
        usage = (await ask(provider)).usage
        assert usage is not None
        assert usage.output_tokens == 90, provider


async def test_what_is_written_to_the_cache_costs_its_own_rate(server: LoopbackModels) -> None:
    usage = {
        "input_tokens": 100, "output_tokens": 10, "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 900,
    }  # fmt: skip
    body = {
        "id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5",
        "content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn", "usage": usage,
    }  # fmt: skip
    raw = json.dumps(body).encode()
    server.brain = says(Say.recorded(200, raw, content_type="application/json"))

    reply = await ask("anthropic")

    assert reply.usage == Usage(input_tokens=1_000, output_tokens=10)
    assert reply.cost_units == 100 * 200 + 900 * 250 + 10 * 1_000  # 2, 2.5 and 10 USD a million


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────

HALF = '{"decisions": [{"symbol": "EURU'
FAULTS = {
    "401": (Say.status(401, "bad key"), Outcome.UNAUTHORISED, "see "),
    "403": (Say.status(403, "not yours"), Outcome.UNAUTHORISED, "not yours"),
    "404": (Say.status(404, "no such model"), Outcome.REJECTED, "does not know the model"),
    "400": (Say.status(400, "what is this"), Outcome.REJECTED, "what is this"),
    "422": (Say.status(422, "odd schema"), Outcome.REJECTED, "odd schema"),
    "429": (Say.status(429, "slow down"), Outcome.RATE_LIMITED, "slow down"),
    "500": (Say.status(500, "oops"), Outcome.OVERLOADED, "oops"),
    "503": (Say.status(503, "back soon"), Outcome.OVERLOADED, "back soon"),
    "529": (Say.status(529, "busy"), Outcome.OVERLOADED, "busy"),
    "301": (Say.status(301, location="http://x.test/"), Outcome.REJECTED, "points elsewhere"),
    "cut": (Say.cut(), Outcome.UNREACHABLE, "broke in the middle"),
    "invalid JSON": (Say.invalid_json(), Outcome.GARBLED, "could not be read"),
    "wrong encoding": (Say.wrong_encoding(), Outcome.GARBLED, "not UTF-8"),
    "too large": (Say.huge(8_100_000), Outcome.GARBLED, "more than 8,000,000 bytes"),
    "refusal": (Say.refusal(), Outcome.DECLINED, "declined"),
    "empty": (Say.empty(), Outcome.EMPTY, "said nothing"),
    "only thoughts": (Say.empty().with_thoughts("hm"), Outcome.EMPTY, "said nothing"),
    "no room": (Say.empty().cut_short(), Outcome.CUT_SHORT, "raise max_output_tokens"),
    "half a call": (Say.decisions(HALF).cut_short(), Outcome.CUT_SHORT, "raise max_output_tokens"),
}


@pytest.mark.parametrize("deadline_s", [PLAIN_S, STREAMED_S], ids=["plain", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("provider", WIRES)
async def test_every_misbehaviour_has_its_outcome_and_says_what_happened(
    server: LoopbackModels, provider: str, fault: str, deadline_s: float
) -> None:
    say, outcome, words = FAULTS[fault]
    server.brain = says(say)

    reply = await ask(provider, deadline_s=deadline_s)

    assert (reply.outcome, reply.tries) == (outcome, 1)
    assert words in reply.error
    if fault.isdigit():
        assert fault in reply.error
        assert reply.cost_units == 0  # a refusal by HTTP status is not billed
    elif outcome in (Outcome.GARBLED, Outcome.UNREACHABLE):
        assert (reply.usage, reply.cost_units) == (None, None)


@pytest.mark.parametrize("deadline_s", [PLAIN_S, STREAMED_S], ids=["plain", "streamed"])
@pytest.mark.parametrize("provider", WIRES)
async def test_an_answer_without_usage_has_an_unknown_cost_never_none(
    server: LoopbackModels, provider: str, deadline_s: float
) -> None:
    server.brain = says(Say.decisions(DECISION).without_usage())

    reply = await ask(provider, deadline_s=deadline_s)

    # Anthropic's usage is a required field: its SDK cannot read a message without.
    outcome = Outcome.GARBLED if provider == "anthropic" else Outcome.ANSWERED
    assert (reply.outcome, reply.usage, reply.cost_units) == (outcome, None, None)


async def test_a_whole_call_at_the_limit_of_tokens_is_an_answer(server: LoopbackModels) -> None:
    server.brain = says(Say.decisions(DECISION).cut_short())

    reply = await ask("openai")

    assert (reply.outcome, reply.finish) == (Outcome.ANSWERED, "length")


async def test_a_stream_that_ends_too_soon_is_no_answer(server: LoopbackModels) -> None:
    chunk = {
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5.2",
        "choices": [{"index": 0, "delta": {"content": "I buy"}, "finish_reason": None}],
    }  # fmt: skip
    raw = f"data: {json.dumps(chunk)}\n\n".encode()
    server.brain = says(Say.recorded(200, raw, content_type="text/event-stream"))

    reply = await ask("openai", deadline_s=STREAMED_S)

    assert (reply.outcome, reply.text, reply.cost_units) == (Outcome.UNREACHABLE, "I buy", None)


@pytest.mark.parametrize(
    ("provider", "deadline_s", "kind", "body"),
    [
        (
            "openrouter", PLAIN_S, "application/json",
            '{"id": "g", "error": {"code": 502, "message": "upstream is down"}}',
        ),
        (
            "anthropic", STREAMED_S, "text/event-stream",
            'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error",'
            ' "message": "upstream is down"}}\n\n',
        ),
        (
            "openai", STREAMED_S, "text/event-stream",
            'data: {"error": {"code": "server_error", "message": "upstream is down"}}\n\n',
        ),
        (
            "google", STREAMED_S, "text/event-stream",
            'data: {"error": {"code": 503, "message": "upstream is down",'
            ' "status": "UNAVAILABLE"}}\n\n',
        ),
    ],
    ids=["openrouter", "anthropic", "openai", "google"],
)  # fmt: skip
async def test_an_error_inside_an_answer_counts_like_one_before_it(
    server: LoopbackModels, provider: str, deadline_s: float, kind: str, body: str
) -> None:
    server.brain = says(Say.recorded(200, body.encode(), content_type=kind))

    reply = await ask(provider, deadline_s=deadline_s)

    assert reply.outcome is Outcome.OVERLOADED
    assert "upstream is down" in reply.error
    assert reply.cost_units is None


async def test_google_says_with_a_400_that_a_key_is_wrong(
    server: LoopbackModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.brain = says(Say.status(400, "API key not valid. Please pass a valid API key."))

    assert (await ask("google")).outcome is Outcome.UNAUTHORISED


async def test_an_unknown_model_of_ollama_says_how_to_get_it(server: LoopbackModels) -> None:
    server.brain = says(Say.status(404, "model 'qwen3:8b' not found"))

    reply = await ask("ollama")

    assert reply.error == (
        "Ollama does not know the model qwen3:8b (404): `ollama pull qwen3:8b`, or set another"
        " model; model 'qwen3:8b' not found"
    )


async def test_a_long_message_of_a_provider_is_shortened(server: LoopbackModels) -> None:
    server.brain = says(Say.status(400, "no\n" * 5_000))

    assert len((await ask("openai")).error) < 400


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_where_nobody_listens_is_unreachable_and_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    monkeypatch.setenv(PROVIDERS[provider].url_variable, "http://user:pass@127.0.0.1:9")

    reply = await ask(provider, patience=QUICK)

    assert (reply.outcome, reply.tries, reply.cost_units) == (Outcome.UNREACHABLE, 3, 0)
    assert "no answer from http://127.0.0.1:9" in reply.error
    assert "pass" not in reply.error


async def test_a_redirect_is_not_followed(server: LoopbackModels) -> None:
    with LoopbackModels(says(Say.decisions(DECISION))) as elsewhere:
        server.brain = says(Say.status(307, location=f"{elsewhere.url('openai')}/chat/completions"))

        reply = await ask("openai")

    assert reply.outcome is Outcome.REJECTED
    assert elsewhere.heard == []


@pytest.mark.parametrize(
    ("size", "outcome"), [(1_000, Outcome.ANSWERED), (60_000_000, Outcome.GARBLED)]
)
async def test_a_packed_answer_cannot_fill_the_memory(
    server: LoopbackModels, size: int, outcome: Outcome
) -> None:
    message = {"role": "assistant", "content": "x" * size}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    body = {
        "id": "c", "object": "chat.completion", "created": 1, "model": "gpt-5.2",
        "choices": [choice], "usage": usage,
    }  # fmt: skip
    # Level 1 packs 60 MB of one letter into some 260 kB.
    raw = gzip.compress(json.dumps(body).encode(), compresslevel=1)
    server.brain = says(
        Say.recorded(200, raw, content_type="application/json", content_encoding="gzip")
    )

    reply = await ask("openai")

    assert reply.outcome is outcome
    assert server.heard[0].headers["accept-encoding"] == "identity"


# ── patience ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("provider", WIRES)
async def test_what_may_pass_is_asked_again(server: LoopbackModels, provider: str) -> None:
    server.brain = says(Say.status(503), Say.cut(), Say.decisions(DECISION))

    reply = await ask(provider, patience=QUICK)

    assert (reply.outcome, reply.tries, len(server.heard)) == (Outcome.ANSWERED, 3, 3)
    assert reply.cost_units is None  # what broke off may have been billed


async def test_refused_tries_add_nothing_to_the_cost(server: LoopbackModels) -> None:
    server.brain = says(Say.status(529), Say.status(429), Say.decisions(DECISION))

    reply = await ask("anthropic", patience=QUICK)

    assert (reply.tries, reply.cost_units) == (3, 212_000)


@pytest.mark.parametrize(
    "fault", ["400", "401", "403", "404", "422", "301", "invalid JSON", "refusal", "empty"]
)
async def test_what_will_not_pass_is_asked_once(server: LoopbackModels, fault: str) -> None:
    server.brain = says(FAULTS[fault][0])

    reply = await ask("anthropic", patience=QUICK)

    assert (reply.outcome, reply.tries) == (FAULTS[fault][1], 1)


async def test_after_the_last_try_the_last_outcome_stands(server: LoopbackModels) -> None:
    server.brain = says(Say.status(500), Say.status(500), Say.status(429, "enough"))

    reply = await ask("google", patience=QUICK)

    assert (reply.outcome, reply.tries) == (Outcome.RATE_LIMITED, 3)


@pytest.mark.parametrize("provider", WIRES)
async def test_the_pause_is_the_one_that_the_provider_asks_for(
    server: LoopbackModels, provider: str
) -> None:
    server.brain = says(Say.status(429, retry_after_ms="60"), Say.decisions(DECISION))

    reply = await ask(provider, patience=QUICK)

    assert (reply.outcome, reply.tries) == (Outcome.ANSWERED, 2)
    assert reply.latency_ns >= 0.06 * NS_PER_S  # QUICK alone would have waited 1 ms


def http_date(seconds_ahead: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds_ahead), usegmt=True)


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_pause_beyond_the_deadline_is_not_begun(
    server: LoopbackModels, provider: str, form: str
) -> None:
    retry_after = "3600" if form == "seconds" else http_date(3_600)
    server.brain = says(Say.status(429, retry_after=retry_after))

    reply = await ask(provider, patience=QUICK)

    assert (reply.outcome, reply.tries) == (Outcome.RATE_LIMITED, 1)
    assert reply.latency_ns < 10 * NS_PER_S


async def test_a_date_that_has_passed_asks_for_no_pause(server: LoopbackModels) -> None:
    server.brain = says(Say.status(429, retry_after=http_date(-5)), Say.decisions(DECISION))

    assert (await ask("openai", patience=Patience(first_pause_s=600))).tries == 2


async def test_google_asks_for_a_pause_in_its_body(server: LoopbackModels) -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3600s"}
    error = {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [detail]}
    raw = json.dumps({"error": error}).encode()
    server.brain = says(Say.recorded(429, raw, content_type="application/json"))

    reply = await ask("google", patience=QUICK)

    assert (reply.outcome, reply.tries) == (Outcome.RATE_LIMITED, 1)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("provider", WIRES)
async def test_the_deadline_holds_through_every_sdk(
    server: LoopbackModels, monkeypatch: pytest.MonkeyPatch, provider: str, is_streamed: bool
) -> None:
    never = threading.Event()
    server.brain = says(Say.once(never, Say.decisions(DECISION)))
    if is_streamed:
        monkeypatch.setattr("hydra.engines.llm.caller.STREAM_ABOVE_S", 0.0)
    one = a_gladiator(provider)
    async with live(one) as models:
        started = time.monotonic()
        reply = await models.ask(a_question(one), deadline_s=0.15)

    never.set()
    assert reply.outcome is Outcome.LATE
    assert 0.14 < time.monotonic() - started < 1.0
    assert (reply.tries, reply.usage, reply.cost_units) == (1, None, None)
    assert reply.error == "no answer within 0.15 s"


async def test_a_pause_of_our_own_beyond_the_deadline_is_not_begun_either(
    server: LoopbackModels,
) -> None:
    server.brain = says(Say.status(503, "down"))

    reply = await ask("openai", patience=Patience(first_pause_s=100, longest_pause_s=100))

    assert (reply.outcome, reply.tries) == (Outcome.OVERLOADED, 1)
    assert reply.latency_ns < PLAIN_S / 2 * NS_PER_S


def test_pauses_double_up_to_a_limit_and_a_random_half_is_taken_off() -> None:
    patience = Patience(first_pause_s=1, longest_pause_s=5)
    assert [patience.longest_s(tries) for tries in (1, 2, 3, 4, 1_000)] == [1, 2, 4, 5, 5]

    rng = Random(3)
    pauses_s = [patience.pause_s(2, rng) for _ in range(1_000)]

    assert 1 <= min(pauses_s) < 1.02
    assert 1.98 < max(pauses_s) <= 2
    again = Random(3)
    assert [patience.pause_s(2, again) for _ in range(1_000)] == pauses_s


async def test_what_is_cancelled_from_outside_is_cancelled(server: LoopbackModels) -> None:
    never = threading.Event()
    server.brain = says(Say.once(never, Say.decisions(DECISION)))
    one = a_gladiator("openai")
    async with live(one) as models:
        asking = asyncio.create_task(models.ask(a_question(one), deadline_s=PLAIN_S))
        while not server.heard:
            await asyncio.sleep(0.002)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        never.set()

        assert models.budget.spent_today_units("openai") > 0  # it may have been billed
        server.brain = says(Say.decisions(DECISION))
        assert (await models.ask(a_question(one), deadline_s=PLAIN_S)).outcome is Outcome.ANSWERED


# ── turns ─────────────────────────────────────────────────────────────────────────────────────


async def gather(models: LiveModels, questions: Sequence[Question]) -> list[Reply]:
    return await asyncio.gather(*(models.ask(one, deadline_s=PLAIN_S) for one in questions))


async def test_two_hundred_questions_are_answered_at_once(server: LoopbackModels) -> None:
    everybody = threading.Event()

    def brain(heard: Heard) -> Say:
        if len(server.heard) == 200:
            everybody.set()
        return Say.once(everybody, Say.decisions(DECISION))

    server.brain = brain
    one = a_gladiator("openai", calls_at_once=200, calls_per_minute=10_000, daily_budget_usd=100)
    async with live(one) as models:
        replies = await gather(models, [a_question(one)] * 200)

    assert {reply.outcome for reply in replies} == {Outcome.ANSWERED}
    assert server.most_at_once == 200


async def test_no_more_calls_run_at_once_than_the_least_of_a_providers_gladiators_allows(
    server: LoopbackModels,
) -> None:
    server.brain = says(Say.slow(0.01, Say.decisions(DECISION)))
    pair = [a_gladiator("openai", name=name, calls_at_once=n) for name, n in (("a", 3), ("b", 50))]
    async with live(*pair) as models:
        replies = await gather(models, [a_question(one) for one in pair for _ in range(10)])

    assert {reply.outcome for reply in replies} == {Outcome.ANSWERED}
    assert server.most_at_once == 3


async def test_who_gets_no_turn_is_limited_by_us_and_not_late(server: LoopbackModels) -> None:
    one = a_gladiator("openai", calls_per_minute=1)
    async with live(one) as models:
        first = await models.ask(a_question(one), deadline_s=PLAIN_S)
        second = await models.ask(a_question(one), deadline_s=0.05)

    assert first.outcome is Outcome.ANSWERED
    assert (second.outcome, second.tries, second.cost_units) == (Outcome.RATE_LIMITED, 0, 0)
    assert "calls_per_minute" in second.error
    assert len(server.heard) == 1


async def test_a_slow_provider_delays_nobody_elses(server: LoopbackModels) -> None:
    never = threading.Event()

    def brain(heard: Heard) -> Say:
        say = Say.decisions(DECISION)
        return Say.once(never, say) if heard.provider == "anthropic" else say

    server.brain = brain
    slow, quick = a_gladiator("anthropic", calls_at_once=1), a_gladiator("openai")
    async with live(slow, quick) as models:
        waiting = [
            asyncio.create_task(models.ask(a_question(slow), deadline_s=PLAIN_S)) for _ in range(5)
        ]
        while not server.heard:
            await asyncio.sleep(0.002)
        replies = await gather(models, [a_question(quick)] * 5)
        assert not any(task.done() for task in waiting)
        never.set()
        late = await asyncio.gather(*waiting)

    assert {reply.outcome for reply in (*replies, *late)} == {Outcome.ANSWERED}


async def test_loading_an_sdk_holds_up_nobody(
    server: LoopbackModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    others_ran = threading.Event()
    waited, load = list[bool](), Line.open

    def slow(line: Line, model: str) -> None:
        waited.append(others_ran.wait(5))
        load(line, model)

    monkeypatch.setattr(Line, "open", slow)
    one = a_gladiator("openai")
    models = live(one)
    asking = asyncio.create_task(models.ask(a_question(one), deadline_s=PLAIN_S))
    await asyncio.sleep(0.01)
    others_ran.set()
    reply = await asking
    await models.aclose()

    assert waited[0]
    assert reply.outcome is Outcome.ANSWERED


async def test_who_opens_beforehand_spends_no_deadline_on_loading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded, load = list[str](), Line.open

    def counting(line: Line, model: str) -> None:
        if not line.is_open(model):
            loaded.append(model)
        load(line, model)

    monkeypatch.setattr(Line, "open", counting)
    pair = a_gladiator("openai"), a_gladiator("anthropic", replicas=2)
    async with live(*pair) as models:
        assert loaded == ["gpt-5.2", "claude-sonnet-5-5"]
        await gather(models, [a_question(pair[0]), a_question(pair[1], engine="anthropic#2")])

    assert len(loaded) == 2


# ── the breaker ───────────────────────────────────────────────────────────────────────────────


def test_a_breaker_opens_after_faults_in_a_row_and_lets_one_try() -> None:
    breaker = Breaker(most_faults=2, leave_alone_ns=100)
    for now_ns, is_fault in ((0, True), (1, False), (2, True)):
        assert breaker.admit(now_ns)
        breaker.note(is_fault, now_ns)
    assert breaker.admit(3)
    breaker.note(True, 3)  # the second in a row

    assert breaker.is_open(4)
    assert not breaker.admit(102)
    assert breaker.admit(103)  # 100 ns later one may try,
    assert not breaker.admit(104)  # and nobody beside it;
    breaker.note(True, 105)
    assert not breaker.admit(204)  # its fault closes the door for another 100 ns
    assert breaker.admit(205)
    breaker.forget()  # it was cancelled: another may try
    assert breaker.admit(206)
    breaker.note(False, 207)
    assert breaker.admit(208)
    assert breaker.admit(208)


@pytest.mark.parametrize("say", [Say.status(500), Say.cut()], ids=["500", "cut"])
async def test_a_provider_that_fails_is_left_alone_and_asked_again_later(
    server: LoopbackModels, say: Say
) -> None:
    server.brain = says(say)
    wary = Patience(tries=1, most_faults=3, leave_alone_s=0.1)
    one, other = a_gladiator("anthropic"), a_gladiator("openai")
    async with live(one, other, patience=wary) as models:
        for _ in range(3):
            await models.ask(a_question(one), deadline_s=PLAIN_S)
        server.brain = says(Say.decisions(DECISION))
        asked = len(server.heard)

        refused = await models.ask(a_question(one), deadline_s=PLAIN_S)
        assert (refused.outcome, refused.tries, refused.cost_units) == (Outcome.BREAKER_OPEN, 0, 0)
        assert len(server.heard) == asked
        elsewhere = await models.ask(a_question(other), deadline_s=PLAIN_S)
        assert elsewhere.outcome is Outcome.ANSWERED

        await asyncio.sleep(0.11)
        assert (await models.ask(a_question(one), deadline_s=PLAIN_S)).outcome is Outcome.ANSWERED


async def test_who_waits_while_the_breaker_opens_is_not_asked_and_pays_nothing(
    server: LoopbackModels,
) -> None:
    server.brain = says(Say.slow(0.02, Say.status(500)))
    one = a_gladiator("anthropic", calls_at_once=1)
    async with live(one, patience=Patience(tries=1, most_faults=1)) as models:
        replies = await gather(models, [a_question(one)] * 3)

        assert models.budget.spent_today_units("anthropic") == 0
    assert sorted(reply.outcome for reply in replies) == [
        Outcome.BREAKER_OPEN, Outcome.BREAKER_OPEN, Outcome.OVERLOADED,
    ]  # fmt: skip


async def test_late_answers_are_the_providers_fault_and_refused_questions_are_not(
    server: LoopbackModels,
) -> None:
    wary = Patience(tries=1, most_faults=2)
    one = a_gladiator("openai")
    async with live(one, patience=wary) as models:
        for code in (400, 401, 404, 429) * 2:
            server.brain = says(Say.status(code))
            await models.ask(a_question(one), deadline_s=PLAIN_S)
        never = threading.Event()
        server.brain = says(Say.once(never, Say.empty()))
        late = [await models.ask(a_question(one), deadline_s=0.05) for _ in range(2)]
        after = await models.ask(a_question(one), deadline_s=0.05)
        never.set()

    assert [reply.outcome for reply in (*late, after)] == [
        Outcome.LATE, Outcome.LATE, Outcome.BREAKER_OPEN,
    ]  # fmt: skip


async def test_a_breaker_that_opens_in_between_ends_the_repetitions(server: LoopbackModels) -> None:
    server.brain = says(Say.status(500, "down"))
    wary = Patience(tries=10, first_pause_s=0.001, most_faults=4)

    reply = await ask("openai", patience=wary)

    assert (reply.outcome, reply.tries) == (Outcome.OVERLOADED, 4)


# ── money ─────────────────────────────────────────────────────────────────────────────────────


async def test_who_has_spent_the_day_is_not_asked(server: LoopbackModels) -> None:
    one = a_gladiator("anthropic", daily_budget_usd=Decimal("0.50"))
    async with live(one, spent_units={"anthropic": 49_000_000}) as models:
        reply = await models.ask(a_question(one), deadline_s=PLAIN_S)

    assert (reply.outcome, reply.tries, reply.cost_units) == (Outcome.OVER_BUDGET, 0, 0)
    assert "0.50 USD" in reply.error
    assert server.heard == []


async def test_who_has_no_price_is_not_asked(server: LoopbackModels) -> None:
    one = a_gladiator("deepseek", model="of-our-own")
    async with live(one) as models:
        reply = await models.ask(a_question(one), deadline_s=PLAIN_S)

    assert (reply.outcome, reply.tries) == (Outcome.UNPRICED, 0)
    assert "usd_per_mtok_in" in reply.error
    assert server.heard == []


async def test_replicas_share_a_budget_and_pay_what_they_cost(server: LoopbackModels) -> None:
    one = a_gladiator("anthropic", replicas=3)
    async with live(one) as models:
        questions = [a_question(one, engine=name) for name in one.names()]
        await gather(models, questions)

        assert models.budget.spent_today_units("anthropic") == 3 * 212_000


async def test_an_unknown_cost_stays_booked_as_the_most_it_can_be(server: LoopbackModels) -> None:
    server.brain = says(Say.cut())
    one = a_gladiator("anthropic")
    async with live(one, patience=ONCE) as models:
        await models.ask(a_question(one), deadline_s=PLAIN_S)
        assert models.budget.spent_today_units("anthropic") >= 1_000 * 1_000  # its output alone

        before = models.budget.spent_today_units("anthropic")
        server.brain = says(Say.status(500))
        await models.ask(a_question(one), deadline_s=PLAIN_S)
        assert models.budget.spent_today_units("anthropic") == before  # refused: nothing to pay


# ── settings and keys ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "ollama"])
async def test_without_its_key_a_gladiator_sits_on_the_bench(
    server: LoopbackModels, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    variable_name = PROVIDERS[provider].key_variable
    monkeypatch.delenv(variable_name)
    if provider == "openai":
        monkeypatch.delenv("OPENAI_BASE_URL")  # an address of one's own may need no key
    one = a_gladiator(provider)

    assert why_benched(one) == f"no key: set {variable_name} in the environment or .env"
    async with live(one) as models:
        reply = await models.ask(a_question(one), deadline_s=PLAIN_S)
    assert (reply.outcome, reply.tries, reply.error) == (
        Outcome.UNAUTHORISED, 0, why_benched(one),
    )  # fmt: skip
    assert server.heard == []


def test_a_gladiator_says_why_it_cannot_play(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_benched(a_gladiator("anthropic")) == ""
    assert why_benched(a_gladiator("ollama", only_with="OLLAMA_BASE_URL")) == ""
    assert "unknown provider 'acme'" in why_benched(Gladiator(name="a", provider="acme", model="m"))
    assert why_benched(a_gladiator("xai", key_env="MY_KEY")).startswith("no key: set MY_KEY")
    monkeypatch.setenv("OLLAMA_BASE_URL", "localhost:11434")
    assert why_benched(a_gladiator("ollama")) == (
        "OLLAMA_BASE_URL must be an http:// or https:// address"
    )
    monkeypatch.delenv("OLLAMA_BASE_URL")
    assert why_benched(a_gladiator("ollama")) == ""
    assert why_benched(a_gladiator("ollama", only_with="OLLAMA_BASE_URL")) == (
        "plays only where OLLAMA_BASE_URL is set in the environment or .env"
    )


@pytest.mark.parametrize(
    "key", ["two words", "sk-\x01-control", "schlüssel", '"quoted"', "back\\slash"]
)
def test_what_cannot_be_a_key_is_not_sent(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("XAI_API_KEY", key)

    why = why_benched(a_gladiator("xai"))

    assert why.startswith("no key: what XAI_API_KEY holds")
    assert key not in why


async def test_a_name_that_the_sdk_refuses_is_rejected_in_words(server: LoopbackModels) -> None:
    one = a_gladiator("openrouter", model="gpt-5.2", usd_per_mtok_in=1, usd_per_mtok_out=1)
    async with live(one) as models:
        reply = await models.ask(a_question(one), deadline_s=PLAIN_S)

    assert (reply.outcome, reply.tries, reply.cost_units) == (Outcome.REJECTED, 0, 0)
    assert "must be prefixed with the upstream provider" in reply.error


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_ollamas_address_is_known_in_both_its_forms(
    monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setenv("OLLAMA_BASE_URL", f"http://localhost:11434{ending}")

    assert base_url_of(a_gladiator("ollama")) == "http://localhost:11434/v1"


def test_an_address_is_the_gladiators_own_else_the_variables_else_the_real_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEEPSEEK_BASE_URL", "http://proxy.test/")
    own = a_gladiator("deepseek", base_url="https://mine.test/api")
    assert base_url_of(own) == "https://mine.test/api"
    assert base_url_of(a_gladiator("deepseek")) == "http://proxy.test"
    monkeypatch.delenv("DEEPSEEK_BASE_URL")
    assert base_url_of(a_gladiator("deepseek")) == "https://api.deepseek.com"


async def test_an_openai_key_is_not_sent_to_a_gladiators_own_address(
    server: LoopbackModels,
) -> None:
    one = a_gladiator("openai", base_url=server.url("openai"))
    async with live(one) as models:
        await models.ask(a_question(one), deadline_s=PLAIN_S)

    assert key_of(one) is None
    assert server.heard[0].key == "no-key"
    assert "max_tokens" in server.heard[0].body  # the older name, which all servers know


async def test_what_is_set_for_openai_is_not_told_to_others(
    server: LoopbackModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-ours")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-ours")

    for provider in ("deepseek", "xai", "openrouter", "ollama"):
        await ask(provider)

    assert not [heard for heard in server.heard if "ours" in str(heard.headers)]


def test_keys_come_from_the_environment_else_from_the_projects_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("XAI_API_KEY='from the file'\nOLLAMA_BASE_URL=http://a.test\n")
    monkeypatch.setenv("HYDRA_ENV_FILE", str(tmp_path / ".env"))

    assert variable("XAI_API_KEY") == key_for("xai")
    monkeypatch.setenv("XAI_API_KEY", "")  # empty counts as absent
    key = secret("XAI_API_KEY")
    assert key is not None
    assert key.get_secret_value() == "from the file"
    assert "file" not in repr(key)
    assert secret("NOT_THERE") is None


async def test_a_question_to_nobody_or_for_another_model_is_not_asked(
    server: LoopbackModels,
) -> None:
    one = a_gladiator("openai")
    async with live(one) as models:
        nobody = await models.ask(a_question(one, engine="nobody"), deadline_s=PLAIN_S)
        other = await models.ask(a_question(one, model="gpt-4"), deadline_s=PLAIN_S)

    assert (nobody.outcome, other.outcome) == (Outcome.REJECTED, Outcome.REJECTED)
    assert "not openai/gpt-4" in other.error
    assert server.heard == []


async def test_a_fault_of_our_own_is_a_reply_too_and_shows_no_key(
    server: LoopbackModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> int:
        raise RuntimeError(f"never thought of {key_for('openai')}")

    monkeypatch.setattr("hydra.engines.llm.caller.most_units", broken)

    reply = await ask("openai")

    assert reply.outcome is Outcome.GARBLED
    assert reply.error == "unforeseen: RuntimeError('never thought of [key]')"


async def test_after_closing_a_question_fails_and_nothing_is_raised() -> None:
    one = a_gladiator("openai")
    models = live(one)
    await models.aclose()

    reply = await models.ask(a_question(one), deadline_s=PLAIN_S)

    assert reply.outcome in (Outcome.REJECTED, Outcome.UNREACHABLE)


@pytest.mark.parametrize("deadline_s", [PLAIN_S, STREAMED_S], ids=["plain", "streamed"])
@pytest.mark.parametrize("provider", WIRES)
async def test_a_key_appears_nowhere_even_where_the_server_echoes_it(
    server: LoopbackModels, caplog: pytest.LogCaptureFixture, provider: str, deadline_s: float
) -> None:
    caplog.set_level(logging.DEBUG)
    key = key_for(provider)
    said = {"role": "assistant", "content": {"a form that no SDK knows": key * 3}}
    choice = {"index": 0, "finish_reason": "stop", "message": said, "delta": said}
    base = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "provider": "p"}
    odd = json.dumps(base | {"choices": [choice], "candidates": [said], "content": key})
    one = a_gladiator(provider)
    echoes = [
        Say.status(code, f"your key {key} is bad") for code in (400, 401, 404, 429, 500)
    ] + [
        Say.status(400, "." * (290 - length) + key) for length in (0, 5, 10)  # cut by the limit
    ] + [
        Say.plain(f"the key is {key}"), Say.decisions({"note": key}),
        Say.refusal(f"not with {key}"), Say.plain("x").by(f"model-{key}"),
        Say.cut(), Say.invalid_json(), Say.wrong_encoding(),
        Say.recorded(200, f'{{"{key}": '.encode(), content_type="application/json"),
        Say.recorded(200, odd.encode(), content_type="application/json"),
        Say.recorded(502, f"<html>{key}</html>".encode(), content_type="text/html"),
    ]  # fmt: skip
    replies = []
    async with live(one, patience=ONCE) as models:
        for say in echoes:
            server.brain = says(say)
            replies.append(await models.ask(a_question(one), deadline_s=deadline_s))
        shown = repr((models, vars(models), replies))

    assert len(server.heard) == len(echoes)
    assert all(heard.key == key for heard in server.heard)
    assert key not in shown
    assert key[:12] not in shown
    assert "[key]" in shown
    logged = "".join(
        f"{record.getMessage()} {vars(record)} {record.exc_info}" for record in caplog.records
    )
    assert key not in logged
