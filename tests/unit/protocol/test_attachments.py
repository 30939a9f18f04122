"""Names and types that strangers give, and what becomes of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_runner.errors import ProtocolError, RelayRefused
from relay_runner.protocol.attachments import (
    DEFAULT_TYPE,
    Attachment,
    cache_name,
    check_id,
    check_size,
    megabytes,
    safe_name,
    safe_type,
    to_header,
)

ID = "0123456789abcdef" * 2


def attachment(name: str, attachment_id: str = ID) -> Attachment:
    return Attachment(id=attachment_id, name=name, size=1, sha256="0" * 64)


@given(st.text())
def test_no_name_leads_anywhere_or_hides_itself(name: str) -> None:
    safe = safe_name(name)
    assert safe and "/" not in safe and "\\" not in safe and safe not in (".", "..")
    assert safe.isprintable() and safe[0] not in ".- " and len(safe.encode()) <= 120
    assert safe_name(safe) == safe
    assert re.fullmatch(r"0123456789ab-[A-Za-z0-9._-]+", cache_name(attachment(name)))


def test_a_long_name_keeps_its_end() -> None:
    assert safe_name("x" * 300 + ".tar.gz").endswith("x.gz")
    assert len(safe_name("x" * 300 + "." + "y" * 300)) == 120


@pytest.mark.parametrize("bad", ["", "x", ID.upper(), ID + "0", "../" + ID, ID[:-1] + "\n"])
def test_what_is_no_id_gets_near_no_path(bad: str) -> None:
    with pytest.raises(ProtocolError):
        check_id(bad)
    with pytest.raises(ProtocolError):
        cache_name(attachment("x", bad))


def test_a_type_is_a_type_or_just_bytes() -> None:
    assert safe_type("Text/Plain; charset=utf-8") == "text/plain"
    assert safe_type("application/vnd.ms-excel") == "application/vnd.ms-excel"
    for bad in (None, "", "text", "text/", "a b/c", "text/plain\r\nX: y", "../x"):
        assert safe_type(bad) == DEFAULT_TYPE


def test_a_size_is_said_so_that_a_person_reads_it() -> None:
    said = [megabytes(size) for size in (0, 1, 999, 1024, 1536, 25 * 1024 * 1024)]
    assert said == ["0 bytes", "1 byte", "999 bytes", "1 KiB", "1.5 KiB", "25 MiB"]
    check_size(10, 10)
    with pytest.raises(RelayRefused, match=r"an\.iso is larger than 10 bytes"):
        check_size(11, 10, "/home/an.iso")


def test_what_is_known_of_a_file_fits_into_a_header() -> None:
    text = to_header(attachment("Bericht für\u2028 Ann.txt"))
    assert text.isascii() and "\n" not in text
