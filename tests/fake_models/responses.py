"""A Responses API on loopback that does what the prompt says, and remembers every request.

A directive stands at the start of a line of the prompt. Several are done one after the other, one per model step:

    SAY:text            answer with that text (the rest of the line)
    RECALL              answer with the context that was put in
    RUN:command         ask for the shell
    ASK:command         ask for the shell, outside the sandbox
    TOOL:name {json}    ask for any tool; `space.name` is one of a namespace
    PATCH:file text     ask for a file with that one line to be added
    JS:code             run code (models of the sixth generation reach most tools only so)
    SPAWN:name orders   have a sub-agent do the orders: directives, `;;` stands between them
    SLOW:n              take n seconds to stream the text of the next SAY
    HANG:n              send nothing for n seconds, then do the next directive
    WAIT                send nothing before the test says `go`, then do the next directive
    FAIL:code[:times]   answer with that HTTP status, always or only so many times
    ERROR:{json}        put this into the error of the next FAIL or BREAK
    HEADERS:{json}      send these headers with the answer
    BREAK:code[:times]  fail in the stream, by that error code
    DROP[:times]        hang up in the middle of the answer

A prompt without a directive is answered by `ok`; a tool's output after the last directive by `DONE` and its text.
What other agents sent stands in tool outputs that no tool call of ours asked for: those are prompts too.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fake_models.serving import FakeModel, Quiet

WAITS = ("SLOW", "HANG", "WAIT", "FAIL", "BREAK", "DROP", "ERROR", "HEADERS")
"""Directives that come before the one thing that a model step does."""
DIRECTIVE = re.compile(rf"^(SAY|RECALL|RUN|ASK|TOOL|PATCH|JS|SPAWN|{'|'.join(WAITS)})(?::|$)(.*)$", re.MULTILINE)
CONTEXT = ("<environment_context>", "<turn_aborted>", "<user_instructions>", "<skill", "# AGENTS.md")
"""How user messages begin that the program itself writes."""
INJECTED = "<injected-context"
COMPACTION = "You are performing a CONTEXT CHECKPOINT COMPACTION"
CALL = "call_fake"
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Request:
    """One request of the program, and when it came."""

    body: dict[str, Any]
    at: float = field(default_factory=time.time)

    @property
    def items(self) -> list[dict[str, Any]]:
        """The conversation that the model is shown."""
        return [item for item in self.body.get("input", []) if isinstance(item, dict)]

    def prompts(self) -> list[str]:
        """Return every text that the model is shown from outside, one per item: prompts and what peers sent."""
        return [text for kind, text in texts(self.items) if kind in ("user", "foreign")]

    def recalled(self) -> str:
        """Return the context that was put in, without a turn of its own."""
        return "\n".join(text for kind, text in texts(self.items) if kind == "developer" and INJECTED in text)

    def instructions(self) -> str:
        """Return everything that the developer says."""
        return "\n".join([self.body.get("instructions") or "", *(t for k, t in texts(self.items) if k == "developer")])


def texts(items: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return (user | developer | assistant | foreign | output, text) of every item that has text."""
    found = []
    for item in items:
        match item.get("type"):
            case "message":
                found.append((str(item["role"]), _text(item.get("content"))))
            case "agent_message" if orders := _orders(item.get("content")):
                found.append(("user", orders))
            case "function_call_output" | "custom_tool_call_output":
                kind = "output" if str(item.get("call_id", "")).startswith(CALL) else "foreign"
                found.append((kind, _text(item.get("output"))))
    return found


@dataclass(frozen=True)
class Script:
    """What the newest prompt orders, and how far the conversation has come in it."""

    steps: tuple[tuple[str, str], ...] = ()
    done: int = 0
    output: str | None = None

    @classmethod
    def read(cls, items: list[dict[str, Any]]) -> Script:
        """Find the newest prompt and count the tool outputs after it."""
        script, announced = cls(), False
        for kind, text in texts(items):
            if kind == "output":
                script = cls(script.steps, script.done + 1, text)
            elif kind == "foreign" or (kind == "user" and not text.lstrip().startswith(CONTEXT)):
                steps = tuple((name, rest.strip()) for name, rest in DIRECTIVE.findall(text))
                if steps or not announced:
                    script = cls(steps)
                announced = kind == "foreign"  # the line that follows only points to it
        return script

    def next(self) -> list[tuple[str, str]]:
        """Return the directives of the next model step: waits and failures first, then one thing to do."""
        groups: list[list[tuple[str, str]]] = [[]]
        for step in self.steps:
            groups[-1].append(step)
            if step[0] not in WAITS:
                groups.append([])
        groups = [group for group in groups if group]
        if self.done < len(groups):
            return groups[self.done]
        return [("SAY", "ok" if self.output is None else f"DONE {self.output[:400]}")]


class FakeResponses(FakeModel[Request]):
    """A Responses API."""

    def __init__(self) -> None:
        super().__init__(_handler(self))
        self.said: list[str] = []
        """The texts that were streamed to their end."""
        self.go = threading.Event()
        """What WAIT waits for."""
        self.compacts = threading.Event()
        """Set while summaries are made at once."""
        self.compacts.set()

    def __exit__(self, *exc: object) -> None:
        self.go.set()
        self.compacts.set()
        super().__exit__(*exc)

    @property
    def url(self) -> str:
        """What goes into `base_url`."""
        return f"{self.origin}/v1"


def _handler(fake: FakeResponses) -> type[BaseHTTPRequestHandler]:
    class Handler(_Answer):
        server_of = fake

    return Handler


class _Answer(Quiet):
    server_of: FakeResponses
    error: Mapping[str, Any] = {}
    extra: Mapping[str, str] = {}

    def do_GET(self) -> None:
        self._send(404, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.close_connection = True
        try:
            if not self.path.endswith("/responses"):
                self._send(404, b"{}")
                return
            request = Request(body)
            self.server_of.requests.append(request)
            if any(text.startswith(COMPACTION) for text in request.prompts()[-1:]):
                self.server_of.compacts.wait(PATIENCE_S)
            steps = Script.read(request.items).next()
            self._play([("SAY", request.recalled()) if name == "RECALL" else (name, rest) for name, rest in steps])
        except (BrokenPipeError, ConnectionResetError):
            return  # the program interrupted its own request

    def _play(self, steps: list[tuple[str, str]]) -> None:
        slow = 0.0
        for name, rest in steps:
            if name == "SLOW":
                slow = float(rest)
            elif name == "WAIT":
                self.server_of.go.wait(PATIENCE_S)
            elif name == "HANG":
                self.server_of.closing.wait(float(rest))
            elif name == "ERROR":
                self.error = json.loads(rest)
            elif name == "HEADERS":
                self.extra = json.loads(rest)
            elif name in ("FAIL", "BREAK", "DROP"):
                code, _, times = rest.rpartition(":") if name == "DROP" else rest.partition(":")
                self.server_of.failures[name + rest] += 1
                if not times or self.server_of.failures[name + rest] <= int(times):
                    return self._fail(name, code)
            else:
                return self._answer(_item(name, rest), slow)
        return self._answer(_item("SAY", "ok"), slow)

    def _fail(self, name: str, code: str) -> None:
        if name == "FAIL":
            error = {"type": "fake_error", "message": f"fake error {code}", "code": None, **self.error}
            return self._send(int(code), json.dumps({"error": error}).encode())
        self._stream_head()
        self._event("response.created", response={"id": "resp_fake"})
        if name == "BREAK":
            error = {"code": code, "message": "fake", **self.error}
            self._event("response.failed", response={"id": "resp_fake", "error": error})
        return None

    def _send(self, code: int, data: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self._send_extra()
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, item: dict[str, Any], slow: float) -> None:
        number = next(self.server_of.ids)
        item = {**item, "id": f"{'msg' if item['type'] == 'message' else 'fc'}_fake{number:06}"}
        if item["type"].endswith("_call"):
            item["call_id"] = f"{CALL}{number:06}"
        self._stream_head()
        self._event("response.created", response={"id": f"resp_fake{number:06}"})
        if item["type"] == "message":
            self._stream_text(item, slow)
        self._event("response.output_item.done", output_index=0, item=item)
        usage = {
            "input_tokens": 1000, "input_tokens_details": {"cached_tokens": 500}, "output_tokens": 10,
            "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 1010,
        }  # fmt: skip
        self._event("response.completed", response={"id": f"resp_fake{number:06}", "usage": usage})
        if item["type"] == "message":
            self.server_of.said.append(item["content"][0]["text"])

    def _stream_text(self, item: dict[str, Any], slow: float) -> None:
        text = item["content"][0]["text"]
        self._event("response.output_item.added", output_index=0, item={**item, "content": []})
        pieces = [text[:1], *([""] * 8), text[1:]] if slow else [text]
        for piece in pieces:
            self._event("response.output_text.delta", item_id=item["id"], output_index=0, content_index=0, delta=piece)
            self.server_of.closing.wait(slow / len(pieces))

    def _stream_head(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self._send_extra()
        self.end_headers()

    def _send_extra(self) -> None:
        for name, value in self.extra.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")

    def _event(self, kind: str, **fields: Any) -> None:
        data = json.dumps({"type": kind, **fields})
        self.wfile.write(f"event: {kind}\ndata: {data}\n\n".encode())
        self.wfile.flush()


def _item(name: str, rest: str) -> dict[str, Any]:
    if name == "RUN":
        return _call("exec_command", {"cmd": rest, "yield_time_ms": 30_000})
    if name == "ASK":
        asked = {"sandbox_permissions": "require_escalated", "justification": "fake reason"}
        return _call("exec_command", {"cmd": rest, "yield_time_ms": 30_000, **asked})
    if name == "TOOL":
        tool, _, arguments = rest.partition(" ")
        return _call(tool, json.loads(arguments or "{}"))
    if name == "PATCH":
        file, _, text = rest.partition(" ")
        return _custom("apply_patch", f"*** Begin Patch\n*** Add File: {file}\n+{text}\n*** End Patch\n")
    if name == "JS":
        return _custom("exec", rest)
    if name == "SPAWN":
        task, _, orders = rest.partition(" ")
        return _call("collaboration.spawn_agent", {"task_name": task, "message": orders, "fork_turns": "none"})
    content = [{"type": "output_text", "text": rest or "ok", "annotations": []}]
    return {"type": "message", "role": "assistant", "status": "completed", "content": content}


def _orders(content: Any) -> str:
    """Return what a sub-agent is to do: the model's side of it is encrypted on its way, as far as the program knows."""
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("encrypted_content", "")) for part in parts).strip().replace(";;", "\n")


def _call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    space, _, name = tool.rpartition(".")
    call = {"type": "function_call", "name": name, "arguments": json.dumps(arguments), "status": "completed"}
    return {**call, "namespace": space} if space else call


def _custom(tool: str, text: str) -> dict[str, Any]:
    return {"type": "custom_tool_call", "name": tool, "input": text, "status": "completed"}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
