"""Codex as a provider, through its app-server. Facts about the program were taken on 0.169.0.

The program in the agent's terminal is `codex app-server`, one per agent, on a private unix socket. The runner is one
client of it; the Codex that a person sees (`relay-runner attach`) is another, started for as long as somebody looks.
Nothing is typed and nothing is read off a screen.

provider    checks, plans and connects            process     one running app-server: submit, find, interrupt
launch      program, arguments, what is shown     link        its connection, its thread, what is noticed
settings    what a thread is started with         session     handshake, thread start and resume, probes
home        the user's own files, read only       client      JSON-RPC over the socket
projection  a home of the agent's own             operations  compact, review, fork and the others
memo        what outlives one process             restarted   what the model is told after a restart
turns       notifications -> events (pure), with  status, subagents, metering, window
history     turns as the app-server lists them    rollout     what a dead app-server left on disk
family      sub-agents' threads on the server     tools       the relay's verbs for the model
approvals   what is asked of a person, by         questions, answers, forms: its shapes (pure)
prompt      how one message is put (pure)         failures    the program's errors in our words
"""

from relay_runner.providers.codex.provider import CodexProvider

__all__ = ["CodexProvider"]
