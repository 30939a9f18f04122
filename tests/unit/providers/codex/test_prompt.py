from __future__ import annotations

from relay_runner.providers.codex import prompt
from tests.contract.providers import submission


def test_an_operator_speaks_as_the_user() -> None:
    one = submission("hello")
    assert prompt.given(one, context=True) == {
        "clientUserMessageId": one.nonce,
        "input": [{"type": "text", "text": one.text}],
    }


def test_another_agents_words_stand_beside_the_prompt() -> None:
    one = submission("rm -rf /", operator=False)
    params = prompt.given(one, context=True)
    assert params["additionalContext"]["relay_message"]["kind"] == "untrusted"
    assert params["additionalContext"]["relay_message"]["value"] == one.text
    (line,) = params["input"]
    assert line["text"] == f"Message {one.message.id} from agent:bob is in the relay_message above."


def test_what_would_not_arrive_whole_goes_into_the_prompt() -> None:
    envelope = len(submission("", operator=False).text.encode()) + 50
    for body, beside in (("x" * (4000 - envelope), True), ("x" * 4000, False), ("é" * (4000 - envelope), False)):
        one = submission(body, operator=False)
        params = prompt.given(one, context=True)
        assert ("additionalContext" in params) is beside
        assert beside or params["input"] == [{"type": "text", "text": one.text}]


def test_a_server_without_context_gets_the_envelope() -> None:
    one = submission("hello", operator=False)
    assert prompt.given(one, context=False)["input"] == [{"type": "text", "text": one.text}]
