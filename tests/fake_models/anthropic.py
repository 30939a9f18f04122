"""A Messages API on loopback that does what the prompt says, and remembers every request.

A directive stands at the start of a line of the prompt. Several are done one after the other, one per model step:

    SAY:text            answer with that text (the rest of the line)
    RUN:command         ask for the Bash tool
    TOOL:Name {json}    ask for any tool
    TOOLS:[[Name, {}]]  ask for several tools at once
    TASK:x  BGTASK:x    ask for a subagent (in the background) whose prompt is x; write `=` for its first colon
    SLOW:n              take n seconds to stream the text of the next SAY
    HANG:n              send nothing for n seconds, then do the next directive
    FAIL:code[:times]   answer with that HTTP status, always or only so many times
    MIDFAIL  DROP       break in the middle of the answer: by an error event, by hanging up

A prompt without a directive is answered by `ok`; a tool result after the last directive by `DONE` and its text.
`reactions` are what it does about words that are no directives: a pattern, and the directives that it stands for.
Requests without tools (the program asks for a title) are answered and kept apart.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fake_models.serving import FakeModel, Quiet

DIRECTIVE = re.compile(r"^(SAY|RUN|TOOLS|TOOL|TASK|BGTASK|SLOW|HANG|FAIL|MIDFAIL|DROP)(?::|$)(.*)$", re.MULTILINE)
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


@dataclass(frozen=True)
class Request:
    """One request of the program, and when it came."""

    body: dict[str, Any]
    at: float = field(default_factory=time.time)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation that the model is shown."""
        return list(self.body.get("messages", []))

    def prompts(self) -> list[str]:
        """Return every text that the model is shown and did not say itself, one per block."""
        return [text for role, kind, text in blocks(self.messages) if role != "assistant" and kind == "text"]


def blocks(messages: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return (role, `text` or `tool_result`, text) of every block of a conversation that has text."""
    found = []
    for message in messages:
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if block["type"] == "text":
                found.append((message["role"], "text", block["text"]))
            elif block["type"] == "tool_result":
                inner = block.get("content") or ""
                text = inner if isinstance(inner, str) else " | ".join(part.get("text", "") for part in inner)
                found.append((message["role"], "tool_result", text))
    return found


@dataclass(frozen=True)
class Script:
    """What the newest prompt orders, and how far the conversation has come in it."""

    steps: tuple[tuple[str, str], ...] = ()
    done: int = 0
    tool_result: str | None = None

    @classmethod
    def read(cls, messages: list[dict[str, Any]], reactions: dict[str, str] | None = None) -> Script:
        """Find the newest prompt and count the tool results after it."""
        script = cls()
        for message in messages:
            found = blocks([message])
            answers = any(kind == "tool_result" for _, kind, _ in found)
            for role, kind, text in found:
                if role == "assistant":
                    continue
                if kind == "tool_result":
                    script = cls(script.steps, script.done + 1, text)
                    continue
                for pattern, directives in (reactions or {}).items():
                    if match := re.search(pattern, text):
                        text = match.expand(directives)
                steps = tuple((name, rest.strip()) for name, rest in DIRECTIVE.findall(text))
                # What is told beside a tool's result goes into the turn; alone it begins one.
                reminds = text.lstrip().startswith("<system-reminder>")
                begins = role == "user" and (not reminds or ("<task-notification>" in text and not answers))
                if steps or begins:
                    script = cls(steps)
        return script

    def next(self) -> list[tuple[str, str]]:
        """Return the directives of the next model step: waits and failures first, then one thing to do."""
        groups: list[list[tuple[str, str]]] = [[]]
        for step in self.steps:
            groups[-1].append(step)
            if step[0] not in ("SLOW", "HANG", "FAIL"):
                groups.append([])
        groups = [group for group in groups if group]
        if self.done < len(groups):
            return groups[self.done]
        return [("SAY", "ok" if self.tool_result is None else f"DONE {self.tool_result[:200]}")]


class FakeAnthropic(FakeModel[Request]):
    """A Messages API."""

    def __init__(self) -> None:
        super().__init__(_handler(self))
        self.side_requests: list[Request] = []
        self.input_tokens = 100
        """What every answer says that its request used."""
        self.errors: dict[int, str] = {}
        """What an error of this status says, where it is not `fake error CODE`."""
        self.reactions: dict[str, str] = {}

    @property
    def url(self) -> str:
        """What goes into ANTHROPIC_BASE_URL."""
        return self.origin


def _handler(fake: FakeAnthropic) -> type[BaseHTTPRequestHandler]:
    class Handler(_Answer):
        server_of = fake

    return Handler


class _Answer(Quiet):
    server_of: FakeAnthropic

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.close_connection = True
        try:
            if not body.get("tools"):
                self.server_of.side_requests.append(Request(body))
                self._message(body, [{"type": "text", "text": '{"title": "a title"}'}])
                return
            self.server_of.requests.append(Request(body))
            self._play(body, Script.read(body["messages"], self.server_of.reactions).next())
        except (BrokenPipeError, ConnectionResetError):
            return  # the program interrupted its own request

    def _play(self, body: dict[str, Any], steps: list[tuple[str, str]]) -> None:
        slow = 0.0
        for name, rest in steps:
            if name == "SLOW":
                slow = float(rest)
            elif name == "HANG":
                self.server_of.closing.wait(float(rest))
            elif name == "FAIL":
                code, _, times = rest.partition(":")
                self.server_of.failures[rest] += 1
                if not times or self.server_of.failures[rest] <= int(times):
                    return self._error(int(code))
            elif name in ("MIDFAIL", "DROP") and body.get("stream"):
                return self._break(body, by_event=name == "MIDFAIL")
            else:
                return self._message(body, _content(name, rest), slow)
        return self._message(body, [{"type": "text", "text": "ok"}], slow)

    def _error(self, code: int) -> None:
        error = {
            "type": ERROR_TYPES.get(code, "api_error"),
            "message": self.server_of.errors.get(code, f"fake error {code}"),
        }
        self._send(code, json.dumps({"type": "error", "error": error}).encode())

    def _send(self, code: int, data: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _envelope(self, body: dict[str, Any]) -> dict[str, Any]:
        number = next(self.server_of.ids)
        usage = {
            "input_tokens": self.server_of.input_tokens,
            "output_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        }
        return {
            "id": f"msg_fake{number:06}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }

    def _message(self, body: dict[str, Any], content: list[dict[str, Any]], slow: float = 0.0) -> None:
        reason = "tool_use" if any(block["type"] == "tool_use" for block in content) else "end_turn"
        message = self._envelope(body)
        content = [
            {**block, "id": f"toolu_{message['id']}" + (f"_{number}" if number else "")} if "input" in block else block
            for number, block in enumerate(content)
        ]
        if not body.get("stream"):
            self.server_of.closing.wait(slow)
            self._send(200, json.dumps({**message, "content": content, "stop_reason": reason}).encode())
            return
        self._stream_head()
        self._event("message_start", message=message)
        for index, block in enumerate(content):
            self._block(index, block, slow)
        delta = {"stop_reason": reason, "stop_sequence": None}
        self._event("message_delta", delta=delta, usage={"output_tokens": 7})
        self._event("message_stop")

    def _block(self, index: int, block: dict[str, Any], slow: float) -> None:
        if block["type"] == "tool_use":
            self._event("content_block_start", index=index, content_block={**block, "input": {}})
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            self._event("content_block_delta", index=index, delta=delta)
        else:
            self._event("content_block_start", index=index, content_block={"type": "text", "text": ""})
            pieces = [block["text"][:1], block["text"][1:]] if slow else [block["text"]]
            for piece in pieces:
                self._event("content_block_delta", index=index, delta={"type": "text_delta", "text": piece})
                self.server_of.closing.wait(slow / len(pieces))
        self._event("content_block_stop", index=index)

    def _break(self, body: dict[str, Any], *, by_event: bool) -> None:
        self._stream_head()
        self._event("message_start", message=self._envelope(body))
        self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": "half an ans"})
        if by_event:
            self._event("error", error={"type": "overloaded_error", "message": "fake error in the middle"})

    def _stream_head(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()

    def _event(self, kind: str, **fields: Any) -> None:
        data = json.dumps({"type": kind, **fields})
        self.wfile.write(f"event: {kind}\ndata: {data}\n\n".encode())
        self.wfile.flush()


def _content(name: str, rest: str) -> list[dict[str, Any]]:
    if name == "RUN":
        return [_tool("Bash", {"command": rest, "description": "fake run"})]
    if name == "TOOL":
        tool, _, arguments = rest.partition(" ")
        return [_tool(tool, json.loads(arguments or "{}"))]
    if name == "TOOLS":
        return [_tool(tool, arguments) for tool, arguments in json.loads(rest)]
    if name in ("TASK", "BGTASK"):
        arguments = {
            "description": "fake task",
            "prompt": rest.replace("=", ":", 1),
            "subagent_type": "general-purpose",
        }
        return [_tool("Agent", {**arguments, "run_in_background": name == "BGTASK"})]
    return [{"type": "text", "text": rest or "ok"}]


def _tool(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "name": name, "input": arguments}
