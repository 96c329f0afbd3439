"""Malicious pickles in place of a batch of CIFAR-10."""

import os
import pickle
import struct

SOUND = b"(" + b"K\x03" * 10_000 + b"e"
"""Instructions that append the labels of a batch to an empty list."""

DEEP = 50_000
"""Levels."""


class Calls:
    """Pickled as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def text(word):
    return b"X" + struct.pack("<I", len(word.encode())) + word.encode()


def batch(data, labels=b"]" + SOUND):
    """A batch whose values are given as pickle instructions."""
    return b"\x80\x04}(" + text("data") + data + text("labels") + labels + b"u."


def call(module, name, *arguments):
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def number(value):
    size = (value.bit_length() + 8) // 8
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little")


def tuples(levels, start=b")"):
    """A tuple of two that are the same, of two that are the same, ...: traversing it takes 2**levels steps."""
    return start + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(levels))


DTYPE_O = call("numpy", "dtype", text("O8"), b"\x89", b"\x88")
U1 = call("numpy", "dtype", text("u1"), b"\x89", b"\x88")
NDARRAY = b"cnumpy\nndarray\n"
TOUCH = "touch executed"

PICKLES = {
    "os.system": pickle.dumps({"data": Calls(os.system, TOUCH)}),
    "exec": pickle.dumps({"data": Calls(exec, "open('executed', 'w')")}),
    "eval in the labels": pickle.dumps({"labels": [Calls(eval, "open('executed', 'w')")]}, 2),
    "getattr": pickle.dumps({"data": Calls(getattr, "", "join")}),
    "runstring of numpy": batch(call("numpy.testing", "runstring", text("open('executed', 'w')"), b"}")),
    "numpy.f2py": batch(call("numpy.f2py", "run_main", b"]")),
    "a dotted name": batch(text("numpy") + text("os.system") + b"\x93" + text(TOUCH) + b"\x85R"),
    "a dotted name of numpy's": batch(text("numpy") + text("ndarray.tofile") + b"\x93" + text("executed") + b"\x85R"),
    "another module of numpy's": batch(b"cnumpy.evil\n_reconstruct\n)R"),
    "load of numpy": batch(call("numpy", "load", text("x.npy"), b"N", b"\x88")),
    "memmap": batch(call("numpy", "memmap", text("executed"), text("u1"), text("w+"), b"K\x00", b"K\x09")),
    "an instruction that makes instances": b"(S'touch executed'\nios\nsystem\n.",
    "another one": b"(cos\nsystem\nS'touch executed'\no.",
    "a new object": batch(NDARRAY + b"K\x01\x85\x81"),
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"Pexecuted\n.",
    "memory as Python objects": batch(
        call("numpy", "ndarray", number(10_000) + b"\x85", DTYPE_O, b"B" + struct.pack("<I", 80_000) + b"A" * 80_000),
        call("numpy", "ndarray", number(10_000) + b"\x85", DTYPE_O, b"B" + struct.pack("<I", 80_000) + b"A" * 80_000),
    ),
    "an array of objects": batch(
        call("numpy._core.multiarray", "_reconstruct", NDARRAY, b"K\x00\x85", text("b"))
        + b"(K\x01K\x01\x85"
        + DTYPE_O
        + b"\x89]"
        + pickle.dumps(Calls(os.system, TOUCH))[2:-1]
        + b"atb"
    ),
    "a gigantic array of objects": batch(
        call("numpy._core.multiarray", "_reconstruct", NDARRAY, number(10**10) + b"\x85", text("O"))
    ),
    "an enormous dtype": batch(call("numpy", "dtype", text("f8," * 1_000_000))),
    "a dtype of its own making": batch(
        U1 + b"(K\x03" + text("|") + b"N(" + text("a") + b"t}NJ\xff\xff\xff\x7fK\x01K?tb"
    ),
    "a state for a function": batch(b"c_codecs\nencode\n(N}" + text("__code__") + b"Nstb"),
    "a state for a class": batch(NDARRAY + b"(N}" + text("shape") + b"Nstb"),
    "4 EiB of bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
    "16 EiB of text": b"\x80\x04\x8d" + struct.pack("<Q", 2**64 - 1) + b"x.",
    "1 TiB to write to": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
    "a frame of 4 EiB": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
    "memory for two billion notes": b"\x80\x02]r\xff\xff\xff\x7f.",
    "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "a number of two billion bytes": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a key that takes for ever to hash": b"\x80\x02}" + tuples(200) + b"Ns.",
    "a name that takes for ever to hash": b"\x80\x04" + tuples(100) + tuples(100) + b"\x93.",
    "a set that takes for ever to hash": b"\x80\x04\x8f(" + tuples(200) + b"\x90.",
    "labels that take for ever to count": batch(U1, tuples(200)),
    "labels in themselves": batch(U1, b"]q\x01h\x01a"),
    "deep lists": batch(b"]" * DEEP + b"a" * (DEEP - 1)),
    "deep tuples": batch(b")" + b"\x85" * DEEP),
    "deep calls": batch(b"cnumpy\ndtype\n" * DEEP + b")R" + b"\x85R" * (DEEP - 1)),
    "deep marks": b"\x80\x02" + b"K\x01" * DEEP + b"(t" * DEEP + b".",
    "an endless program": b"\x80\x02" + b"]" * 20_000_000 + b".",
    "names that command the terminal": batch(text("\x1b[2J\r\x9b2J") + text("x\x1b]0;gone\x07\u202e\n") + b"\x93"),
    "a long name": batch(b"cnumpy\n" + b"x" * 10_000 + b"\n)R"),
    "too few on the stack": b"\x80\x02\x87\x87R0000b.",
}
