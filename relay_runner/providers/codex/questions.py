"""What the app-server asks of a person, in the words of permissions (0.169.0).

    item/commandExecution/requestApproval   command, network   item/tool/requestUserInput    question
    item/fileChange/requestApproval         change             mcpServer/elicitation/request tool, form
    item/permissions/requestApproval        access, network

What a request's answer looks like is in `answers`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from relay_runner.protocol.permissions import AT_THE_TERMINAL, Decision, Question
from relay_runner.protocol.visible import visible, visible_line
from relay_runner.providers.base import PermissionAsked
from relay_runner.providers.codex import forms
from relay_runner.providers.codex.client import Request

COMMAND = "item/commandExecution/requestApproval"
CHANGE = "item/fileChange/requestApproval"
ACCESS = "item/permissions/requestApproval"
INPUT = "item/tool/requestUserInput"
ELICITATION = "mcpServer/elicitation/request"
TOOL_CALL = "mcp_tool_call"
SHELLS = ("sh", "bash", "zsh")
ONCE = (Decision.APPROVE, Decision.DENY, Decision.ABORT)
SESSION = (Decision.APPROVE, Decision.APPROVE_SESSION, Decision.DENY, Decision.ABORT)
FORMS = ("form", "openai/form", "openaiForm")
Changes = Sequence[Mapping[str, Any]]
"""The changes of a `fileChange` item: path, kind, diff."""


def asked(
    request: Request, id: str, *, changes: Changes = (), standing: bool = False, who: str | None = None
) -> PermissionAsked:
    """Return the question under `id`; of a method that is none of `METHODS` only the terminal can answer it.

    `changes` belong to the item that a file change is about, `standing` says that a rule for good may be offered, and
    `who` is the sub-agent that asks.
    """
    params = request.params
    fields = METHODS.get(request.method, _other)(params, changes)
    fields.setdefault("title", visible_line(request.method))
    if who is not None:
        fields["detail"] = _lines(f"asked by the sub-agent {who}", fields.get("detail"))
    decisions: tuple[Decision, ...] = fields.pop("decisions")
    if standing and Decision.APPROVE in decisions and always(request) is not None:
        decisions = (*decisions[:-2], Decision.APPROVE_ALWAYS, *decisions[-2:])
    names = ("threadId", "turnId", "itemId", "serverName", "cwd")
    metadata = {name: params[name] for name in names if params.get(name) is not None}
    return PermissionAsked(id=id, source=request.method, decisions=decisions, metadata=metadata, **fields)


def always(request: Request) -> Any:
    """Return the decision that is a rule for good, as the server offers it; None where it offers none."""
    params = request.params
    if request.method == ELICITATION:
        return "always" if "always" in (_meta(params).get("persist") or ()) else None
    for offered in params.get("availableDecisions") or ():
        if isinstance(offered, dict) and ("acceptWithExecpolicyAmendment" in offered or _allows(offered)):
            return offered
    return None


def is_tool(params: Mapping[str, Any]) -> bool:
    """Say whether an elicitation asks for an MCP tool to be run, and is no form of an MCP server's own."""
    return bool(_meta(params).get("codex_approval_kind") == TOOL_CALL)


def call_of(request: Request) -> str | None:
    """Return which call of an MCP tool is asked for, with all its arguments; None where it is something else.

    For the session Codex itself would let the tool do anything: the very same call is remembered here instead.
    """
    params = request.params
    if request.method != ELICITATION or not is_tool(params):
        return None
    meta = _meta(params)
    return json.dumps([params.get("serverName"), meta.get("tool_name"), meta.get("tool_params")], sort_keys=True)


def _allows(offered: Mapping[str, Any]) -> bool:
    rule = offered.get("applyNetworkPolicyAmendment")
    return isinstance(rule, dict) and rule.get("network_policy_amendment", {}).get("action") == "allow"


def _meta(params: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = params.get("_meta")
    return meta if isinstance(meta, dict) else {}


# --- one reader for each ----------------------------------------------------------------------------------------------


def _command(params: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    command = str(params.get("command") or "")
    plain = unwrapped(command)
    network = params.get("networkApprovalContext")
    kind = params.get("kind") or "command"
    title = plain or "run a command"
    if isinstance(network, dict):
        title = f"{network.get('protocol')} connection to {network.get('host')}"
    elif kind == "writeStdin":
        title = f"type into a running command: {plain}"
    extra = params.get("additionalPermissions")
    return {
        "kind": "network" if isinstance(network, dict) else "command",
        "title": visible_line(title),
        "detail": _lines(
            params.get("reason"), plain if plain != visible_line(title) else None,
            f"in {params['cwd']}" if params.get("cwd") else None, _json(extra) if extra else None,
        ),
        "decisions": SESSION if kind == "command" else ONCE,
    }  # fmt: skip


def _change(params: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    named = [f"{_kind(change)} {PurePath(str(change.get('path'))).name}" for change in changes]
    root = params.get("grantRoot")
    return {
        "kind": "change",
        "title": visible_line(", ".join(named) or "change files"),
        "detail": _lines(
            params.get("reason"), f"and, for this session, anything below {root}" if root else None,
            *(f"{_kind(change)} {change.get('path')}\n{change.get('diff') or ''}" for change in changes),
        ),
        "decisions": ONCE if root else SESSION,
    }  # fmt: skip


def _access(params: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    wanted = params.get("permissions")
    wanted = wanted if isinstance(wanted, dict) else {}
    files = wanted.get("fileSystem")
    files = files if isinstance(files, dict) else {}
    network = bool((wanted.get("network") or {}).get("enabled"))
    words = [f"{access} {', '.join(map(str, files[access]))}" for access in ("read", "write") if files.get(access)]
    words += ["use the network"] if network else []
    return {
        "kind": "network" if network and not files else "access",
        "title": visible_line(" and ".join(words) or "more access"),
        "detail": _lines(params.get("reason"), _json(wanted)),
        "decisions": SESSION,
    }


def _input(params: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    asked = [one for one in params.get("questions") or () if isinstance(one, dict)]
    return {
        "kind": "question",
        "title": visible_line(str(asked[0].get("question")) if asked else "a question"),
        "detail": _lines(*(_options(one) for one in asked)),
        "questions": tuple(
            Question(
                id=str(one.get("id")),
                text=visible_line(str(one.get("question"))),
                options=tuple(str(option.get("label")) for option in one.get("options") or ()),
                other=bool(one.get("isOther")),
                secret=bool(one.get("isSecret")),
            )
            for one in asked
        ),
        "decisions": ONCE,
    }


def _options(question: Mapping[str, Any]) -> str:
    options = [f"  {one.get('label')}: {one.get('description')}" for one in question.get("options") or ()]
    return "\n".join([str(question.get("question")), *options])


def _elicitation(params: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    server, message = params.get("serverName"), params.get("message")
    if is_tool(params):
        meta = _meta(params)
        return {
            "kind": "tool",
            "title": visible_line(f"{server}: {meta.get('tool_name')} {_json(meta.get('tool_params') or {}, None)}"),
            "detail": _lines(message, meta.get("tool_description"), _json(meta.get("tool_params") or {})),
            "decisions": SESSION,
        }
    fields: dict[str, Any] = {"kind": "form", "title": visible_line(f"{server}: {message}"), "decisions": ONCE}
    if params.get("mode") in FORMS:
        return {**fields, "questions": forms.questions(params.get("requestedSchema"))}
    if params.get("mode") == "url":
        return {**fields, "detail": _lines(message, f"look at {params.get('url')}, then approve")}
    title = visible_line(f"{server}: {params.get('title')}")
    return {**fields, "title": title, "decisions": (), "note": AT_THE_TERMINAL}


def _other(params: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """Say that something is asked which this program does not know: another version may ask more."""
    return {"kind": "other", "decisions": (), "note": AT_THE_TERMINAL, "detail": _lines(params.get("reason"))}


METHODS: dict[str, Callable[[Mapping[str, Any], Changes], dict[str, Any]]] = {
    COMMAND: _command,
    CHANGE: _change,
    ACCESS: _access,
    INPUT: _input,
    ELICITATION: _elicitation,
}


def unwrapped(command: str) -> str:
    """Return the script that a shell is to run, or the command as it is where it is no shell's."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if len(words) == 3 and PurePath(words[0]).name in SHELLS and words[1] in ("-c", "-lc"):
        return words[2]
    return command


def _kind(change: Mapping[str, Any]) -> str:
    kind = change.get("kind")
    return str(kind.get("type")) if isinstance(kind, dict) else "update"


def _lines(*parts: object) -> str | None:
    return visible("\n".join(str(part) for part in parts if part)) or None


def _json(value: object, indent: int | None = 2) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
