"""Paths of `store.index.fields`: which texts of a value they name; checked against LangGraph's own reading of them."""

from typing import Any

import pytest
from langgraph.store.base import get_text_at_path
from threadmill_store.semantic.texts import texts_of

VALUE: dict[str, Any] = {
    "title": "tea",
    "count": 3,
    "ratio": 1.5,
    "open": True,
    "none": None,
    "blank": "  ",
    "author": {"name": "ü", "born": {"year": 1900}},
    "items": [{"text": "a"}, {"text": "b", "tags": ["x", "y"]}, "plain"],
    "matrix": [[1, 2], [3]],
}


@pytest.mark.parametrize(
    "path",
    [
        "$", "title", "count", "ratio", "open", "none", "missing", "author", "author.name", "author.born.year",
        "author.missing.year", "title.deeper", "items", "items[0]", "items[0].text", "items[-1]", "items[9].text",
        "items[-9]", "items[x]", "items[*].text", "items[1].tags[*]", "items[*].tags[0]", "title[0]", "author.*",
        "*.name", "items.*.text", "{title,count}", "{title,missing,author.name}", "author.{name,born}", "matrix[0][1]",
        "matrix[*][0]",
    ],
)  # fmt: skip
def test_a_path_names_what_it_names_for_langgraph(path: str) -> None:
    assert texts_of(VALUE, [path]) == [text for text in get_text_at_path(VALUE, path) if text.strip()]


def test_texts_come_in_the_order_of_the_paths_each_once_and_never_blank() -> None:
    assert texts_of({"a": "x", "b": ["y", "x", ""], "c": " "}, ["b[*]", "a", "c", "a"]) == ["y", "x"]


def test_no_paths_name_no_texts() -> None:
    assert texts_of(VALUE, []) == []


def test_a_leading_dollar_stands_for_the_value() -> None:
    assert texts_of(VALUE, ["$.author.name"]) == ["ü"]


@pytest.mark.parametrize("path", ["", "[", "{", "]", "}", "..", "a[", "a{b", "[[0]]", "{}", "{,}", "*[*].*"])
def test_odd_paths_find_nothing_bad(path: str) -> None:
    assert isinstance(texts_of(VALUE, [path]), list)
