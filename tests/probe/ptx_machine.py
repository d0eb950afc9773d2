"""A small interpreter for the PTX that the probe carries, so that its kernels can be tested without a GPU.

It knows the opcodes those kernels use and nothing else; an unknown one raises KeyError. Threads of a block run
one after another, up to the next barrier. Registers hold bit patterns, floats too. A thread stands for its whole warp
in matrix operations: it holds all of each fragment. Semantics: PTX ISA manual.
"""

import operator
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

GLOBAL_BASE = 0x7F0000000000


class Instruction(NamedTuple):
    guard: str  # "", "name" or "!name"
    opcode: list[str]  # split at the dots
    operands: list[str]


@dataclass
class Kernel:
    parameters: list[str]
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)  # offsets
    shared_size: int = 0


def parse(ptx: str) -> dict[str, Kernel]:
    """The kernels of a PTX text by name."""
    text = re.sub(r"//.*", "", ptx)
    entries = re.findall(r"\.visible \.entry (\w+)\((.*?)\)\s*\{(.*?)\n\}", text, re.DOTALL)
    return {name: _parse_kernel(parameters, body) for name, parameters, body in entries}


def _parse_kernel(parameters: str, body: str) -> Kernel:
    kernel = Kernel(re.findall(r"\.param \.[uf](?:32|64) (\w+)", parameters))
    for statement in re.findall(r"\w+:|[^;:]+;", body):
        text = statement.strip().rstrip(";").strip()
        if text.endswith(":"):
            kernel.labels[text[:-1]] = len(kernel.code)
        elif array := re.fullmatch(r"\.shared \.align \d+ \.b8 (\w+)\[(\d+)\]", text):
            kernel.shared[array[1]] = kernel.shared_size
            kernel.shared_size += int(array[2])
        elif not text.startswith(".reg"):
            found = re.fullmatch(r"(?:@(!?\w+)\s+)?([\w.]+)\s*(.*)", text, re.DOTALL)
            assert found, text
            operands = [part.strip() for part in re.split(r",\s*(?![^{]*\})", found[3])] if found[3] else []
            kernel.code.append(Instruction(found[1] or "", found[2].split("."), operands))
    return kernel


def to_float(bits: int) -> float:
    value: float = struct.unpack("<f", struct.pack("<I", bits))[0]
    return value


def to_bits(value: float) -> int:
    bits: int = struct.unpack("<I", struct.pack("<f", value))[0]
    return bits


INTEGER: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "xor": operator.xor,
    "or": operator.or_,
    "and": operator.and_,
    "shl": operator.lshift,
    "shr": operator.rshift,
    "div": operator.floordiv,
    "rem": operator.mod,
}
COMPARE: dict[str, Callable[[int, int], bool]] = {
    "ge": operator.ge,
    "lt": operator.lt,
    "eq": operator.eq,
    "ne": operator.ne,
}


class Machine:
    """A GPU of 1 MiB: ``allocate`` memory, ``launch`` kernels, look at ``memory``."""

    def __init__(self, ptx: str) -> None:
        self.kernels = parse(ptx)
        self.memory = bytearray(1 << 20)
        self._next = 0

    def allocate(self, size: int) -> int:
        address, self._next = GLOBAL_BASE + self._next, self._next + (size + 255) // 256 * 256
        assert self._next <= len(self.memory)
        return address

    def read(self, address: int, form: str, count: int = 1) -> list[float]:
        return list(struct.unpack_from(f"<{count}{form}", self.memory, address - GLOBAL_BASE))

    def write(self, address: int, form: str, *values: float) -> None:
        struct.pack_into(f"<{len(values)}{form}", self.memory, address - GLOBAL_BASE, *values)

    def launch(self, name: str, grid: tuple[int, int], block: tuple[int, int], *arguments: int) -> None:
        kernel = self.kernels[name]
        assert len(arguments) == len(kernel.parameters)
        parameters = dict(zip(kernel.parameters, arguments, strict=True))
        for block_y in range(grid[1]):
            for block_x in range(grid[0]):
                place = {"%ctaid.x": block_x, "%ctaid.y": block_y, "%nctaid.x": grid[0], "%ntid.x": block[0]}
                shared = bytearray(kernel.shared_size)
                threads = [
                    Thread(self, kernel, parameters, shared, {**place, "%tid.x": x, "%tid.y": y}).run()
                    for y in range(block[1])
                    for x in range(block[0])
                ]
                while threads:  # each round takes every thread to its next barrier, or to its end
                    waiting = [thread for thread in threads if next(thread, None)]
                    assert len(waiting) in (0, len(threads)), "a barrier that not all threads reach"
                    threads = waiting


class Thread:
    def __init__(
        self, machine: Machine, kernel: Kernel, parameters: dict[str, int], shared: bytearray, place: dict[str, int]
    ) -> None:
        self.machine, self.kernel, self.parameters, self.shared = machine, kernel, parameters, shared
        self.registers = {**place, **kernel.shared}
        self.fragments: dict[str, list[float]] = {}  # by their registers, row by row

    def run(self) -> Iterator[bool]:
        position = 0
        while True:
            guard, opcode, operands = self.kernel.code[position]
            position += 1
            if guard and bool(self.registers[guard.lstrip("!")]) == guard.startswith("!"):
                continue
            if opcode[0] == "ret":
                return
            if opcode[0] == "bra":
                position = self.kernel.labels[operands[0]]
            elif opcode[0] == "bar":
                yield True
            elif opcode[0] in ("ld", "st", "red"):
                self.access(opcode, operands)
            elif opcode[0] == "wmma":
                self.matrices(opcode, operands)
            else:
                kind = opcode[-1]
                result = self.compute(opcode, [self.value(operand) for operand in operands[1:]])
                wide = opcode[1] == "wide" or kind.endswith("64") or opcode[1:3] == ["u64", "u32"]
                self.registers[operands[0]] = int(result) & (1 << (64 if wide else 32)) - 1

    def value(self, operand: str) -> int:
        if operand.startswith("0f"):
            return int(operand[2:], 16)
        return int(operand, 0) if operand[0].isdigit() else self.registers[operand]

    def compute(self, opcode: list[str], values: list[int]) -> int:
        name, kind = opcode[0], opcode[-1]
        match name:
            case "mov":
                return values[0]
            case "not":
                return ~values[0]
            case "mul":
                return values[0] * values[1]
            case "mad":
                return values[0] * values[1] + values[2]
            case "setp":
                return COMPARE[opcode[1]](values[0], values[1])
            case "cvt":
                return self.convert(opcode, values[0])
            case "fma":
                return to_bits(to_float(values[0]) * to_float(values[1]) + to_float(values[2]))
            case "add" if kind == "f32":
                return to_bits(to_float(values[0]) + to_float(values[1]))
        return INTEGER[name](values[0], values[1])

    @staticmethod
    def convert(opcode: list[str], value: int) -> int:
        match opcode[1:]:
            case ["rn", "f32", "u32"]:
                return to_bits(float(value))
            case ["rzi", "u32", "f32"]:
                return int(to_float(value))
            case ["u64", "u32"]:
                return value
        raise KeyError(opcode)

    def matrices(self, opcode: list[str], operands: list[str]) -> None:
        side = range(16)
        match opcode[1:]:
            case ["load", _, "sync", "aligned", order, "m16n16k16", "global", "f16"]:
                found = self.machine.read(self.value(operands[1].strip("[]")), "e", 256)
                if order == "col":
                    found = [found[16 * column + row] for row in side for column in side]
                self.fragments[operands[0]] = found
            case ["mma", "sync", "aligned", "row", "col", "m16n16k16", "f32", "f32"]:
                a, b = (self.fragments[operand] for operand in operands[1:3])
                c = self.fragments.get(operands[3]) or [self.fill(operands[3])] * 256
                product = [sum(a[16 * i + k] * b[16 * k + j] for k in side) for i in side for j in side]
                self.fragments[operands[0]] = list(map(operator.add, product, c))
            case ["store", "d", "sync", "aligned", "row", "m16n16k16", "global", "f32"]:
                self.machine.write(self.value(operands[0].strip("[]")), "f", *self.fragments[operands[1]])
            case _:
                raise KeyError(opcode)

    def fill(self, registers: str) -> float:
        """The one number that all registers of a fragment were set to."""
        (bits,) = {self.registers[register.strip()] for register in registers.strip("{}").split(",")}
        return to_float(bits)

    def access(self, opcode: list[str], operands: list[str]) -> None:
        space, kind = opcode[1], opcode[-1]
        where, what = (operands[1], operands[0]) if opcode[0] == "ld" else operands
        target = where.strip("[]")
        if space == "param":
            self.registers[what] = self.parameters[target]
            return
        memory, offset = self.machine.memory, self.value(target) - GLOBAL_BASE
        if space == "shared":
            memory, offset = self.shared, self.value(target)
        form = "<Q" if kind.endswith("64") else "<I"
        size = struct.calcsize(form)
        assert offset % size == 0, "misaligned"
        assert 0 <= offset < len(memory), "outside the memory"
        for position, register in enumerate(part.strip() for part in what.strip("{}").split(",")):
            at = offset + position * size
            if opcode[0] == "ld":
                (self.registers[register],) = struct.unpack_from(form, memory, at)
            else:
                present = struct.unpack_from(form, memory, at)[0] if opcode[0] == "red" else 0
                struct.pack_into(form, memory, at, present + self.value(register))
