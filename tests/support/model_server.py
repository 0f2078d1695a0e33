"""A scripted OpenAI-compatible server on loopback: real HTTP, answers written by the test.

In a test: `with ModelServer() as server: server.script({"answer": {...}})`.
On its own: `python tests/support/model_server.py --port 8901 --delay 5`, then
`POST /_script`, `GET /_calls`, `POST /_reset`.

An answer in the script is one of
  {"text": "..."}                                   plain text
  {"answer": {...}}                                 the structured output the request asks for
  {"call": {"name": "...", "arguments": {...}}}     a tool call; `calls` for several at once
  {"status": 429, "headers": {"retry-after": "7"}, "body": {...}}
  {"garbage": "<html>"}                             200 with a body that is not JSON
  {"body": {...}}                                   200 with this JSON, whatever it is
  {"hang": true}                                    never answers
each with the optional keys `delay` (seconds), `usage` (input_tokens, output_tokens), `when` and `unless`
(used only by a request whose text contains it, or does not). With nothing scripted the server answers at once
with text, or with a sample of the structured output's schema.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections.abc import Mapping
from typing import Any, Self

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}
Answer = Mapping[str, Any]


class ModelServer:
    """Serves `/v1/chat/completions` from a thread of its own; a context manager."""

    def __init__(self, *, port: int = 0, delay: float = 0.0) -> None:
        self.port = port
        self.delay = delay
        """Seconds every answer takes unless it says otherwise."""
        self.calls: list[dict[str, Any]] = []
        """Every request body received, in order, with the time and the bearer token."""
        self.open = 0
        """Requests being answered right now."""
        self.most_open = 0
        self._answers: list[Answer] = []
        self._ids = itertools.count(1)
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def url(self) -> str:
        """Base URL to give a client."""
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, *answers: Answer) -> None:
        """Queue answers; each is used once, in order."""
        self._answers.extend(answers)

    def always(self, answer: Answer) -> None:
        """Give this answer to every request the queue has none for."""
        self._answers.append({**answer, "always": True})

    def reset(self) -> None:
        """Forget the script and the calls."""
        self._answers.clear()
        self.calls.clear()
        self.most_open = self.open

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True)
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the scripted model server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop and self._stop and self._thread:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    async def serve(self) -> None:
        """Serve until stopped."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await self._connection(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(connection, "127.0.0.1", self.port, backlog=2048, limit=2**22)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, path, _ = first.split(" ", 2)
            status, answer_headers, answer = await self._answer(method, path, headers, body)
            payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}", "content-type: application/json"]
            lines += [f"{name}: {value}" for name, value in answer_headers.items()]
            lines.append(f"content-length: {len(payload)}")
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + payload)
            await writer.drain()

    async def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], Any]:
        match (method, path):
            case ("POST", "/v1/chat/completions"):
                return await self._complete(json.loads(body), headers)
            case ("POST", "/_script"):
                answers = json.loads(body)
                self.script(*(answers if isinstance(answers, list) else [answers]))
                return 200, {}, {"queued": len(self._answers)}
            case ("GET", "/_calls"):
                return 200, {}, {"calls": self.calls, "open": self.open, "most_open": self.most_open}
            case ("POST", "/_reset"):
                self.reset()
                return 200, {}, {}
        return 404, {}, {"error": {"message": f"no such path: {path}"}}

    async def _complete(
        self, request: dict[str, Any], headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], Any]:
        self.calls.append({**request, "at": time.time(), "token": headers.get("authorization", "")[7:]})
        answer = self._next(request)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            if answer.get("hang"):
                await asyncio.sleep(3600)
            await asyncio.sleep(answer.get("delay", self.delay))
        finally:
            self.open -= 1
        if "garbage" in answer:
            return 200, {}, str(answer["garbage"]).encode()
        if "body" in answer or "status" in answer:
            status = answer.get("status", 200)
            return (
                status,
                answer.get("headers", {}),
                answer.get("body", {"error": {"message": f"status {status}"}}),
            )
        return 200, {}, self._completion(request, answer)

    def _next(self, request: dict[str, Any]) -> Answer:
        text = json.dumps(request["messages"], ensure_ascii=False) if self._answers else ""
        for answer in self._answers:
            if answer.get("when", "") not in text or ("unless" in answer and answer["unless"] in text):
                continue
            if not answer.get("always"):
                self._answers.remove(answer)
            return answer
        return {}

    def _completion(self, request: dict[str, Any], answer: Answer) -> dict[str, Any]:
        number = next(self._ids)
        calls = list(answer.get("calls") or ([answer["call"]] if "call" in answer else []))
        if not calls and "text" not in answer and (tool := output_tool(request)):
            calls = [{"name": tool["name"], "arguments": answer.get("answer", sample(tool["parameters"]))}]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if calls else answer.get("text", "done"),
        }
        if calls:
            message["tool_calls"] = [
                {
                    "id": call.get("id", f"call_{number}_{position}"),
                    "type": "function",
                    "function": {
                        "name": call["name"],
                        "arguments": call["arguments"]
                        if isinstance(call["arguments"], str)
                        else json.dumps(call["arguments"]),
                    },
                }
                for position, call in enumerate(calls)
            ]
        used = answer.get("usage", {"input_tokens": 100, "output_tokens": 20})
        return {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": answer.get("model", request["model"]),
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
            "usage": {
                "prompt_tokens": used["input_tokens"],
                "completion_tokens": used["output_tokens"],
                "total_tokens": used["input_tokens"] + used["output_tokens"],
            },
        }


def output_tool(request: Mapping[str, Any]) -> dict[str, Any] | None:
    """The tool that takes the structured output, if the request asks for one."""
    for tool in request.get("tools") or []:
        if tool["function"]["name"].startswith("final_result"):
            found: dict[str, Any] = tool["function"]
            return found
    return None


def sample(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """A small value that fits a JSON Schema of the common kind."""
    root = root or schema
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return sample(target, root)
    for choice in ("const", "default"):
        if choice in schema:
            return schema[choice]
    if "enum" in schema:
        return schema["enum"][0]
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return sample(options[0], root)
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    match kind:
        case "object":
            return {
                name: sample(schema["properties"][name], root)
                for name in schema.get("required", list(schema.get("properties", {})))
            }
        case "array":
            return [sample(schema.get("items", {"type": "string"}), root)] * schema.get("minItems", 1)
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
    return {"date": "2026-01-31", "date-time": "2026-01-31T12:00:00Z"}.get(schema.get("format", ""), "text")


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds every answer takes")
    options = parser.parse_args()
    server = ModelServer(port=options.port, delay=options.delay)

    async def run() -> None:
        serving = asyncio.create_task(server.serve())
        while not server._ready.is_set():
            await asyncio.sleep(0.01)
        print(server.url, flush=True)
        await serving

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


if __name__ == "__main__":
    main()
