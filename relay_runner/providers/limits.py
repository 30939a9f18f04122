"""When a limit ends, from whatever a model's side tells of it: headers, structured errors, or words.

Everything here is pure: `now` goes in, an instant in epoch seconds comes out, or None where nothing was told. Nothing
is clamped: how long a queue is held at least and at most is the runner's business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EPOCH = (1_000_000_000, 4_000_000_000)
"""Numbers between these are instants in seconds; a thousand times as large, in milliseconds. 2001 to 2096."""
LONGEST_S = 366 * 24 * 3600.0
"""A wait longer than this was not meant as one."""

_UNITS = {
    "ms": 0.001, "millisecond": 0.001, "s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0,
    "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0, "w": 604800.0, "week": 604800.0,
}  # fmt: skip
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

_UNIT = r"(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)\b"
# Bounded, so that no text is gone over again and again: no wait is told in more digits or behind more blanks.
_PIECE = rf"(?<!\d)(\d{{1,20}}(?:\.\d{{1,20}})?)\s{{0,9}}({_UNIT[3:-3]})(?![a-z])"
_PIECES = re.compile(_PIECE, re.IGNORECASE)
_SPAN = re.compile(
    rf"\b(?:in|after|for|wait)\s{{1,9}}(?:(?:about|approximately|another)\s{{1,9}})?((?:{_PIECE}[\s,]{{0,9}}(?:and\s{{1,9}})?){{1,9}})",
    re.IGNORECASE,
)
_WHOLE = re.compile(rf"(?:{_PIECE}\s{{0,9}}){{1,9}}", re.IGNORECASE)
_PIPED = re.compile(r"\|(\d{10}(?:\d{3})?)\b")
_RESET = re.compile(r"-reset(-at)?")
_LAST_RESET = re.compile(r"-reset(-at)?$")
_ANCHOR = re.compile(r"\b(?:try again|retry|resets?|reset|wait|available|until)\b", re.IGNORECASE)
_REACH = 100
"""How many characters after such a word are about it."""
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s?(?:Z|UTC|[+-]\d{2}:?\d{2})?")
_NUMBER = re.compile(r"(?<![\d.,])(\d{10}(?:\d{3})?)(?:\.\d+)?(?![\d,])")
_DATE = re.compile(
    rf"\b({'|'.join(_MONTHS)})[a-z]*\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(\d{{4}})\b(?!\s*[:ap]))?", re.IGNORECASE
)
_WEEKDAY = re.compile(rf"\b({'|'.join(_DAYS)})(?:day|sday|nesday|rsday|urday)?\b", re.IGNORECASE)
_CLOCK = re.compile(
    r"(?<![\d:.])(\d{1,2})(?::(\d{2})(?::\d{2})?\s*([ap])\.?m\b|:(\d{2})(?!\d)|\s*([ap])\.?m\b)", re.IGNORECASE
)
_ZONE = re.compile(r"\(([A-Za-z]+(?:[/_+-][A-Za-z0-9]+)*)\)|\b(UTC|GMT)\b")

_UNTIL_KEYS = ("resets_at", "resetsAt", "reset_at", "resetAt", "resets", "reset", "retry_at", "retryAt")
_SECONDS_KEYS = (
    "resets_in_seconds", "resetsInSeconds", "reset_after_seconds", "resetAfterSeconds", "retry_after", "retryAfter",
    "retry_after_seconds", "retryAfterSeconds",
)  # fmt: skip
_RESET_HEADER = re.compile(
    r"(?:^|-)(?:ratelimit|rate-limit|codex-(?:primary|secondary))(?:-\w+)*-(?:reset|reset-at)(?:-\w+)?$"
)


def instant(value: object, zone: tzinfo | None = None) -> float | None:
    """Return the instant that a number (epoch seconds or milliseconds) or an ISO text means."""
    if isinstance(value, str):
        text = value.strip()
        if found := _ISO.fullmatch(text):
            return _iso(found[0], zone)
        try:
            value = float(text)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    for seconds in (float(value), value / 1000.0):
        if EPOCH[0] <= seconds <= EPOCH[1]:
            return seconds
    return None


def after(value: object, now: float) -> float | None:
    """Return when a wait that is told in seconds, as a span (`6m0s`) or as an HTTP date is over: a Retry-After."""
    if isinstance(value, str):
        text = value.strip()
        if (seconds := _span(text, whole=True)) is not None:
            return _soon(seconds, now)
        try:
            value = float(text)
        except ValueError:
            return _http_date(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return _soon(float(value), now)


def from_headers(headers: Mapping[str, str], now: float) -> float | None:
    """Return when the headers of an answer say that its limit ends: Retry-After before what the windows say.

    Of several windows the latest end counts that has nothing left; where no header says what is left, the earliest.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    if "retry-after-ms" in lower and (at := after(f"{lower['retry-after-ms'].strip()}ms", now)) is not None:
        return at
    if "retry-after" in lower and (at := after(lower["retry-after"], now)) is not None:
        return at
    ends = {}
    for name, value in lower.items():
        if _RESET_HEADER.search(name) and (at := instant(value) or after(value, now)) is not None:
            ends[name] = at
    full = [at for name, at in ends.items() if _used_up(name, lower)]
    return max(full) if full else min(ends.values(), default=None)


def from_error(error: Mapping[str, Any], now: float) -> float | None:
    """Return when a structured error says that its limit ends, at any depth of it."""
    for name in _UNTIL_KEYS:
        if (at := instant(error.get(name))) is not None:
            return at
    for name in _SECONDS_KEYS:
        if (at := after(error.get(name), now)) is not None:
            return at
    found = (from_error(inner, now) for inner in error.values() if isinstance(inner, Mapping))
    return next((at for at in found if at is not None), None)


def from_text(text: str, now: float, zone: tzinfo | None = None) -> float | None:
    """Return when words say that a limit ends: `in 5 minutes`, `at Nov 21st, 2026 12:02 AM`, `resets 3pm (UTC)`.

    A time without a zone is one of `zone`, by default this machine's.
    """
    for anchor in _ANCHOR.finditer(text):
        # What follows the next such word is about that one.
        after_it = text[anchor.end() : anchor.end() + _REACH]
        following = _ANCHOR.search(after_it)
        part = text[anchor.start() : anchor.end()] + (after_it[: following.start()] if following else after_it)
        if (at := _stated(part, now, zone)) is not None:
            return at
    if (seconds := _span(text)) is not None:
        return _soon(seconds, now)
    if piped := _PIPED.search(text):  # `Claude AI usage limit reached|1763683200`
        return instant(piped[1])
    return None


def first(candidates: Iterable[float | None]) -> float | None:
    """Return the first instant that was told."""
    return next((at for at in candidates if at is not None), None)


# --- words ------------------------------------------------------------------------------------------------------------


def _stated(part: str, now: float, zone: tzinfo | None) -> float | None:
    if found := _ISO.search(part):
        return _iso(found[0], zone)
    if found := _NUMBER.search(part):
        return instant(found[1])
    date, weekday, clock = _DATE.search(part), _WEEKDAY.search(part), _CLOCK.search(part)
    span = _SPAN.search(part)
    if span and not date and (clock is None or span.start() < clock.start()):
        return _soon(_seconds(span[1]), now)
    try:
        if date:
            return _on_date(date, clock, now, _zone(part, zone))
        if weekday and clock:
            return _next(now, _zone(part, zone), clock, weekday=_DAYS.index(weekday[1].lower()))
        return _next(now, _zone(part, zone), clock) if clock else None
    except (ValueError, OverflowError):
        return None  # no such day or hour


def _on_date(date: re.Match[str], clock: re.Match[str] | None, now: float, zone: tzinfo | None) -> float:
    """Return a day of the calendar; without a year, the one of this time that is not long over."""
    hour, minute = _hour(clock) if clock else (0, 0)
    month, day = _MONTHS.index(date[1].lower()) + 1, int(date[2])
    if date[3]:
        return _epoch(datetime(int(date[3]), month, day, hour, minute), zone)
    this_year = _local(now, zone).year
    for year in (this_year, this_year + 1):
        at = _epoch(datetime(year, month, day, hour, minute), zone)
        if at > now - 180 * 86400.0:
            return at
    raise ValueError("no such day")


def _next(now: float, zone: tzinfo | None, clock: re.Match[str], *, weekday: int | None = None) -> float:
    """Return the next time that the clock shows this, perhaps on a day of the week."""
    hour, minute = _hour(clock)
    today = _local(now, zone).replace(hour=hour, minute=minute, second=0, microsecond=0, tzinfo=None)
    for days in range(9):
        day = today + timedelta(days=days)
        at = _epoch(day, zone)
        if at > now and weekday in (None, day.weekday()):
            return at
    raise ValueError("no such day")


def _hour(clock: re.Match[str]) -> tuple[int, int]:
    hour, minute = int(clock[1]), int(clock[2] or clock[4] or 0)
    half = (clock[3] or clock[5] or "").lower()
    if half and not 1 <= hour <= 12:
        raise ValueError("no such hour")
    return (hour % 12 + (12 if half == "p" else 0) if half else hour), minute


def _span(text: str, *, whole: bool = False) -> float | None:
    if whole:
        return _seconds(text) if _WHOLE.fullmatch(text) else None
    found = _SPAN.search(text)
    return _seconds(found[1]) if found else None


def _seconds(span: str) -> float:
    return sum(float(number) * _UNITS[_singular(unit)] for number, unit in _PIECES.findall(span))


def _singular(unit: str) -> str:
    unit = unit.lower()
    return unit if unit in _UNITS else unit.removesuffix("s")


def _zone(part: str, zone: tzinfo | None) -> tzinfo | None:
    found = _ZONE.search(part)
    if found is None:
        return zone
    if found[2] or found[1].upper() in ("UTC", "GMT"):
        return UTC
    try:
        return ZoneInfo(found[1])
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return zone


def _iso(text: str, zone: tzinfo | None) -> float | None:
    text = text.strip().replace(" UTC", "Z").replace("UTC", "Z")
    try:
        at = datetime.fromisoformat(text)
        return at.timestamp() if at.tzinfo else _epoch(at, zone)
    except (ValueError, OverflowError):
        return None


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, IndexError):
        return None


def _used_up(reset: str, headers: Mapping[str, str]) -> bool:
    """Say whether the window that a header gives the end of has nothing left, by the header beside it."""
    left = headers.get(_RESET.sub("-remaining", reset, count=1))
    used = headers.get(_LAST_RESET.sub("-used-percent", reset))
    try:
        return (left is not None and float(left) <= 0) or (used is not None and float(used) >= 100)
    except ValueError:
        return False


def _soon(seconds: float, now: float) -> float | None:
    return now + seconds if 0 <= seconds <= LONGEST_S else None


def _local(now: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(now, zone) if zone else datetime.fromtimestamp(now).astimezone()


def _epoch(at: datetime, zone: tzinfo | None) -> float:
    return at.replace(tzinfo=zone).timestamp()
