"""Claude Code as a provider. Facts about the program were taken on 2.1.197.

provider    checks, plans and connects             process     one running program: submit, find, hook, interrupt
home        the user's own files, read only        turns       hooks + state file + transcript -> events (pure)
launch      command line, environment, settings    transcript  what the records say of a message (pure)
hook_client what runs as a command hook            state_file  the program's own idle, busy, waiting
rewake      rung one: the background poller        paste       rung two: the guarded paste
screen      input row, dialogs, last words (pure)  mentions    what a paste means beside its words
"""

from relay_runner.providers.claude.provider import ClaudeProvider

__all__ = ["ClaudeProvider"]
