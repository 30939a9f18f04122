"""Profiles as files: found by name or path, put on their bases, with every path in them made absolute."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from relay_runner import config
from relay_runner.errors import ConfigError
from relay_runner.protocol.profiles import Profile, merged, profile_of

FOLDER = "profiles"
"""In the folder of the settings; a profile there is called by its name alone."""
SUFFIX = ".toml"


def load(name: str, paths: config.Paths, cwd: Path | None = None) -> Profile:
    """Return the profile of that name or file; raise `ConfigError` with one line that says what is wrong, and where."""
    file = _find(name, paths, cwd or Path.cwd())
    table = _table(file, paths, ())
    profile = profile_of(table, str(file))
    return replace(profile, name=profile.name or file.stem)


def known(paths: config.Paths) -> list[str]:
    """Return the names of the user's profiles."""
    return sorted(file.stem for file in (paths.config / FOLDER).glob(f"*{SUFFIX}"))


def _find(name: str, paths: config.Paths, folder: Path) -> Path:
    if "/" in name or name.endswith(SUFFIX):
        return (folder / Path(name).expanduser()).resolve()
    file = paths.config / FOLDER / f"{name}{SUFFIX}"
    if not file.is_file():
        names = ", ".join(known(paths))
        hint = f"yours are {names}" if names else f"profiles stand in {file.parent}, or are named by their file"
        raise ConfigError(f"there is no profile {name!r}", hint=hint)
    return file.resolve()


def _table(file: Path, paths: config.Paths, above: tuple[Path, ...]) -> dict[str, Any]:
    """Return a profile's tables with those of its bases under them."""
    if file in above:
        chain = " -> ".join(one.name for one in (*above[above.index(file) :], file))
        raise ConfigError(f"profiles go round in a circle: {chain}", hint="take one `base` away")
    own = _own(file)
    base = own.get("base")
    if not isinstance(base, str):
        return own  # none, or a wrong type, which is said where all types are looked at
    under = _table(_find(base, paths, file.parent), paths, (*above, file))
    under.pop("name", None)
    return merged(under, own)


def _own(file: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the profile {file} ({error.strerror})") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} is not TOML: {error}") from error
    profile_of(table, str(file))  # each file for itself, so that the one that is wrong is named
    for key in ("skills", "plugins"):
        if key in table:
            table[key] = [_folder(str(name), file) for name in table[key]]
    instructions = table.get("instructions", {})
    if "append" in instructions:
        instructions["append"] = [_text(text, file) for text in instructions["append"]]
    if "system" in instructions:
        instructions["system"] = _text(instructions["system"], file)
    return table


def _folder(name: str, file: Path) -> str:
    folder = (file.parent / Path(name).expanduser()).resolve()
    if not folder.is_dir():
        raise ConfigError(f"{file}: there is no folder {folder}", hint="paths in a profile start at its own folder")
    return str(folder)


def _text(text: str, file: Path) -> str:
    """Return a text, or what stands in the file that it names by `@`."""
    if not text.startswith("@"):
        return text
    source = (file.parent / Path(text[1:]).expanduser()).resolve()
    try:
        return source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{file}: cannot read {source} ({why})") from error
