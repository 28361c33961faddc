"""A server on this machine that speaks the providers' languages and misbehaves on command.

    def brain(heard: Heard) -> Say:
        return Say.decisions({"decisions": []})

    with LoopbackModels(brain) as server:
        ...server.url("anthropic")...

It speaks Anthropic's messages, OpenAI's chat completions (which DeepSeek, xAI, OpenRouter and
Ollama speak too) and Gemini's generateContent, each plain and streamed, checks what the real
servers check, and keeps all it hears in `heard`. Formats: platform.claude.com/docs/en/api,
platform.openai.com/docs/api-reference/chat, ai.google.dev/api/generate-content.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Literal, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

Json = dict[str, Any]
Wire = Literal["anthropic", "openai", "google"]
# What follows the server's own address, as the providers' real addresses have it.
_PATHS = {
    "anthropic": "", "google": "", "deepseek": "", "openai": "/v1", "xai": "/v1",
    "openrouter": "/api/v1", "ollama": "/v1",
}  # fmt: skip
_GEMINI = re.compile(r"/models/([^/:]+):(generateContent|streamGenerateContent)$")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True)
class Heard:
    """One request as the server understood it."""

    provider: str  # whose address it came to
    wire: Wire
    model: str
    system: str
    messages: tuple[tuple[str, str], ...]  # role and text
    schema: Json | None  # of the first tool
    max_tokens: int | None
    is_streamed: bool
    key: str
    headers: Mapping[str, str]
    body: Json
    raw: bytes


@dataclass(frozen=True)
class Say:
    """What the server answers. Made by the methods, changed by `with_…` and `without_…`."""

    text: str = ""
    calls: tuple[Json | str, ...] = ()  # arguments of tool calls; a str is sent as it is
    thoughts: str = ""
    refused: bool = False
    finish: str = ""  # "": as fits
    model: str = ""  # "": the one that was asked
    usage: tuple[int, int, int] | None = (1_000, 50, 200)  # input with cached, output, cached
    reasoning_tokens: int = 0
    answer_status: int = 200
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Literal["", "cut", "invalid-json", "wrong-encoding"] = ""
    wait_s: float = 0.0
    event: threading.Event | None = None
    body: bytes | None = None  # sent as it is, in place of all the above

    @classmethod
    def decisions(cls, *arguments: Json | str) -> Say:
        """One call of the tool for each."""
        return cls(calls=arguments)

    @classmethod
    def plain(cls, text: str) -> Say:
        return cls(text=text)

    @classmethod
    def empty(cls) -> Say:
        return cls(usage=(1_000, 1, 0))

    @classmethod
    def huge(cls, size: int) -> Say:
        """A text of so many bytes."""
        return cls(text="x" * size)

    @classmethod
    def refusal(cls, why: str = "I cannot help with that") -> Say:
        """Declined in the provider's own way: stop_reason, message.refusal, a blocked prompt."""
        return cls(text=why, refused=True)

    @classmethod
    def status(cls, code: int, message: str = "", **headers: str) -> Say:
        """An error: `Say.status(429, retry_after="2")`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(answer_status=code, message=message or f"error {code}", headers=named)

    @classmethod
    def recorded(cls, code: int, body: bytes, **headers: str) -> Say:
        """Exactly these bytes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(answer_status=code, body=body, headers=named)

    @classmethod
    def slow(cls, seconds: float, then: Say) -> Say:
        return replace(then, wait_s=seconds)

    @classmethod
    def once(cls, event: threading.Event, then: Say) -> Say:
        """`then`, as soon as the test sets the event."""
        return replace(then, event=event)

    @classmethod
    def cut(cls) -> Say:
        """The connection breaks in the middle of the body."""
        return cls(text="this will not arrive whole", fault="cut")

    @classmethod
    def invalid_json(cls) -> Say:
        return cls(text="x", fault="invalid-json")

    @classmethod
    def wrong_encoding(cls) -> Say:
        """Latin-1 bytes, declared as UTF-8."""
        return cls(text="dépêche", fault="wrong-encoding")

    def without_usage(self) -> Say:
        return replace(self, usage=None)

    def with_usage(self, total: int, output: int, cached: int = 0, reasoning: int = 0) -> Say:
        return replace(self, usage=(total, output, cached), reasoning_tokens=reasoning)

    def with_thoughts(self, text: str) -> Say:
        return replace(self, thoughts=text)

    def by(self, model: str) -> Say:
        return replace(self, model=model)

    def cut_short(self) -> Say:
        """Stopped by the limit of output tokens."""
        return replace(self, finish="length")


Brain = Callable[[Heard], Say]


class LoopbackModels:
    """The server, in a thread of its own, on 127.0.0.1 and a free port. Use it in `with`."""

    def __init__(self, brain: Brain, *, key: str = "") -> None:
        """`key`: the only one it takes; "": any."""
        self.brain = brain
        self.heard: list[Heard] = []
        self.most_at_once = 0  # questions that were being answered at the same time
        self._at_once = 0
        self._key = key
        # With the protocol named, asyncio answers without Nagle's delay of 40 ms.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(512)
        self.port: int = self._socket.getsockname()[1]
        app = Starlette(
            routes=[
                Route("/{rest:path}", self._post, methods=["POST"]),
                Route("/{rest:path}", self._get, methods=["GET"]),
            ]
        )
        config = uvicorn.Config(
            app, log_config=None, log_level="critical", lifespan="off",
            timeout_graceful_shutdown=0, timeout_keep_alive=60,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.001)
            if not self._thread.is_alive():
                raise RuntimeError("the loopback server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._socket.close()

    def url(self, provider: str) -> str:
        """What to set as the provider's address."""
        return f"http://127.0.0.1:{self.port}/{provider}{_PATHS[provider]}"

    async def _get(self, request: Request) -> Response:
        if not request.url.path.endswith("/models"):
            return JSONResponse({"error": {"message": "Not Found"}}, 404)
        return JSONResponse({"object": "list", "data": [{"id": "loop-1", "object": "model"}]})

    async def _post(self, request: Request) -> Response:
        heard = _hear(request.url.path, dict(request.headers), await request.body())
        if isinstance(heard, Response):
            return heard
        self.heard.append(heard)
        fault = _complaint(heard, self._key)
        if fault is not None:
            return _error(heard.wire, *fault, {})
        say = self.brain(heard)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(say.wait_s)
            while say.event is not None and not say.event.is_set():
                await asyncio.sleep(0.002)
        finally:
            self._at_once -= 1
        return _answer(heard, say)


def _hear(path: str, headers: dict[str, str], raw: bytes) -> Heard | Response:
    """The request in one form for all wires, or 404 where there is nothing at that path."""
    provider = path.split("/")[1]
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    body: Json = json.loads(raw)
    if path.endswith("/v1/messages"):
        turns = body.get("messages", [])
        tools = [tool.get("input_schema") for tool in body.get("tools", [])]
        system, key, wire = body.get("system", ""), headers.get("x-api-key") or bearer, "anthropic"
        model, most = body.get("model", ""), body.get("max_tokens")
        is_streamed = bool(body.get("stream"))
    elif path.endswith("/chat/completions"):
        turns = [turn for turn in body.get("messages", []) if turn["role"] != "system"]
        system = [turn for turn in body.get("messages", []) if turn["role"] == "system"]
        tools = [tool.get("function", {}).get("parameters") for tool in body.get("tools", [])]
        key, wire, model = bearer, "openai", body.get("model", "")
        most = body.get("max_completion_tokens", body.get("max_tokens"))
        is_streamed = bool(body.get("stream"))
    elif found := _GEMINI.search(path):
        turns, system = body.get("contents", []), body.get("systemInstruction", {})
        tools = [
            function.get("parameters_json_schema") or function.get("parameters")
            for tool in body.get("tools", [])
            for function in tool.get("functionDeclarations", [])
        ]
        key, wire, model = headers.get("x-goog-api-key", ""), "google", found[1]
        most = body.get("generationConfig", {}).get("maxOutputTokens")
        is_streamed = found[2] == "streamGenerateContent"
    else:
        return JSONResponse({"error": {"message": f"no {path}"}}, 404)
    messages = tuple((turn.get("role", "user"), _text(turn)) for turn in turns)
    schema = tools[0] if tools else None
    return Heard(
        provider, wire, model, _text(system), messages, schema, most, is_streamed, key, headers,  # type: ignore[arg-type]
        body, raw,
    )  # fmt: skip


def _text(node: object) -> str:
    """All texts below, joined: each wire nests them in its own way."""
    if isinstance(node, str):
        return node
    if isinstance(node, list):
        return "".join(_text(one) for one in node)
    if isinstance(node, dict):
        return "".join(_text(node[key]) for key in ("text", "content", "parts") if key in node)
    return ""


def _complaint(heard: Heard, key: str) -> tuple[int, str] | None:
    """What the real servers would not take: status and message."""
    body = heard.body
    if not heard.key:
        return (403 if heard.wire == "google" else 401), "no key"
    if key and heard.key != key:
        # As OpenAI does it, the message repeats what it was given.
        wrong = f"API key not valid, incorrect API key provided: {heard.key}"
        return (400 if heard.wire == "google" else 401), wrong
    if not heard.model:
        return 400, "model: Field required"
    if not heard.messages:
        return 400, "messages: at least one message is required"
    if heard.wire == "anthropic":
        if "anthropic-version" not in heard.headers:
            return 400, "anthropic-version: header is required"
        if not isinstance(heard.max_tokens, int) or heard.max_tokens < 1:
            return 400, "max_tokens: Field required"
        if body["messages"][0]["role"] != "user" or not all(text for _, text in heard.messages):
            return 400, "messages: text content blocks must be non-empty"
        if not 0 <= body.get("temperature", 0) <= 1:
            return 400, "temperature: range: 0..1"
        tools = body.get("tools", [])
    elif heard.wire == "openai":
        if "max_tokens" in body and "max_completion_tokens" in body:
            return 400, "max_tokens and max_completion_tokens are mutually exclusive"
        if any(tool.get("type") != "function" for tool in body.get("tools", [])):
            return 400, "tools: type must be function"
        tools = [tool["function"] for tool in body.get("tools", [])]
    else:
        tools = [
            one for tool in body.get("tools", []) for one in tool.get("functionDeclarations", [])
        ]
    if not all(_NAME.fullmatch(tool.get("name", "")) for tool in tools):
        return 400, "tools: a name does not match ^[a-zA-Z0-9_-]{1,64}$"
    if heard.schema is not None and heard.schema.get("type", "").lower() != "object":
        return 400, "tools: the schema must be of type object"
    return None


def _error(wire: Wire, status: int, message: str, headers: Mapping[str, str]) -> Response:
    """An error in the wire's own form."""
    body: Json
    if wire == "anthropic":
        kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
        kind = kinds.get(status, "invalid_request_error" if status < 500 else "api_error")
        kind = "overloaded_error" if status == 529 else kind
        body = {"type": "error", "error": {"type": kind, "message": message}}
    elif wire == "openai":
        body = {"error": {"message": message, "type": "error", "param": None, "code": None}}
    else:
        kinds = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED"}
        body = {"error": {"code": status, "message": message, "status": kinds.get(status, "")}}
    return JSONResponse(body, status, headers=dict(headers))


def _answer(heard: Heard, say: Say) -> Response:
    if say.body is not None:
        return Response(say.body, say.answer_status, headers=dict(say.headers))
    if say.answer_status != 200:
        return _error(heard.wire, say.answer_status, say.message, say.headers)
    events = list(
        {"anthropic": _anthropic, "openai": _openai, "google": _google}[heard.wire](heard, say)
    )
    kind = "text/event-stream" if heard.is_streamed else "application/json"
    if heard.is_streamed:
        lines = []
        for name, data in events:
            lines.append(f"event: {name}\n" if heard.wire == "anthropic" else "")
            data = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
            lines.append(f"data: {data}\n\n")
        text = "".join(lines)
    else:
        text = json.dumps(events[0][1], ensure_ascii=False)
    content = text.encode("latin-1" if say.fault == "wrong-encoding" else "utf-8")
    if say.fault == "invalid-json":
        content = b'data: {"id": \n\n' if heard.is_streamed else content[: len(content) // 2]
    headers = {"content-type": f"{kind}; charset=utf-8", **say.headers}
    return (_Cut if say.fault == "cut" else Response)(content, headers=headers)


class _Cut(Response):
    """Half of its body; then the server breaks the connection."""

    def __init__(self, content: bytes, *, headers: Mapping[str, str]) -> None:
        super().__init__(content, headers=headers)
        self._half = content[: len(content) // 2]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        await send({"type": "http.response.body", "body": self._half, "more_body": True})
        # Returning without the rest makes uvicorn close the connection.


def _arguments(call: Json | str) -> str:
    return call if isinstance(call, str) else json.dumps(call, ensure_ascii=False)


def _pieces(text: str) -> Iterator[str]:
    """The text in a few parts, as streams have it."""
    size = max(1, len(text) // 3)
    yield from (text[i : i + size] for i in range(0, len(text), size))


def _openai(heard: Heard, say: Say) -> Iterator[tuple[str, Json | str]]:
    calls = [
        {"id": f"call_{i}", "type": "function", "index": i,
         "function": {"name": "decide", "arguments": _arguments(call)}}
        for i, call in enumerate(say.calls)
    ]  # fmt: skip
    text = say.text
    if calls and heard.body.get("response_format", {}).get("type") == "json_schema":
        text, calls = str(calls[0]["function"]["arguments"]), []  # type: ignore[index]
    finish = say.finish or ("tool_calls" if calls else "stop")
    base = {
        "id": "chatcmpl-1", "created": 1_767_225_600, "model": say.model or heard.model,
        "provider": "Loopback",  # OpenRouter's
    }  # fmt: skip
    usage: Json | None = None
    if say.usage is not None:
        total, output, cached = say.usage
        # xAI counts reasoning beside the completion, the others within it.
        shown = output - say.reasoning_tokens if heard.provider == "xai" else output
        usage = {
            "prompt_tokens": total, "completion_tokens": shown, "total_tokens": total + output,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": say.reasoning_tokens},
        }  # fmt: skip
    message: Json = {"role": "assistant", "content": None if say.refused else text or None}
    if say.refused:
        message["refusal"] = text
    if say.thoughts:
        message["reasoning_content"] = say.thoughts
    if not heard.is_streamed:
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        reply = base | {"object": "chat.completion", "choices": [choice]}
        yield "", reply | ({"usage": usage} if usage is not None else {})
        return

    def chunk(delta: Json, end: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": end, "logprobs": None}
        return base | {"object": "chat.completion.chunk", "choices": [choice]}

    yield "", chunk({"role": "assistant", "content": ""})
    for piece in _pieces(say.thoughts):
        yield "", chunk({"reasoning_content": piece})
    for piece in _pieces(text):
        yield "", chunk({"refusal" if say.refused else "content": piece})
    for call in calls:
        function = dict(call["function"])  # type: ignore[call-overload]
        opening = call | {"function": {"name": function["name"], "arguments": ""}}
        yield "", chunk({"tool_calls": [opening]})
        for piece in _pieces(function["arguments"]):
            part = {"index": call["index"], "function": {"arguments": piece}}
            yield "", chunk({"tool_calls": [part]})
    yield "", chunk({}, finish)
    if usage is not None and heard.body.get("stream_options", {}).get("include_usage"):
        yield "", base | {"object": "chat.completion.chunk", "choices": [], "usage": usage}
    yield "", "[DONE]"


_PARTS = {
    "text": ("text", "text", "text_delta"),
    "thinking": ("thinking", "thinking", "thinking_delta"),
    "tool_use": ("input", "partial_json", "input_json_delta"),
}  # by type of a block: its field, the field of a delta, the delta's type


def _anthropic(heard: Heard, say: Say) -> Iterator[tuple[str, Json | str]]:
    finish = {"length": "max_tokens"}.get(say.finish, say.finish)
    finish = finish or ("refusal" if say.refused else "tool_use" if say.calls else "end_turn")
    blocks: list[Json] = []
    if say.thoughts:
        blocks.append({"type": "thinking", "thinking": say.thoughts, "signature": "c2ln"})
    if say.text and not say.refused:
        blocks.append({"type": "text", "text": say.text})
    for i, call in enumerate(say.calls):
        blocks.append({"type": "tool_use", "id": f"toolu_{i}", "name": "decide", "input": call})
    usage: Json = {}
    if say.usage is not None:
        total, output, cached = say.usage
        counts = {
            "input_tokens": total - cached, "output_tokens": output,
            "cache_read_input_tokens": cached, "cache_creation_input_tokens": 0,
        }  # fmt: skip
        usage = {"usage": counts}
    message: Json = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": say.model or heard.model,
        "stop_reason": finish, "stop_sequence": None,
    }  # fmt: skip
    if not heard.is_streamed:
        yield "", message | {"content": blocks} | usage
        return
    opening = message | {"content": [], "stop_reason": None} | usage
    yield "message_start", {"type": "message_start", "message": opening}
    for i, block in enumerate(blocks):
        kind, value, delta = _PARTS[block["type"]]
        empty: object = {} if kind == "input" else ""
        start = {"type": "content_block_start", "index": i, "content_block": block | {kind: empty}}
        yield "content_block_start", start
        for piece in _pieces(_arguments(block[kind])):
            part = {"type": delta, value: piece}
            yield "content_block_delta", {"type": "content_block_delta", "index": i, "delta": part}
        yield "content_block_stop", {"type": "content_block_stop", "index": i}
    end = {"stop_reason": finish, "stop_sequence": None}
    yield "message_delta", {"type": "message_delta", "delta": end} | usage
    yield "message_stop", {"type": "message_stop"}


def _google(heard: Heard, say: Say) -> Iterator[tuple[str, Json | str]]:
    base: Json = {"modelVersion": say.model or heard.model, "responseId": "r1"}
    if say.usage is not None:
        total, output, cached = say.usage
        base["usageMetadata"] = {
            "promptTokenCount": total, "candidatesTokenCount": output - say.reasoning_tokens,
            "thoughtsTokenCount": say.reasoning_tokens, "totalTokenCount": total + output,
            "cachedContentTokenCount": cached,
        }  # fmt: skip
    if say.refused:
        blocked = {"blockReason": "SAFETY", "blockReasonMessage": say.text}
        yield "", base | {"promptFeedback": blocked}
        return
    parts: list[Json] = [{"text": say.thoughts, "thought": True}] if say.thoughts else []
    texts = list(_pieces(say.text)) if heard.is_streamed else [say.text] if say.text else []
    parts += [{"text": piece} for piece in texts]
    # Google never passes on arguments that are not whole.
    whole = [call for call in say.calls if not isinstance(call, str)]
    parts += [{"functionCall": {"name": "decide", "args": call}} for call in whole]
    finish = {"length": "MAX_TOKENS"}.get(say.finish, say.finish) or "STOP"
    groups = [[part] for part in parts] if heard.is_streamed and parts else [parts]
    for i, group in enumerate(groups):
        candidate: Json = {"index": 0, "content": {"role": "model", "parts": group}}
        if i == len(groups) - 1:
            candidate["finishReason"] = finish
        yield "", base | {"candidates": [candidate]}
