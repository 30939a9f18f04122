"""What a program inside inherits: nothing of an enclosing agent, and no keys that are not its own."""

from __future__ import annotations

from collections.abc import Mapping

# Set for the program inside an agent; a `start` that finds one of them ignores and scrubs it.
INSIDE_VARIABLE = "AGENT_RELAY_PROVIDER_SESSION_ID"
SCRUBBED_PREFIXES = ("AGENT_RELAY_", "CLAUDE_CODE_")
SCRUBBED_NAMES = frozenset({"CLAUDECODE", "AI_AGENT", "CLAUDE_PROJECT_DIR", "CLAUDE_ENV_FILE", "TMUX", "TMUX_PANE"})
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


def scrub(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without what an enclosing agent, Claude Code session or tmux left in it."""
    return {
        name: value
        for name, value in environ.items()
        if name in KEPT_NAMES or not (name in SCRUBBED_NAMES or name.startswith(SCRUBBED_PREFIXES))
    }
