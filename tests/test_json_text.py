"""JSON of large files: what orjson refuses and Python takes, taken as before; what neither takes, refused as before."""

import json

import pytest

from fashionseg.json_text import json_bytes, parse_json


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": [1, 2.5, null, true, "\xc3\xa4"]}',
        b"\xef\xbb\xbf[1]",  # a byte order mark
        b'["caf\\ud8e9.jpg"]',  # a lone surrogate: a file name that is not UTF-8
        b"[9223372036854775807, -9223372036854775808]",
        b"[Infinity, 1e999]",
        "[1]".encode("utf-16"),
    ],
)
def test_a_text_means_what_it_means_to_python(text):
    assert parse_json(text) == json.loads(text)


def test_a_whole_number_of_more_than_64_bits_is_a_float():
    assert parse_json(b"[18446744073709551616]") == [float(2**64)]


@pytest.mark.parametrize("text", [b"", b"{", b"[1,]", b"\xff", b"1 2"])
def test_what_is_no_json_is_refused_in_the_words_of_python(text):
    with pytest.raises(ValueError) as expected:
        json.loads(text)
    with pytest.raises(type(expected.value)) as error:
        parse_json(text)
    assert str(error.value) == str(expected.value)


def test_nesting_without_end_is_refused():
    with pytest.raises((ValueError, RecursionError)):
        parse_json(b"[" * 200_000)


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True, "ä"]}, {"name": "caf\ud8e9.jpg"}, [0.1, 1e-9, 2**60]])
def test_what_is_written_is_read_back(value):
    data = json_bytes(value)
    assert data.isascii()
    assert json.loads(data) == value
    assert parse_json(data) == value
    assert b" " not in data


def test_what_is_no_json_value_is_not_written():
    with pytest.raises(TypeError):
        json_bytes({"a": object()})
