"""The queue of what happened: in order, bounded, and told until it is certain that it was heard."""

from relay_runner.protocol.agents import TIMELINE_KEPT
from relay_runner.runner.timeline import Timeline


def test_everything_between_two_publications_is_told_in_order() -> None:
    timeline = Timeline("i1", lambda: 7.0)
    timeline.add("one", reason=None, code=1)
    timeline.add("two")
    told = timeline.waiting
    assert [(event.kind, event.at, event.data) for event in told] == [("one", 7.0, {"code": 1}), ("two", 7.0, {})]
    assert len({event.id for event in told}) == 2


def test_only_what_was_confirmed_is_forgotten() -> None:
    timeline = Timeline()
    timeline.add("one")
    told = timeline.waiting
    timeline.add("two")
    timeline.confirmed(told)
    assert [event.kind for event in timeline.waiting] == ["two"]


def test_of_too_many_the_oldest_are_dropped() -> None:
    timeline = Timeline()
    for number in range(TIMELINE_KEPT + 3):
        timeline.add(str(number))
    assert [event.kind for event in timeline.waiting] == [str(n) for n in range(3, TIMELINE_KEPT + 3)]
