from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.providers import limits

NOW = datetime(2026, 11, 20, 22, 57, 30, tzinfo=UTC).timestamp()
BERLIN = timezone(timedelta(hours=1))
INSTANTS = st.integers(limits.EPOCH[0], limits.EPOCH[1])


def at(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("purchase more credits or try again at Nov 21st, 2026 12:02 AM.", at(2026, 11, 21, 0, 2)),
        ("You've hit your limit · resets 3pm", at(2026, 11, 21, 15)),
        ("resets 11:30pm (UTC)", at(2026, 11, 20, 23, 30)),
        ("limit reached · resets 3:30pm (Europe/Berlin)", at(2026, 11, 21, 14, 30)),
        ("Your limit will reset at 3am (America/New_York).", at(2026, 11, 21, 8)),
        ("resets Nov 25, 9am (UTC)", at(2026, 11, 25, 9)),
        ("Weekly limit reached, resets Jan 2 at 10am", at(2027, 1, 2, 10)),
        ("resets Mon 9:00 AM", at(2026, 11, 23, 9)),
        ("try again at 23:05", at(2026, 11, 20, 23, 5)),
        ("Your quota resets at 2026-11-21T00:02:00Z", at(2026, 11, 21, 0, 2)),
        ("resets at 2026-11-21 01:02:00+01:00", at(2026, 11, 21, 0, 2)),
        ("try again in 5 minutes", NOW + 300),
        ("in 5 minutes", NOW + 300),
        ("Limit 30000, Used 29500 in 1 min. Please try again in 6.2s.", NOW + 6.2),
        ("Please retry after 30 seconds", NOW + 30),
        ("try again in 1 day 2 hours and 3 minutes", NOW + 86400 + 7200 + 180),
        ("try again in 1h30m", NOW + 5400),
        ("try again in 20ms", NOW + 0.02),
        ("wait 90 s", NOW + 90),
        ("Claude AI usage limit reached|1795219346", 1795219346.0),
        ("limit resets at 1795219346", 1795219346.0),
        ("This request would exceed your organization's rate limit of 40,000 input tokens per minute.", None),
        ("try again later", None),
        ("resets Feb 31", None),
        ("resets 13pm", None),
        ("Please visit https://example.org/3pm", None),
        ("", None),
    ],
)
def test_words(text: str, until: float | None) -> None:
    found = limits.from_text(text, NOW, UTC)
    assert (found is None) == (until is None)
    assert found == pytest.approx(until)


def test_a_time_without_a_zone_is_of_the_zone_that_was_given() -> None:
    assert limits.from_text("resets 3pm", NOW, BERLIN) == at(2026, 11, 21, 14)
    assert limits.from_text("try again at Nov 21st, 2026 12:02 AM.", NOW, BERLIN) == at(2026, 11, 20, 23, 2)


@pytest.mark.parametrize(
    ("headers", "until"),
    [
        ({"Retry-After": "30"}, NOW + 30),
        ({"retry-after": "Fri, 20 Nov 2026 23:00:00 GMT"}, at(2026, 11, 20, 23)),
        ({"retry-after-ms": "1500", "retry-after": "30"}, NOW + 1.5),
        ({"anthropic-ratelimit-requests-reset": "2026-11-20T23:00:00Z"}, at(2026, 11, 20, 23)),
        ({"anthropic-ratelimit-unified-reset": "1795219346"}, 1795219346.0),
        ({"x-ratelimit-reset-tokens": "6m0s"}, NOW + 360),
        (
            {
                "x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-requests": "3",
                "x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "0",
            },
            NOW + 360,
        ),
        (
            {
                "x-codex-primary-used-percent": "40", "x-codex-primary-reset-at": "1795219346",
                "x-codex-secondary-used-percent": "100", "x-codex-secondary-reset-at": "1795302146",
            },
            1795302146.0,
        ),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "60s"}, NOW + 1),
        ({"content-type": "text/plain", "retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
    ],
)  # fmt: skip
def test_headers(headers: dict[str, str], until: float | None) -> None:
    found = limits.from_headers(headers, NOW)
    assert (found is None) == (until is None)
    assert found == pytest.approx(until)


@pytest.mark.parametrize(
    ("error", "until"),
    [
        ({"type": "usage_limit_reached", "resets_at": 1795219346}, 1795219346.0),
        ({"error": {"resets_in_seconds": 120}}, NOW + 120),
        ({"error": {"details": {"retryAfter": "2m"}}}, NOW + 120),
        ({"resetsAt": "2026-11-20T23:00:00Z"}, at(2026, 11, 20, 23)),
        ({"resetsAt": 1795219346000}, 1795219346.0),
        ({"resets_at": None, "message": "no"}, None),
        ({"resets_at": True, "retry_after": False}, None),
    ],
)
def test_structured_errors(error: dict[str, object], until: float | None) -> None:
    assert limits.from_error(error, NOW) == until


@given(INSTANTS)
def test_an_instant_is_itself_in_every_spelling(when: int) -> None:
    iso = datetime.fromtimestamp(when, UTC).isoformat()
    for value in (when, str(when), when * 1000, iso, iso.replace("+00:00", "Z")):
        assert limits.instant(value) == when
    assert limits.from_text(f"try again at {iso}", NOW) == when
    assert limits.from_text(f"resets at {when}", NOW) == when


@given(st.integers(0, 6), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_a_span_is_added_to_now(days: int, hours: int, minutes: int, seconds: int) -> None:
    wanted = NOW + days * 86400 + hours * 3600 + minutes * 60 + seconds
    words = f"{days} days, {hours} hours, {minutes} minutes and {seconds} seconds"
    assert limits.from_text(f"try again in {words}", NOW) == pytest.approx(wanted)
    assert limits.after(f"{days}d{hours}h{minutes}m{seconds}s", NOW) == pytest.approx(wanted)


@given(st.integers(int(NOW), int(NOW) + 300 * 86400), st.sampled_from([UTC, BERLIN, timezone(-timedelta(hours=9))]))
def test_a_minute_of_the_calendar_comes_back(when: int, zone: timezone) -> None:
    minute = when - when % 60
    local = datetime.fromtimestamp(minute, zone)
    clock = local.strftime("%I:%M %p").lstrip("0")
    assert limits.from_text(f"try again at {local:%b} {local.day}, {local.year} {clock}.", NOW, zone) == minute
    if when < NOW + 180 * 86400:
        assert limits.from_text(f"resets {local:%B} {local.day} at {clock}", NOW, zone) == minute


@given(st.integers(0, 23), st.integers(0, 59))
def test_a_time_of_day_is_the_next_one(hour: int, minute: int) -> None:
    found = limits.from_text(f"resets {hour}:{minute:02}", NOW, UTC)
    assert found is not None and NOW < found <= NOW + 86400
    assert datetime.fromtimestamp(found, UTC).timetuple()[3:5] == (hour, minute)


@given(st.text(max_size=200), st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=5))
def test_whatever_is_said_it_is_an_instant_or_nothing(text: str, headers: dict[str, str]) -> None:
    anything = [limits.from_text(f"try again {text}", NOW), limits.from_headers(headers, NOW), limits.after(text, NOW)]
    assert all(at is None or isinstance(at, float) for at in anything)


def test_the_first_that_is_told_counts() -> None:
    assert limits.first([None, 2.0, 3.0]) == 2.0
    assert limits.first([]) is None
