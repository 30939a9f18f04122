"""What a program inside inherits: nothing of an enclosing agent, and no keys that are not its own."""

from __future__ import annotations

from collections.abc import Mapping

# Set for the program inside an agent; a `start` that finds one of them ignores and scrubs it.
INSIDE_VARIABLE = "AGENT_RELAY_PROVIDER_SESSION_ID"
SCRUBBED_PREFIXES = ("AGENT_RELAY_", "CLAUDE_CODE_")
SCRUBBED_NAMES = frozenset(
    {
        "AI_AGENT",
        "CLAUDECODE",
        "CLAUDE_EFFORT",
        "CLAUDE_ENV_FILE",
        "CLAUDE_PID",
        "CLAUDE_PLUGIN_DATA",
        "CLAUDE_PLUGIN_ROOT",
        "CLAUDE_PROJECT_DIR",
        "TMUX",
        "TMUX_PANE",
    }
)
# What a person sets on purpose and Claude Code needs, although it has the prefix of the session markers.
KEPT_NAMES = frozenset(
    {
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_VERTEX",
        "CLAUDE_CODE_USE_FOUNDRY",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
        "CLAUDE_CODE_MAX_RETRIES",
        "CLAUDE_CODE_API_KEY_HELPER_TTL_MS",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "CLAUDE_CODE_SANDBOXED",
    }
)
CREDENTIALS = frozenset(
    {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_FOUNDRY_API_KEY",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AZURE_OPENAI_API_KEY",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CODEX_API_KEY",
        "COHERE_API_KEY",
        "DEEPSEEK_API_KEY",
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "GROQ_API_KEY",
        "MISTRAL_API_KEY",
        "OPENAI_API_KEY",
        "OPENROUTER_API_KEY",
        "XAI_API_KEY",
    }
)
"""Keys of models. A headless program gets those of its own provider only: its spawner may hold many."""
UNPROXIED_VARIABLES = ("NO_PROXY", "no_proxy")
"""Programs read one or the other."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERY_HOST = "*"


def scrub(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without what an enclosing agent, Claude Code session or tmux left in it."""
    return {
        name: value
        for name, value in environ.items()
        if name in KEPT_NAMES or not (name in SCRUBBED_NAMES or name.startswith(SCRUBBED_PREFIXES))
    }


def unproxied(*environs: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep loopback away from a proxy, with what these environments already exclude.

    A proxy cannot reach this machine's loopback, so hooks and relay calls that go to it would be lost. The variables
    are set without a proxy as well: a program may learn of one later, from its own settings.
    """
    words = (environ.get(name, "") for environ in environs for name in UNPROXIED_VARIABLES)
    hosts = list(dict.fromkeys(host for word in words for host in word.replace(",", " ").split()))
    # Only alone does `*` mean every host.
    value = EVERY_HOST if EVERY_HOST in hosts else ",".join(dict.fromkeys((*hosts, *LOOPBACK)))
    return dict.fromkeys(UNPROXIED_VARIABLES, value)
