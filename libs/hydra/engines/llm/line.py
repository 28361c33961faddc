"""One question put to one provider, and what came of it.

What came of it is read from what went over the wire (was there a connection, a status, a whole
body?), not from the classes of the SDKs' exceptions, which differ and change.
"""

from __future__ import annotations

import json
from codecs import getincrementaldecoder
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from json import JSONDecodeError
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

import httpx2
from pydantic import SecretStr

from hydra.engines.llm.calls import Outcome, Question, Reply, Usage
from hydra.engines.llm.providers import PROVIDERS

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import Model

TOOL = "decide"
MOST_BODY_BYTES = 8_000_000  # of one reply
# A packed body may grow a thousandfold: plain ones are asked for, packed ones taken while small.
MOST_PACKED_BYTES = 80_000
CONNECT_S = 10.0
_LONGEST_ERROR = 300  # characters of a provider's own message
_SHORTEST_SECRET = 8  # a shorter "key" is a placeholder of a local server and part of many words


@dataclass(slots=True)
class Wire:
    """What went over the wire for one question. Of the requests, the last one's figures."""

    requests: int = 0  # that went out or were about to
    status: int = 0  # 0: no answer came
    is_broken: bool = False  # the connection broke within the answer's body
    fault: str = ""  # why the body was not read on


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one request."""

    reply: Reply  # without cost, times and tries
    retry_after_s: float | None = None  # the pause that the provider asks for
    is_free: bool = False  # certainly nothing to pay: refused, or never sent
    cache_write_tokens: int = 0  # of the input: written to the provider's cache, at its own rate


class Line:
    """The way to one provider at one address with one key. Holds no connection of its own."""

    def __init__(
        self, provider: str, url: str, key: SecretStr | None, key_variable: str,
        client: httpx2.AsyncClient,
    ) -> None:  # fmt: skip
        """`key_variable` is named to who must set another key. The caller closes `client`."""
        self._provider = PROVIDERS[provider]
        self._can_pull = provider == "ollama"
        self._url = url
        self._key = key
        self._key_variable = key_variable
        self._client = client
        self._models: dict[str, Model] = {}

    def is_open(self, model: str) -> bool:
        """Whether the model's SDK is loaded and set up."""
        return model in self._models

    def open(self, model: str) -> None:
        """Build the SDK's model, once; takes a second where it imports the SDK."""
        if not self.is_open(model):
            key = self._key.get_secret_value() if self._key is not None else ""
            self._models[model] = self._provider.build(model, self._url, key, self._client)

    async def ask(self, question: Question, wire: Wire, *, is_streamed: bool) -> Attempt:
        """Send one request, with no deadline of its own, and say what came of it.

        `wire` is filled as things happen, so that it is right after a cancellation too. Raises
        nothing but CancelledError.
        """
        outer = _WIRE.set(wire)
        try:
            self.open(question.model)
            response = await _request(self._models[question.model], question, is_streamed)
            return self._answered(response, is_streamed)
        # Not `except ModelAPIError`: what the SDKs do not foresee comes out as AttributeError,
        # UnicodeDecodeError and others, and it is the wire that says what happened.
        except Exception as error:
            return self._failed(question, wire, error)
        finally:
            _WIRE.reset(outer)

    def scrub(self, text: str) -> str:
        """The text without the key, should a server have echoed it."""
        key = self._key.get_secret_value() if self._key is not None else ""
        return text.replace(key, "[key]") if len(key) >= _SHORTEST_SECRET else text

    def _answered(self, response: ModelResponse, is_streamed: bool) -> Attempt:
        details = response.provider_details or {}
        calls, text = _said(response)
        finish = str(
            details.get("finish_reason")
            or details.get("block_reason")
            or ("refusal" if "refusal" in details else "")
        )
        usage = _usage(response, bool(text))
        outcome, error = Outcome.ANSWERED, ""
        if response.finish_reason == "content_filter":
            outcome = Outcome.DECLINED
            why = details.get("refusal") or details.get("block_reason_message") or finish
            error = f"the model or its provider's filter declined to answer: {self._said(why)}"
        elif is_streamed and not finish:
            outcome, usage = Outcome.UNREACHABLE, None  # what was counted is not all
            error = f"the connection to {self._place()} ended in the middle of the answer"
        elif response.finish_reason == "length" and not (text.strip() and _is_usable(calls)):
            outcome = Outcome.CUT_SHORT
            error = "the answer ran into the limit of output tokens: raise max_output_tokens"
        elif not text.strip():
            outcome, error = Outcome.EMPTY, "the model said nothing"
        return Attempt(
            Reply(
                outcome=outcome,
                text=self.scrub(text),
                error=error,
                model=self.scrub(response.model_name or ""),
                finish=self.scrub(finish),
                usage=usage,
            ),
            cache_write_tokens=response.usage.cache_write_tokens,
        )

    def _failed(self, question: Question, wire: Wire, error: Exception) -> Attempt:
        # An error that a provider puts into the body of a 200 is known to the SDK alone.
        status = wire.status if wire.status >= 300 else getattr(error, "status_code", 0)
        title, message = self._provider.title, self._said(_message(error))
        root = list(_causes(error))[-1]
        name = type(root).__name__
        if isinstance(status, int) and status >= 300:
            outcome = _outcome_of(status, message)
            words = self._refusal(outcome, status, question.model, message)
        elif wire.requests == 0:
            outcome = Outcome.REJECTED
            words = f"the question could not be put to {title} ({name}): {message}"
        elif wire.fault:
            outcome, words = Outcome.GARBLED, f"{title} sent {wire.fault}"
        elif wire.is_broken:
            outcome = Outcome.UNREACHABLE
            words = f"the connection to {self._place()} broke in the middle of the answer ({name})"
        elif wire.status:
            outcome = Outcome.GARBLED
            # Other errors show parts of what was read, in which a key would not be found whole.
            where = f": {root}" if isinstance(root, JSONDecodeError | UnicodeDecodeError) else ""
            words = f"the reply of {title} could not be read ({name}){where}"
        else:
            outcome = Outcome.UNREACHABLE
            words = f"no answer from {self._place()} ({name}): {message}"
        retry_after_s = getattr(error, "retry_after", None)
        return Attempt(
            Reply(outcome=outcome, error=words),
            retry_after_s=retry_after_s if isinstance(retry_after_s, float) else None,
            is_free=wire.requests == 0
            or (wire.requests == 1 and (wire.status >= 300 or _never_left(error))),
        )

    def _said(self, words: object) -> str:
        """A provider's words, short and on one line; without the key, before that is cut in two."""
        line = " ".join(self.scrub(str(words)).split())
        return line if len(line) <= _LONGEST_ERROR else f"{line[:_LONGEST_ERROR]}…"

    def _refusal(self, outcome: Outcome, status: int, model: str, message: str) -> str:
        """An HTTP status in words, with what to do about it."""
        title = self._provider.title
        if outcome is Outcome.UNAUTHORISED:
            name = self._key_variable or "key_env of the gladiator"
            return f"{title} refused the key ({status}), see {name}: {message}"
        if outcome is Outcome.RATE_LIMITED:
            return f"{title} asks for fewer requests ({status}): {message}"
        if outcome is Outcome.OVERLOADED:
            return f"{title} is out of order or overloaded ({status}): {message}"
        if status < 400:
            return f"{self._place()} only points elsewhere ({status}): set the true address"
        if status == 404:
            hint = f"`ollama pull {model}`, or set another model; " if self._can_pull else ""
            return f"{title} does not know the model {model} (404): {hint}{message}"
        return f"{title} did not take the request ({status}): {message}"

    def _place(self) -> str:
        """The address without user and password."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def _request(model: Model, question: Question, is_streamed: bool) -> ModelResponse:
    """One request with the answer's form as a tool, beside which plain text is allowed too."""
    from pydantic_ai.direct import model_request, model_request_stream
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.settings import ModelSettings
    from pydantic_ai.tools import ToolDefinition

    tool = ToolDefinition(
        name=TOOL,
        description="Give your answer in this form, in one call.",
        parameters_json_schema=question.schema,
        kind="output",
        strict=False,  # the form goes out as it is: a stricter one is the SDK's guess
    )
    parameters = ModelRequestParameters(
        output_mode="tool", output_tools=[tool], allow_text_output=True
    )
    settings = ModelSettings(max_tokens=question.max_output_tokens)
    if question.temperature is not None:
        settings["temperature"] = question.temperature
    if question.seed is not None:
        settings["seed"] = question.seed
    messages = _messages(question)
    if not is_streamed:
        return await model_request(
            model, messages, model_settings=settings, model_request_parameters=parameters
        )
    async with model_request_stream(
        model, messages, model_settings=settings, model_request_parameters=parameters
    ) as stream:
        async for _ in stream:
            pass
        return stream.get()


def _messages(question: Question) -> list[ModelMessage]:
    from pydantic_ai.messages import (
        ModelRequest,
        ModelResponse,
        SystemPromptPart,
        TextPart,
        UserPromptPart,
    )  # fmt: skip

    messages: list[ModelMessage] = []
    if question.system:
        messages.append(ModelRequest(parts=[SystemPromptPart(question.system)]))
    for message in question.messages:
        last = messages[-1] if messages else None
        if message.role == "assistant":
            messages.append(ModelResponse(parts=[TextPart(message.text)]))
        elif isinstance(last, ModelRequest):
            messages[-1] = ModelRequest(parts=[*last.parts, UserPromptPart(message.text)])
        else:
            messages.append(ModelRequest(parts=[UserPromptPart(message.text)]))
    return messages


def _said(response: ModelResponse) -> tuple[tuple[str, ...], str]:
    """The arguments of the tool's calls as JSON, and all that counts as said: them, else text."""
    from pydantic_ai.messages import TextPart, ToolCallPart

    calls = []
    for part in response.parts:
        if isinstance(part, ToolCallPart) and part.args not in (None, ""):
            args = part.args
            calls.append(args if isinstance(args, str) else json.dumps(args, ensure_ascii=False))
    if calls:
        return tuple(calls), "\n".join(calls)
    return (), "".join(part.content for part in response.parts if isinstance(part, TextPart))


def _is_usable(calls: tuple[str, ...]) -> bool:
    """Whether the arguments of all calls are whole, which of a plain text nobody can tell here.

    Anthropic puts {} for arguments that it could not end.
    """
    try:
        return all(json.loads(arguments) for arguments in calls)
    except ValueError:
        return False


def _usage(response: ModelResponse, has_said: bool) -> Usage | None:
    """The tokens as counted; None where no count came, of which the SDKs make zeros."""
    counted = response.usage
    if counted.input_tokens <= 0 or (has_said and counted.output_tokens <= 0):
        return None
    return Usage(
        input_tokens=counted.input_tokens,
        output_tokens=counted.output_tokens,
        cached_tokens=counted.cache_read_tokens,
    )


def _outcome_of(status: int, message: str) -> Outcome:
    if status in (401, 403) or "API key not valid" in message:  # which Google says with a 400
        return Outcome.UNAUTHORISED
    if status == 429:
        return Outcome.RATE_LIMITED
    return Outcome.OVERLOADED if status >= 500 else Outcome.REJECTED


def _message(error: Exception) -> str:
    """The provider's own words where it sent some, else the exception's."""
    body = getattr(error, "body", None)
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, dict):
        inner = body.get("error", body)
        said = inner.get("message") if isinstance(inner, dict) else inner
        body = said or json.dumps(body, default=str)
    return str(body or error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _never_left(error: Exception) -> bool:
    """Whether it failed before a request could have left this machine."""
    before = (
        httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol,
    )  # fmt: skip
    return any(isinstance(cause, before) for cause in _causes(error))


_WIRE: ContextVar[Wire | None] = ContextVar("_WIRE", default=None)


def http_client(transport: httpx2.AsyncBaseTransport | None = None) -> httpx2.AsyncClient:
    """The client that every SDK is given: it caps what it reads and tells `Line.ask` what it saw.

    It follows no redirect (a key must not travel to another host) and waits for an answer
    without end: deadlines are the caller's. Hooks, not a transport, so that the proxies of the
    environment stay in use.
    """
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(None, connect=CONNECT_S),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),
        headers={"Accept-Encoding": "identity"},
        follow_redirects=False,
        event_hooks={"request": [_leaving], "response": [_arriving]},
        transport=transport,
    )


async def _leaving(request: httpx2.Request) -> None:
    # An SDK's own timeout would also lengthen the time to connect.
    times = request.extensions.get("timeout", {})
    request.extensions = {**request.extensions, "timeout": {**times, "connect": CONNECT_S}}
    if (wire := _WIRE.get()) is not None:
        wire.requests += 1
        wire.status, wire.is_broken, wire.fault = 0, False, ""


async def _arriving(response: httpx2.Response) -> None:
    wire = _WIRE.get()
    if wire is not None and isinstance(response.stream, httpx2.AsyncByteStream):
        wire.status = response.status_code
        is_packed = response.headers.get("content-encoding", "identity") != "identity"
        response.stream = _Body(response.stream, wire, is_packed=is_packed)


class _Body(httpx2.AsyncByteStream):
    """A reply's body as it comes in: not without end, and only text that is UTF-8.

    Some SDKs would put "�" for what they cannot decode. Packed bytes are text only later, and
    the SDKs' matter.
    """

    def __init__(self, stream: httpx2.AsyncByteStream, wire: Wire, *, is_packed: bool) -> None:
        self._stream = stream
        self._chunks = aiter(stream)
        self._wire = wire
        self._most_bytes = MOST_PACKED_BYTES if is_packed else MOST_BODY_BYTES
        self._seen_bytes = 0
        self._decode = None if is_packed else getincrementaldecoder("utf-8")().decode

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            raise
        except Exception:
            self._wire.is_broken = True
            raise
        self._seen_bytes += len(chunk)
        if self._seen_bytes > self._most_bytes:
            self._refuse(f"more than {self._most_bytes:,} bytes")
        if self._decode is not None:
            try:
                self._decode(chunk)
            except UnicodeDecodeError:
                self._refuse("text that is not UTF-8")
        return chunk

    def _refuse(self, fault: str) -> NoReturn:
        self._wire.fault = fault
        raise httpx2.ReadError(fault)

    async def aclose(self) -> None:
        await self._stream.aclose()
