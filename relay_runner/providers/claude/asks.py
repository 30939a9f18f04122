"""What Claude Code (2.1.197) asks in a PermissionRequest hook, in our words, and our answers in its words. Pure.

An approval for the session is exact. For a tool that changes or reads one file it is that file: a rule with the
destination `session`. For everything else it is the very same input again, which the runner remembers and allows by
itself: the program's own rules take `*` for anything, a command's rule covers other commands around it, and a fetch's
or an MCP tool's covers the whole host or tool. The mode is never changed, and no folder is ever added.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay_runner.protocol.permissions import AT_THE_TERMINAL, Decision, Question
from relay_runner.protocol.visible import visible, visible_line
from relay_runner.providers.base import Answer, PermissionAsked

HOOK = "PermissionRequest"
SOURCE = f"hook:{HOOK}"
QUESTION_TOOL = "AskUserQuestion"
PLAN_TOOL = "ExitPlanMode"
OFFERED = (Decision.APPROVE, Decision.APPROVE_SESSION, Decision.DENY, Decision.ABORT)
OFFERED_ONCE = (Decision.APPROVE, Decision.DENY, Decision.ABORT)
BY_KEY = (Decision.APPROVE, Decision.ABORT)
"""What the dialog's own keys can say."""
DENIED = "A person denied this."
_EDITS = frozenset({"Write", "Edit", "MultiEdit", "NotebookEdit"})
_RULES = {**dict.fromkeys(_EDITS, "Edit"), "Read": "Read"}
_PATTERN = re.compile(r"[*?\[\]{}!\\#()]")
_DETAIL_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of one tool."""

    tool: str
    input: Mapping[str, Any]
    session_id: str = ""
    agent_id: str = ""
    """The subagent that asks; empty for the main conversation."""
    agent_type: str = ""

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> Ask:
        """Read a hook's payload."""
        given = payload.get("tool_input")
        return cls(
            str(payload.get("tool_name") or "a tool"),
            given if isinstance(given, Mapping) else {},
            str(payload.get("session_id") or ""),
            str(payload.get("agent_id") or ""),
            str(payload.get("agent_type") or ""),
        )

    @property
    def key(self) -> str:
        """What tells this very request, in this session, from every other."""
        exact = {name: value for name, value in self.input.items() if name != "description"}
        text = json.dumps([self.session_id, self.tool, exact], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()

    @property
    def command(self) -> str | None:
        """The shell command, where it is one."""
        return _text(self.input.get("command")) if self.tool == "Bash" else None

    @property
    def file(self) -> str | None:
        """The file, where it is about one."""
        return _text(self.input.get("file_path") or self.input.get("notebook_path"))

    def words(self) -> list[str]:
        """Return words of which its dialog shows at least one."""
        if self.tool == QUESTION_TOOL:
            return [question.text for question in self._questions()]
        if self.tool == PLAN_TOOL:
            return ["exit plan mode", "Here is Claude's plan", "Claude has written up a plan"]
        values = [value for value in self.input.values() if isinstance(value, str) and value.strip()]
        return [max(values, key=len)] if values else []

    def asked(
        self,
        id: str,
        decisions: tuple[Decision, ...] | None = None,
        note: str | None = None,
        *,
        reopened: bool = False,
    ) -> PermissionAsked:
        """Return what the runner is told; `decisions` are what can be answered where that is not everything."""
        kind, title, detail = self._described()
        questions = self._questions()
        offered = OFFERED_ONCE if kind in ("question", "plan") else OFFERED
        if self.agent_id:
            detail = "\n".join(part for part in (f"asked by a subagent ({self.agent_type})", detail) if part)
        return PermissionAsked(
            id=id,
            kind=kind,
            title=title,
            source=SOURCE,
            detail=visible(detail, _DETAIL_CHARS) if detail else None,
            decisions=offered if decisions is None else decisions,
            questions=questions,
            note=note or (None if decisions != () else AT_THE_TERMINAL),
            reopened=reopened,
            metadata={"tool": self.tool, **({"subagentId": self.agent_id} if self.agent_id else {})},
        )

    def reply(self, answer: Answer) -> dict[str, Any]:
        """Return the hook's answer."""
        match answer.decision:
            case Decision.DENY:
                return _reply({"behavior": "deny", "message": answer.reason or DENIED})
            case Decision.ABORT:
                return _reply({"behavior": "deny", "message": answer.reason or DENIED, "interrupt": True})
        allow: dict[str, Any] = {"behavior": "allow"}
        if self.tool == QUESTION_TOOL:
            allow["updatedInput"] = {**self.input, "answers": self._answers(answer.answers)}
        elif self.tool == PLAN_TOOL:
            allow["updatedInput"] = dict(self.input)  # without it 2.1.260 and later ignore the answer
        elif answer.decision is Decision.APPROVE_SESSION and (rule := self.rule()) is not None:
            allow["updatedPermissions"] = [
                {"type": "addRules", "rules": [rule], "behavior": "allow", "destination": "session"}
            ]
        return _reply(allow)

    def rule(self) -> dict[str, str] | None:
        """Return the program's rule that allows exactly this file; None where it has none that is exact."""
        name, path = _RULES.get(self.tool), self.file
        if name is None or path is None or not path.startswith("/") or _PATTERN.search(path):
            return None
        return {"toolName": name, "ruleContent": f"/{path}"}

    # --- in words -----------------------------------------------------------------------------------------------------

    def _described(self) -> tuple[str, str, str | None]:
        """Return kind, title and detail."""
        given = self.input
        if (command := self.command) is not None:
            description = _text(given.get("description"))
            whole = command if visible_line(command) != command else None
            return "command", command, "\n".join(part for part in (description, whole) if part) or None
        if self.tool in _EDITS and self.file is not None:
            return "change", f"{self.tool} {self.file}", _change(given)
        if self.tool == QUESTION_TOOL:
            texts = [question.text for question in self._questions()]
            title = texts[0] if len(texts) == 1 else f"{len(texts)} questions"
            return "question", title or "a question", "\n".join(texts)
        if self.tool == PLAN_TOOL:
            return "plan", "Leave plan mode and begin", _text(given.get("plan"))
        kind = "network" if self.tool in ("WebFetch", "WebSearch") else "tool"
        about = self.file or _text(given.get("url") or given.get("query"))
        detail = json.dumps(dict(given), ensure_ascii=False, indent=1)
        return kind, f"{self.tool} {about or json.dumps(dict(given), ensure_ascii=False)}", detail

    def _questions(self) -> tuple[Question, ...]:
        """Return what AskUserQuestion asks; numbers are easy to type, and the texts may be long."""
        found = self.input.get("questions") if self.tool == QUESTION_TOOL else None
        questions = found if isinstance(found, list) else []
        return tuple(
            Question(
                id=str(number),
                text=str(one.get("question") or ""),
                options=tuple(str(option.get("label")) for option in one.get("options") or () if option.get("label")),
                other=True,
                multiple=bool(one.get("multiSelect")),
            )
            for number, one in enumerate(questions, 1)
            if isinstance(one, Mapping)
        )

    def _answers(self, answers: Mapping[str, Any]) -> dict[str, str]:
        """Return the answers by the questions' texts, as the program wants them."""
        found = {}
        for question in self._questions():
            value = answers.get(question.id)
            if value is not None:
                found[question.text] = ", ".join(value) if isinstance(value, list) else str(value)
        return found


def _reply(decision: Mapping[str, Any]) -> dict[str, Any]:
    return {"hookSpecificOutput": {"hookEventName": HOOK, "decision": dict(decision)}}


def _change(given: Mapping[str, Any]) -> str | None:
    """Return what a file would become, or the lines that go and come."""
    whole = _text(given.get("content") or given.get("new_source"))
    if whole is not None:
        return whole
    edits = given.get("edits") if isinstance(given.get("edits"), list) else [given]
    lines: list[str] = []
    for edit in edits or ():
        if isinstance(edit, Mapping):
            lines += [f"- {line}" for line in str(edit.get("old_string") or "").splitlines()]
            lines += [f"+ {line}" for line in str(edit.get("new_string") or "").splitlines()]
    return "\n".join(lines) or None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
