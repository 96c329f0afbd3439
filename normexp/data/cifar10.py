"""CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 color images of 32x32 pixels, in torchvision's layout.

The files are pickles, and unpickling can run arbitrary code. Allowing only numpy's arrays would not be safe either, since numpy's
constructors can interpret raw memory as Python objects. Here, the pickle's instructions are interpreted, and function calls are
recorded but not made.
"""

import hashlib
import itertools
import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normexp.config import ConfigError, DataConfig, show
from normexp.data.base import Arrays, DataSet, Images, Labels
from normexp.data.cache import CacheSpec, Reader, cached
from normexp.data.download import fetch

# md5 of each file as published at https://www.cs.toronto.edu/~kriz/cifar.html (listed in torchvision.datasets.CIFAR10).
MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}

MAX_BYTES = 10_000  # per image, three times as much as in a published file
MAX_INSTRUCTIONS = 30  # per image; the published pickles have 3 to 6

# Functions that pickles of numbers, strings and arrays call.
FUNCTIONS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # bytes, in protocol 2
}


@dataclass(frozen=True, kw_only=True)
class Cifar10Config(DataConfig):
    verify: bool


def load(config: Cifar10Config, folder: Path) -> Arrays:
    fetch("CIFAR10", folder, files=[folder / "cifar-10-batches-py" / file for file in MD5])
    files = {file: (10_000, md5) for file, md5 in MD5.items()}
    return load_pickles(
        folder, "cifar-10-batches-py", files, name="CIFAR10", labels="labels", classes=10, verify=config.verify
    )


def load_pickles(
    folder: Path,
    inner: str,
    files: Mapping[str, tuple[int, str]],
    *,
    name: str,
    labels: str,
    classes: int,
    verify: bool,
) -> Arrays:
    """Load pickles in CIFAR's format; the last one is the test set.

    files: number of images and md5 of each. name: of the cache. labels: key of the labels, 0 to classes - 1.
    """
    sources = [folder / inner / file for file in files]
    counts = [count for count, _ in files.values()]
    total, train = sum(counts), sum(counts[:-1])

    def decode(read: Reader) -> Arrays:
        import numpy as np

        images, targets = np.empty((total, 3, 32, 32), dtype=np.uint8), np.empty(total, dtype=np.int64)
        start = 0
        for file, (count, md5) in zip(sources, files.values(), strict=True):
            part = slice(start, start + count)
            batch = _batch(file, md5 if verify else None, read, count=count, labels=labels, classes=classes)
            images[part], targets[part] = batch
            start += count
        return Arrays(images[:train], targets[:train], images[train:], targets[train:], scale=255)

    shapes = (train, 3, 32, 32), (total - train, 3, 32, 32)
    spec = CacheSpec(name=name, train=shapes[0], test=shapes[1], classes=classes, verified=verify)
    return cached(spec, folder, sources, decode)


def _batch(
    path: Path, md5: str | None, read: Reader, *, count: int, labels: str, classes: int
) -> tuple[Images, Labels]:
    """Read images uint8 (count, 3, 32, 32) and labels (count,) of a file. Raises ConfigError if it is not as published."""
    import numpy as np

    content = read(path, max_bytes=MAX_BYTES * count)
    if md5 is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise ConfigError(
            f"{path} differs from the published file (md5). Delete the folder to download it again, or set data.verify=false "
            "to use it anyway."
        )
    try:
        batch = pickled_value(content, max_instructions=MAX_INSTRUCTIONS * count)
        pixels, values = _pixels(batch["data"], count), batch[labels]
    except Exception as error:  # a damaged pickle can raise nearly anything
        reason = show(str(error) or type(error).__name__)
        raise ConfigError(f"{path} is not a CIFAR-{classes} batch ({reason}).") from error
    complete = len(pixels) == count * 3072 and isinstance(values, list) and len(values) == count
    if not complete or not all(type(label) is int and 0 <= label < classes for label in values):
        raise ConfigError(
            f"{path} is damaged: expected {count:,} images of 32x32 pixels with labels 0 to {classes - 1}."
        )
    images = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, 3, 32, 32)
    return images, np.array(values, dtype=np.int64)


def _pixels(array: Any, count: int) -> bytes:
    """Bytes of a pickled uint8 array (count, 3072). Empty for any other shape or type."""
    match array:
        case Call("_reconstruct", state=(1, (rows, 3072), Call("dtype", ("u1", *_)), False, content)) if rows == count:
            match content:
                case bytes():
                    return content
                case str():  # bytes in Python 2
                    return content.encode("latin1")
                case Call("encode", (str() as text, "latin1")):
                    return text.encode("latin1")
    return b""


@dataclass
class Call:
    """A function call in a pickle: name, arguments, and the state to set on the result."""

    name: str
    arguments: Any
    state: Any = None


POPPED = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2, "STACK_GLOBAL": 2}
"""Number of items that instructions pop from the stack. TUPLE, APPENDS and SETITEMS pop all down to the last mark."""


def pickled_value(content: bytearray, *, max_instructions: int) -> Any:  # noqa: PLR0912 - a branch per instruction
    """Decode a pickle (protocol 2 to 4) of strings, bytes, integers, lists, tuples, dictionaries and arrays. Arrays are returned
    as the Call that would create them. Raises ValueError for anything else; damage can raise any error."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    argument: Any
    for opcode, argument, _ in itertools.islice(pickletools.genops(content), max_instructions):
        items: list[Any] = []
        if opcode.name in ("TUPLE", "APPENDS", "SETITEMS", *POPPED):
            start = len(stack) - POPPED[opcode.name] if opcode.name in POPPED else marks.pop()
            items = stack[start:]
            del stack[start:]
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
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(items))
            case "APPEND" | "APPENDS":
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                if not all(isinstance(key, str) for key in items[::2]):  # hashing anything else could take forever
                    raise ValueError("a key is not a string")
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case "GLOBAL" | "STACK_GLOBAL":
                stack.append(_function(*(items if argument is None else argument.split(" ", 1))))
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
            case unknown:
                raise ValueError(f"unexpected instruction {unknown}")
    raise ValueError("too many instructions")


def _function(module: Any, name: Any) -> Call:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise ValueError("the name of a function is not a string")
    if (module, name) not in FUNCTIONS:
        raise ValueError(f"it calls {module}.{name}")
    return Call(name, None)


ENTRY = DataSet(
    name="cifar10",
    title="CIFAR-10",
    config=Cifar10Config,
    shape=(3, 32, 32),
    classes=10,
    train_samples=50_000,
    test_samples=10_000,
    epochs=10,
    pad=4,
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    load=load,
)
