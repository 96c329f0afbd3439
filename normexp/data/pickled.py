"""The values in a pickle, without unpickling it: its program is read, and nothing that it asks for is called.

Unpickling runs what a file says. Also where nothing but numpy's arrays is let through, that is too much: numpy's own
constructors take raw memory for Python objects.
"""

from __future__ import annotations

import itertools
import pickletools
from dataclasses import dataclass
from typing import Any

NAMES = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # how protocol 2 spells bytes
}
"""What a pickle of numbers, texts and arrays calls."""

MOST = 300_000
"""Instructions: a batch of CIFAR-10 has some 30,000 to 60,000."""


@dataclass
class Call:
    """A call that the pickle asks for, not made: the function's name, its arguments, and the state that the result is to have."""

    name: str
    arguments: Any
    state: Any = None


def values(content: bytearray) -> Any:  # noqa: PLR0912 - a branch an instruction
    """The value of a pickle of protocol 2 to 4 that has texts, bytes, integers, lists, tuples, dictionaries and arrays, each
    array as the Call that makes it. Raises ValueError for all else, and nearly anything for a damaged pickle."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    argument: Any
    for opcode, argument, _ in itertools.islice(pickletools.genops(content), MOST):
        match opcode.name:
            case "BININT1" | "BININT2" | "BININT" | "LONG1":
                stack.append(argument)
            case "SHORT_BINSTRING" | "BINSTRING" | "SHORT_BINUNICODE" | "BINUNICODE" | "SHORT_BINBYTES" | "BINBYTES":
                stack.append(argument)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_TUPLE":
                stack.append({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}[opcode.name]())
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(_above(stack, marks.pop())))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(_above(stack, len(stack) - int(opcode.name[-1]))))
            case "APPEND" | "APPENDS":
                added = _above(stack, marks.pop() if opcode.name == "APPENDS" else len(stack) - 1)
                stack[-1].extend(added)
            case "SETITEM" | "SETITEMS":
                added = _above(stack, marks.pop() if opcode.name == "SETITEMS" else len(stack) - 2)
                if not all(isinstance(key, str) for key in added[::2]):  # others can take for ever to hash
                    raise ValueError("it has a key that is no text")
                stack[-1].update(zip(added[::2], added[1::2], strict=True))
            case "GLOBAL":
                stack.append(_function(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(_function(*_above(stack, len(stack) - 2)))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(Call(stack.pop().name, arguments))
            case "BUILD":
                state = stack.pop()
                stack[-1].state = state
            case "STOP":
                return stack.pop()
            case "PROTO" | "FRAME":
                pass
            case name:
                raise ValueError(f"it has the instruction {name}")
    raise ValueError("it is too long")


def _function(module: Any, name: Any) -> Call:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise ValueError("it asks for what has no name")
    if (module, name) not in NAMES:
        raise ValueError(f"it asks for {module}.{name}")
    return Call(name, None)


def _above(stack: list[Any], place: int) -> list[Any]:
    """Take all from that place on from the stack."""
    above = stack[place:]
    del stack[place:]
    return above
