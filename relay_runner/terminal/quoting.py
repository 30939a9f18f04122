"""Text that tmux is given, made literal: each function is for one place in which tmux would read more into it.

tmux expands many arguments as formats, in which `#(command)` runs a shell: start directories, names and titles,
messages, options of the status line. So a folder's name never goes through tmux (our script enters it), and what is
shown goes through `literal`. The tests hold each against the real program.
"""

from __future__ import annotations


def literal(text: str) -> str:
    """Return a format that shows `text`: no `#(...)`, `#{...}` or `#[...]` in it means anything, nor does a `%H`."""
    return "".join(letter for letter in text if letter.isprintable()).replace("#", "##").replace("%", "%%")


def quoted(text: str) -> str:
    """Return one word of a settings file; in single quotes nothing but a single quote means anything."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def word(text: str) -> str:
    """Return one word of a command line: a semicolon at its end would begin the next command."""
    return f"{text[:-1]}\\;" if text.endswith(";") else text
