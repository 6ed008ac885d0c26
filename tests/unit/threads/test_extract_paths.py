"""The grammar of extract paths."""

import pytest
from threadmill_chassis.errors import InvalidArgument
from threadmill_threads.extract import Path, parse_extract, parse_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("values", Path("values", ())),
        ("metadata.a", Path("metadata", ("a",))),
        ("values.messages[-1].content", Path("values", ("messages", -1, "content"))),
        ("values[0][10]", Path("values", (0, 10))),
        ("interrupts.0.x", Path("interrupts", ("0", "x"))),
        ("config.configurable.my key-ü", Path("config", ("configurable", "my key-ü"))),
        ("values.a'b\"c", Path("values", ("a'b\"c",))),
    ],
)
def test_good_paths(text, path):
    assert parse_path(text) == path


@pytest.mark.parametrize("text", ["", "status", "Values.a", ".values", "valuesx.a", "thread_id", "[0]", " values"])
def test_paths_start_at_a_document(text):
    with pytest.raises(InvalidArgument, match="must start with one of: config, interrupts, metadata, values"):
        parse_path(text)


@pytest.mark.parametrize(
    "text",
    ["values.", "values..a", "values[", "values[]", "values[x]", "values[1", "values[0]a", "values.a]", "values[--1]"],
)
def test_malformed_paths(text):
    with pytest.raises(InvalidArgument, match="malformed"):
        parse_path(text)


def test_indexes_and_depth_are_bounded():
    with pytest.raises(InvalidArgument, match="out of range"):
        parse_path("values[9999999999]")
    with pytest.raises(InvalidArgument, match="malformed"):
        parse_path("values" + ".a" * 65)


@pytest.mark.parametrize("alias", ["x-y", "", "1a", "a b", "a.b", "a\n"])
def test_aliases_are_identifiers(alias):
    with pytest.raises(InvalidArgument, match="must be a valid identifier"):
        parse_extract({alias: "values"})


def test_at_most_ten_paths():
    assert len(parse_extract({f"a{n}": "values" for n in range(10)})) == 10
    with pytest.raises(InvalidArgument, match="10"):
        parse_extract({f"a{n}": "values" for n in range(11)})
