"""What clients may know of an exception (contract: streaming.md, error message masking)."""

import pytest
from langgraph.errors import EmptyInputError, GraphRecursionError, InvalidUpdateError
from pydantic import BaseModel, ValidationError
from threadmill_runs.executor.running.failures import MASKED, describe


class HTTPException(Exception):
    def __init__(self, status_code, detail):
        super().__init__("secret")
        self.status_code = status_code
        self.detail = detail


class Home(Exception):
    """A class of the application's own."""


class OwnValueError(ValueError):
    """A class of the application's own, of a kind that is shown."""


def validation_error():
    class Model(BaseModel):
        number: int

    with pytest.raises(ValidationError) as caught:
        Model(number="x")
    return caught.value


SHOWN = [
    ValueError("text"),
    TypeError("text"),
    RuntimeError("text"),
    TimeoutError("text"),
    NotImplementedError("text"),
    OwnValueError("text"),
    GraphRecursionError("text"),
    InvalidUpdateError("text"),
    EmptyInputError("text"),
]


@pytest.mark.parametrize("error", SHOWN, ids=lambda error: type(error).__name__)
def test_shown(error):
    assert describe(error) == {"error": type(error).__name__, "message": "text"}


@pytest.mark.parametrize(
    "error",
    [Exception("secret"), OSError("secret"), AssertionError("secret"), ZeroDivisionError("secret"), Home("secret")],
    ids=lambda error: type(error).__name__,
)
def test_masked(error):
    assert describe(error) == {"error": type(error).__name__, "message": MASKED}


def test_special_cases():
    assert describe(KeyError("k")) == {"error": "KeyError", "message": "'k'"}
    assert describe(HTTPException(418, "teapot")) == {"error": "HTTPException", "message": "418: teapot"}
    assert describe(validation_error())["error"] == "ValidationError"
    assert "number" in describe(validation_error())["message"]
    unicode_error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why")
    assert "why" in describe(unicode_error)["message"]


def test_groups_are_described_by_their_first_member():
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [ValueError("first")]), TypeError("second")])
    assert describe(group) == {"error": "ValueError", "message": "first"}
