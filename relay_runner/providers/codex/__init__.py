"""Codex as a provider, through its app-server. Facts about the program were taken on 0.169.0.

The program in the agent's terminal is `codex app-server`, one per agent, on a private unix socket. The runner is one
client of it; the Codex that a person sees (`relay-runner attach`) is another, started for as long as somebody looks.
Nothing is typed and nothing is read off a screen.

provider  checks, plans and connects             process   one running app-server: submit, find, interrupt
home      the user's own files, read only        session   handshake, thread start and resume, capability probe
launch    program, arguments, thread settings    turns     notifications -> events (pure)
client    JSON-RPC over the socket               rollout   what a dead app-server left on disk (pure)
prompt    how one message is put (pure)
failures  the program's errors in our words      history   turns as the app-server lists them (pure)
"""

from relay_runner.providers.codex.provider import CodexProvider

__all__ = ["CodexProvider"]
