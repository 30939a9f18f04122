import json
from pathlib import Path

import pytest

from relay_runner.providers.demo_agent.question import Question, question_of, take_answer


@pytest.mark.parametrize(
    ("word", "rest", "line"),
    [
        ("ask", "to go?", "Allow: to go? [y/n]"),
        ("ask:", "", "Allow: this? [y/n]"),
        ("choose", "red|blue the colour", "the colour? [1=red 2=blue n=none]"),
        ("choose", "red|blue", "which one? [1=red 2=blue n=none]"),
    ],
)
def test_what_it_asks(word: str, rest: str, line: str) -> None:
    question = question_of(word, rest)
    assert question is not None and question.line == line


def test_other_words_ask_nothing() -> None:
    assert question_of("asking", "x") is None


def test_keys_answer() -> None:
    plain, choice = Question("it"), Question("it", ("red", "blue"))
    assert plain.typed("Y") == {"decision": "approve"} and plain.typed("n") == {"decision": "deny"}
    assert plain.typed("1") is None and choice.typed("3") is None and choice.typed("0") is None
    answer = choice.typed("2")
    assert answer is not None and choice.said(answer) == "chosen: blue"
    assert choice.said(choice.first()) == "chosen: red" and plain.said(plain.first()) == "allowed: it"
    assert plain.said({"decision": "deny", "reason": "not now"}) == "denied: it (not now)"


def test_a_file_answers_its_own_question_once(tmp_path: Path) -> None:
    file, question = tmp_path / "s.answer", Question("it")
    assert take_answer(file, question) is None
    file.write_text(json.dumps({"id": "another", "decision": "approve"}))
    assert take_answer(file, question) is None and not file.exists()
    answer = {"id": question.id, "decision": "approve-session", "reason": None}
    file.write_text(json.dumps(answer))
    assert take_answer(file, question) == answer
    assert take_answer(file, question) is None
    file.write_text("{torn")
    assert take_answer(file, question) is None
