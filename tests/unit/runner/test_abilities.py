"""What is said to be possible is what is enforced."""

import pytest

from relay_runner.providers.base import Capabilities
from relay_runner.runner.abilities import abilities, lifecycle


@pytest.mark.parametrize(
    ("capabilities", "mode", "rights"),
    [
        (Capabilities(), "ask", {"files": "write", "shell": "full"}),
        (Capabilities(), "read-only", {"files": "read", "shell": "none"}),
        (Capabilities(read_only_shell=True), "read-only", {"files": "read", "shell": "sandboxed"}),
        (Capabilities(read_only_shell=True), "bypass", {"files": "write", "shell": "full"}),
        (Capabilities(session_files=False, session_shell=False), "ask", {"files": "none", "shell": "none"}),
        (Capabilities(session_files=False, session_shell=False), "read-only", {"files": "none", "shell": "none"}),
    ],
)
def test_the_rights_of_a_session_follow_from_its_mode(
    capabilities: Capabilities, mode: str, rights: dict[str, str]
) -> None:
    assert abilities(capabilities, mode, False)["session"] == rights


def test_only_what_the_provider_declares_is_said() -> None:
    assert not lifecycle(Capabilities())["interrupt"] and lifecycle(Capabilities(interrupt=True))["interrupt"]
    found = abilities(Capabilities(compact=True, viewer=True), "ask", True)
    assert found["context"] == {"stats": True, "compact": True, "clear": False, "inject": False}
    assert found["terminal"] == {"attach": True, "viewer": True}
