"""`typing.TypedDict` for pydantic, which on Python 3.11 takes only the one of typing_extensions.

Most graphs declare their state with the standard one, so without this they would have no schemas there.
"""

import types
import typing
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin

import typing_extensions


def modern(kind: Any, inside: tuple[Any, ...] = ()) -> Any:
    """`kind` with every standard TypedDict in it replaced by an equal one that pydantic accepts."""
    if typing.is_typeddict(kind):
        return Any if kind in inside else _rebuilt(kind, (*inside, kind))
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is None or not arguments:
        return kind
    if origin is Annotated:
        return Annotated[(modern(arguments[0], inside), *arguments[1:])]
    replaced = tuple(modern(argument, inside) for argument in arguments)
    if replaced == arguments:
        return kind
    return Union[replaced] if origin in (Union, types.UnionType) else origin[replaced]  # noqa: UP007 - of a tuple


def _rebuilt(kind: Any, inside: tuple[Any, ...]) -> Any:
    fields = {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        bare = get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint
        field = modern(bare, inside)
        fields[name] = field if name in kind.__required_keys__ else NotRequired[field]
    return typing_extensions.TypedDict(kind.__name__, fields)  # type: ignore[operator]  # made at run time
