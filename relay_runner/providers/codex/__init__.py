"""Codex as a provider, through its app-server. Facts about the program were taken on 0.169.0.

The program in the agent's terminal is `codex app-server`, one per agent, on a private unix socket. The runner is one
client of it; the Codex that a person sees (`relay-runner attach`) is another, started for as long as somebody looks.
Nothing is typed and nothing is read off a screen.

provider  checks, plans and connects             process    one running app-server: submit, find, interrupt
home      the user's own files, read only        link       its connection, its thread, what is noticed
launch    program, arguments, thread settings    session    handshake, thread start and resume, capability probe
client    JSON-RPC over the socket               turns      notifications -> events (pure)
prompt    how one message is put (pure)          subagents  which threads work under the agent's (pure), and
failures  the program's errors in our words      family     how they are found on the server
history   turns as the app-server lists them     approvals  what is asked of a person, and its answers, by
rollout   what a dead app-server left on disk    questions, answers, forms  their shapes (pure)
tools     the relay's verbs for the model
"""

from relay_runner.providers.codex.provider import CodexProvider

__all__ = ["CodexProvider"]
