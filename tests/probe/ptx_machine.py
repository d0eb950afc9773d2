"""A small interpreter for the PTX that the probe carries, so that its kernels can be tested without a GPU.

It knows the opcodes those kernels use and nothing else; an unknown one raises KeyError. Threads of a block run
one after another, up to the next barrier. Registers hold bit patterns, floats too. Semantics: PTX ISA manual.
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
    kernel = Kernel(re.findall(r"\.param \.u(?:32|64) (\w+)", parameters))
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
