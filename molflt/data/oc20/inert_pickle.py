"""Read a pickle as data: a tree of plain values and names, nothing is ever called.

A pickle is a program whose instructions import names and call them, so that loading a
stranger's file runs a stranger's program. This interpreter executes only the
instructions that move values about; where the program would import, it notes the name
(out of a closed list), where it would call, it notes what and with which arguments.
No object of Python is made but numbers, strings, bytes, lists, tuples, dicts and the
three note classes below; whoever reads the tree decides what a note means.
"""

import pickletools
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from molflt.errors import InputError


class Name(NamedTuple):
    """An import that was not made."""

    module: str
    name: str


class Reference(NamedTuple):
    """A persistent id: a pointer to data kept outside the pickle."""

    key: Any


@dataclass(eq=False)
class Call:
    """A call that was not made: `function(*arguments)`, and the state set after it."""

    function: "Name | Call"
    arguments: tuple[Any, ...]
    state: Any = None
    built: bool = field(default=False, repr=False)


class PickleRefusedError(InputError):
    """The pickle asks for something that is not on the list, or is damaged."""


NONSENSE = (
    *(ValueError, TypeError, LookupError, AttributeError, EOFError),
    *(OverflowError, RecursionError, MemoryError),
)
"""What values of a wrong kind, size or depth do to code that expects others."""

MAPPINGS = frozenset(
    {Name("collections", "OrderedDict"), Name("collections", "defaultdict")}
)
"""Calls of these become plain dicts; their items follow as instructions."""

_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
    *("FLOAT", "BINFLOAT", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


def interpret(stream: BinaryIO, allowed: Collection[Name], where: str) -> Any:
    """Read one pickle from the stream, up to and including its STOP.

    Args:
        stream: Where the pickle begins.
        allowed: Names that may be imported; compared whole, module and name.
        where: File and record, for errors.

    Returns:
        The tree: plain values, `Name`, `Call`, `Reference`.

    Raises:
        PickleRefusedError: Another name (given in the message), another instruction, or
            a damaged pickle.
    """
    machine = _Machine(allowed, where)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except PickleRefusedError:
        raise
    except NONSENSE as error:
        # Whatever a damaged pickle does to the readers of arguments and to the stack.
        reason = str(error)[:200]
        raise PickleRefusedError(f"{where}: damaged pickle ({reason}).") from error
    raise PickleRefusedError(f"{where}: damaged pickle (it does not end).")


class _Machine:
    """Stack and memo of one pickle."""

    def __init__(self, allowed: Collection[Name], where: str) -> None:
        self._allowed = allowed
        self._where = where
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, operation: str, argument: Any) -> None:
        """Execute one instruction."""
        if operation in ("PROTO", "FRAME"):
            return
        if operation in _VALUES:
            self._stack.append(argument)
        elif operation in _CONSTANTS:
            self._stack.append(_CONSTANTS[operation])
        elif operation in _TUPLES:
            self._stack.append(self._pop_many(_TUPLES[operation]))
        elif operation == "MARK":
            self._stack.append(_MARK)
        elif operation.startswith("EMPTY_") and operation != "EMPTY_SET":
            empty = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict}
            self._stack.append(empty[operation]())
        elif operation in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[int(argument)] = self._stack[-1]
        elif operation == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif operation in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[int(argument)])
        else:
            self._compose(operation, argument)

    def pop(self) -> Any:
        """Take the top of the stack, which must be a value."""
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("unexpected mark")
        return value

    def _compose(self, operation: str, argument: Any) -> None:
        if operation == "TUPLE":
            self._stack.append(tuple(self._pop_to_mark()))
        elif operation == "LIST":
            self._stack.append(self._pop_to_mark())
        elif operation == "DICT":
            items = self._pop_to_mark()
            self._stack.append(_pairs(items))
        elif operation in ("APPEND", "APPENDS"):
            items = [self.pop()] if operation == "APPEND" else self._pop_to_mark()
            self._top(list).extend(items)
        elif operation in ("SETITEM", "SETITEMS"):
            one = operation == "SETITEM"
            items = list(self._pop_many(2)) if one else self._pop_to_mark()
            self._top(dict).update(_pairs(items))
        elif operation in ("GLOBAL", "STACK_GLOBAL"):
            pair = argument.split(" ") if argument else self._pop_many(2)
            self._stack.append(self._name(*pair))
        elif operation in ("REDUCE", "NEWOBJ"):
            self._note_call()
        elif operation == "BUILD":
            state = self.pop()
            target = self._top(Call)
            if target.built:
                raise ValueError("an object whose state is set twice")
            target.state, target.built = state, True
        elif operation == "BINPERSID":
            self._stack.append(Reference(self.pop()))
        else:
            raise PickleRefusedError(
                f"{self._where}: the pickle uses {operation}, which no record needs; "
                "it was not executed."
            )

    def _name(self, module: Any, name: Any) -> Name:
        found = Name(module, name)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("a name that is no text")
        if found not in self._allowed:
            raise PickleRefusedError(
                f"{self._where}: the pickle asks for {module}.{name}, which is not on "
                "the list of what a record may hold; it was not executed."
            )
        return found

    def _note_call(self) -> None:
        function, arguments = self._pop_many(2)
        if not isinstance(function, Name | Call) or not isinstance(arguments, tuple):
            raise ValueError("a call of something that is no function")
        mapping = isinstance(function, Name) and function in MAPPINGS
        self._stack.append({} if mapping else Call(function, arguments))

    def _top(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise ValueError(f"no {kind.__name__} where one is needed")
        return self._stack[-1]

    def _pop_many(self, count: int) -> tuple[Any, ...]:
        return tuple(self.pop() for _ in range(count))[::-1]

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            items.append(value)
        return items[::-1]


def _pairs(items: list[Any]) -> dict[Any, Any]:
    # The hash of a deeply nested tuple would overflow the stack of the process.
    if any(type(key) not in (str, int) for key in items[::2]):
        raise ValueError("a key that is neither text nor number")
    return dict(zip(items[::2], items[1::2], strict=True))
