"""What the runner asks of a provider, and what a provider tells the runner.

A `Provider` knows how to start one kind of program. A `Process` is one running program under this runner: it takes
submissions and reports what happens as events. The law between them:

* `Process.submit` puts a message in **at most once**. It returns `Submitted` when the message entered the program (or
  is in the hands of the program's own hook), `Held` when provably nothing entered and it should be tried later, raises
  `ProviderRefused` when provably nothing entered and the try failed, and returns `Uncertain` when nobody can know.
  It never tries a second channel unless the first provably took nothing.
* `Seen` is emitted only on the provider's own evidence. `TurnEnded` names the nonces that its turn carried.
* After a crash of the runner, a new `Process` over the same program is asked by `find` what its records say of a nonce.
* Of a program that died, its records decide: what they have was seen; what is `absent` never entered, even where the
  program had told it as seen; what neither is known of is `unsure`.
"""

from __future__ import annotations

from relay_runner.providers.base.abilities import Capabilities
from relay_runner.providers.base.events import (
    ContextUsed,
    Degraded,
    Emit,
    Event,
    Learnt,
    Limited,
    PermissionAsked,
    PermissionClosed,
    ProcessState,
    Seen,
    SessionLost,
    SessionStarted,
    StateChanged,
    SubagentEnded,
    SubagentStarted,
    TurnEnded,
    TurnStarted,
    Unusable,
    Warned,
)
from relay_runner.providers.base.exchange import (
    ABSENT,
    NOT_FOUND,
    Answer,
    Evidence,
    Held,
    HookCall,
    HookReply,
    Limit,
    Submission,
    SubmitResult,
    Submitted,
    TurnState,
    Uncertain,
    unsure,
)
from relay_runner.providers.base.interfaces import Process, Provider
from relay_runner.providers.base.launch import LaunchPlan, LaunchSpec
from relay_runner.providers.base.operations import CLEAR, COMPACT, INJECT, Operation
from relay_runner.providers.base.tools import Owed, Tool, ToolCall, ToolResult, Tools, nothing_owed
from relay_runner.providers.base.versions import Tried, Versions, version_in

__all__ = [
    "ABSENT",
    "CLEAR",
    "COMPACT",
    "INJECT",
    "NOT_FOUND",
    "Answer",
    "Capabilities",
    "ContextUsed",
    "Degraded",
    "Emit",
    "Event",
    "Evidence",
    "Held",
    "HookCall",
    "HookReply",
    "LaunchPlan",
    "LaunchSpec",
    "Learnt",
    "Limit",
    "Limited",
    "Operation",
    "Owed",
    "PermissionAsked",
    "PermissionClosed",
    "Process",
    "ProcessState",
    "Provider",
    "Seen",
    "SessionLost",
    "SessionStarted",
    "StateChanged",
    "SubagentEnded",
    "SubagentStarted",
    "Submission",
    "SubmitResult",
    "Submitted",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Tools",
    "Tried",
    "TurnEnded",
    "TurnStarted",
    "TurnState",
    "Uncertain",
    "Unusable",
    "Versions",
    "Warned",
    "nothing_owed",
    "unsure",
    "version_in",
]
