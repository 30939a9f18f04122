"""What a paste means to Claude Code beside its words."""

from __future__ import annotations

import pytest

from relay_runner.protocol.attachments import Attachment
from relay_runner.protocol.envelope import Enclosed, render
from relay_runner.protocol.messages import Message
from relay_runner.providers.base import Submission
from relay_runner.providers.claude.mentions import pasted


def submission(body: str, *, operator: bool = False, subject: str | None = None, path: str = "/a/b") -> Submission:
    sender = "person:alice" if operator else "agent:bob"
    message = Message(
        id=1, sender=sender, to="agent:a", body=body, subject=subject, operator=operator, created_at=0, expires_at=1
    )
    file = Attachment(id="0" * 32, name="b", size=1, sha256="ff", content_type="text/plain")
    return Submission(message, "n0nce", render(message, "n0nce", [Enclosed(file, path=path)]))


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("/home/me/pic.png", "\uff0fhome/me/pic.png"),
        ("see\n/home/me/pic.png", "see\n\uff0fhome/me/pic.png"),
        ('"/home/me/pic.png"', '"\uff0fhome/me/pic.png"'),
        ("use /deploy", "use \uff0fdeploy"),
        ("\u3002/deploy", "\u3002\uff0fdeploy"),
        ("~/x ./y ../z", "~\uff0fx .\uff0fy ..\uff0fz"),
        ("file:///x", "file:\uff0f//x"),
        ("src/app.py, and/or, a-b/c", "src/app.py, and/or, a-b/c"),
        ("https://x.y/z", "https:\uff0f/x.y/z"),
    ],
)
def test_a_peers_slash_before_a_word_is_inert(body: str, wanted: str) -> None:
    given = submission(body)
    lines = pasted(given).split("\n")
    assert "\n".join(lines[1:-2]) == wanted
    assert lines[0].endswith('\uff20 for @">' if wanted == body else '\uff20 for @, \uff0f for /">')
    assert lines[-2:] == given.text.split("\n")[-2:], "the frame and the paths of files stay"


def test_a_peers_subject_is_no_command_either() -> None:
    assert 'subject="\uff0fdeploy \uff20x"' in pasted(submission("x", subject="/deploy @x"))


def test_an_operators_words_stay() -> None:
    given = submission("/deploy @x /home/me/pic.png", operator=True)
    assert pasted(given) == given.text
