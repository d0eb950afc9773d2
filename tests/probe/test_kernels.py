"""The probe's PTX computes what it says and notices one wrong bit, on an interpreter instead of a GPU."""

import ctypes
import math
import random
import re
import struct

import pytest
from ptx_machine import Machine, to_bits

from manifests.verify import probe

WIDE = 22  # values below 1024
NARROW = 29  # values below 8


@pytest.fixture
def machine() -> Machine:
    return Machine(probe.PTX)


def counter(machine: Machine) -> int:
    return machine.allocate(8)


def count(machine: Machine, address: int) -> float:
    return machine.read(address, "Q")[0]


def test_ptx_asks_for_no_more_than_the_oldest_gpu_has() -> None:
    assert probe.PTX.isascii()
    assert re.findall(r"^\.(version|target|address_size) (.*)$", probe.PTX, re.MULTILINE) == [
        ("version", "6.0"),
        ("target", "sm_60"),
        ("address_size", "64"),
    ]
    assert "\n.target sm_70\n" in probe.PTX_TENSOR, "tensor cores begin with Volta"
    for ptx in (probe.PTX, probe.PTX_TENSOR):
        assert ptx.isascii()
        assert ptx.count("{") == ptx.count("}")
        assert "@chains" not in ptx


@pytest.mark.parametrize("seed", [0, 1, 0xDEADBEEF, 0xFFFFFFFF])
@pytest.mark.parametrize("shift", [WIDE, NARROW])
def test_fill_writes_the_small_integers_the_host_expects(machine: Machine, seed: int, shift: int) -> None:
    n = 70
    out = machine.allocate(4 * 128)
    machine.launch("fill", (4, 1), (32, 1), out, n, seed, shift)
    values = machine.read(out, "f", 128)
    assert values[:n] == [probe.small_integer(i, seed, shift) for i in range(n)]
    assert values[n:] == [0.0] * (128 - n)


def test_small_integers_fill_their_range() -> None:
    for shift, limit in ((WIDE, 1024), (NARROW, 8)):
        assert {probe.small_integer(i, 12345, shift) for i in range(20_000)} == set(range(limit))


def added(machine: Machine, n: int) -> tuple[int, tuple[int, int]]:
    seeds = 0x1234, 0xABCDEF01
    a, b, c = (machine.allocate(4 * n) for _ in range(3))
    for vector, seed in zip((a, b), seeds, strict=True):
        machine.launch("fill", (4, 1), (32, 1), vector, n, seed, WIDE)
    machine.launch("vector_add", (4, 1), (32, 1), a, b, c, n)
    return c, seeds


def test_vector_add_is_right_and_found_right(machine: Machine) -> None:
    n = 100
    c, (seed_a, seed_b) = added(machine, n)
    expected = [probe.small_integer(i, seed_a, WIDE) + probe.small_integer(i, seed_b, WIDE) for i in range(n)]
    assert machine.read(c, "f", n) == expected
    wrong = counter(machine)
    machine.launch("check_sum", (4, 1), (32, 1), c, n, seed_a, seed_b, WIDE, wrong)
    assert count(machine, wrong) == 0


@pytest.mark.parametrize("bit", [0, 13, 30, 31])
def test_check_sum_counts_each_wrong_sum(machine: Machine, bit: int) -> None:
    c, (seed_a, seed_b) = added(machine, 100)
    for index in (0, 57, 99):
        (value,) = machine.read(c + 4 * index, "I")
        machine.write(c + 4 * index, "I", int(value) ^ 1 << bit)
    wrong = counter(machine)
    machine.launch("check_sum", (4, 1), (32, 1), c, 100, seed_a, seed_b, WIDE, wrong)
    assert count(machine, wrong) == 3


def test_check_sum_is_not_fooled_by_not_a_number(machine: Machine) -> None:
    c, (seed_a, seed_b) = added(machine, 100)
    machine.write(c, "f", math.nan)
    wrong = counter(machine)
    machine.launch("check_sum", (4, 1), (32, 1), c, 100, seed_a, seed_b, WIDE, wrong)
    assert count(machine, wrong) == 1


def multiplied(machine: Machine, n: int) -> tuple[int, int, int]:
    a, b, c = (machine.allocate(4 * n * n) for _ in range(3))
    for matrix, seed in ((a, 7), (b, 8)):
        machine.launch("fill", (n * n // 32, 1), (32, 1), matrix, n * n, seed, NARROW)
    machine.launch("matmul", (n // 16, n // 16), (16, 16), a, b, c, n)
    return a, b, c


def test_matmul_is_right_and_found_right(machine: Machine) -> None:
    n = 32
    matrices = multiplied(machine, n)
    a, b, c = (machine.read(matrix, "f", n * n) for matrix in matrices)
    assert c == [sum(a[row * n + k] * b[k * n + column] for k in range(n)) for row in range(n) for column in range(n)]
    assert probe.freivalds(a, b, c, n) == 0
    wrong = counter(machine)
    machine.launch("check_product", (n * n // 32, 1), (32, 1), *matrices, n, wrong)
    assert count(machine, wrong) == 0


def test_one_wrong_element_is_found_on_the_gpu_and_on_the_host(machine: Machine) -> None:
    n = 32
    matrices = multiplied(machine, n)
    place = matrices[2] + 4 * (5 * n + 3)
    machine.write(place, "f", machine.read(place, "f")[0] + 1)
    wrong = counter(machine)
    machine.launch("check_product", (n * n // 32, 1), (32, 1), *matrices, n, wrong)
    assert count(machine, wrong) == 1
    a, b, c = (machine.read(matrix, "f", n * n) for matrix in matrices)
    random.seed(1)
    assert probe.freivalds(a, b, c, n) == 1


SALT = 0x0123456789ABCDEF
COMPLEMENT = SALT ^ (1 << 64) - 1


def test_pattern_survives_and_each_flipped_bit_is_found(machine: Machine) -> None:
    cells = 100
    base, wrong = machine.allocate(16 * cells), counter(machine)
    machine.launch("pattern_write", (2, 1), (16, 1), base, cells, SALT)
    machine.launch("pattern_check", (2, 1), (16, 1), base, cells, SALT, wrong)
    assert count(machine, wrong) == 0
    for cell, word in ((0, 0), (41, 1), (99, 1)):
        place = base + 16 * cell + 8 * word
        machine.write(place, "Q", int(machine.read(place, "Q")[0]) ^ 1 << random.randrange(64))
    machine.launch("pattern_check", (2, 1), (16, 1), base, cells, SALT, wrong)
    assert count(machine, wrong) == 3


def test_pattern_has_every_bit_both_ways_over_two_passes(machine: Machine) -> None:
    cells = 10
    base = machine.allocate(16 * cells)
    machine.launch("pattern_write", (1, 1), (4, 1), base, cells, SALT)
    first = machine.read(base, "Q", 2 * cells)
    machine.launch("pattern_write", (1, 1), (4, 1), base, cells, COMPLEMENT)
    second = machine.read(base, "Q", 2 * cells)
    assert {int(a) ^ int(b) for a, b in zip(first, second, strict=True)} == {(1 << 64) - 1}


def test_pattern_finds_two_addresses_that_reach_one_cell(machine: Machine) -> None:
    cells = 64
    base, wrong = machine.allocate(16 * cells), counter(machine)
    machine.launch("pattern_write", (1, 1), (16, 1), base, cells, SALT)
    machine.write(base + 16 * 3, "Q", *(int(word) for word in machine.read(base + 16 * 35, "Q", 2)))
    machine.launch("pattern_check", (1, 1), (16, 1), base, cells, SALT, wrong)
    assert count(machine, wrong) == 1


def test_pattern_stays_inside_its_memory(machine: Machine) -> None:
    base = machine.allocate(16 * 7)
    behind = machine.allocate(256)
    machine.launch("pattern_write", (4, 1), (16, 1), base, 7, SALT)
    assert machine.read(behind, "Q", 32) == [0] * 32


class FakeGpu:
    """What the loads ask of a GPU: its size, and that its kernels be launched."""

    multiprocessors = 1
    capability = (7, 0)


def test_chains_of_multiply_adds_end_where_the_host_expects(machine: Machine) -> None:
    steps, out = 3, machine.allocate(4 * 64)
    machine.launch("fma_chains", (2, 1), (32, 1), out, steps, to_bits(1.0))
    load = probe.FloatLoad(FakeGpu())
    load.STEPS = steps
    expected = list(struct.unpack("<32f", load.expected()))
    assert machine.read(out, "f", 64) == expected * 2
    assert expected[:2] == [3 * 8 * 136, 3 * 8 * 136 + 16]


def test_the_sums_of_both_loads_stay_exact() -> None:
    largest = max(struct.unpack("<32f", probe.FloatLoad(FakeGpu()).expected()))
    assert largest < 1 << 24
    assert 16 * 4 * 4 * probe.TensorLoad.STEPS <= 1 << 20


def test_tensor_products_end_where_the_host_expects() -> None:
    machine = Machine(probe.PTX_TENSOR)
    load = probe.TensorLoad(FakeGpu())
    load.STEPS = 2
    a, b, out = machine.allocate(1024), machine.allocate(1024), machine.allocate(2 * 4096)
    machine.write(a, "e", *load._a)
    machine.write(b, "e", *load._b)
    machine.launch("tensor_products", (1, 1), (1, 1), a, b, out, load.STEPS)
    expected = list(struct.unpack("<1024f", load.expected()))
    assert machine.read(out, "f", 1024) == expected
    assert len(set(expected)) > 50


def test_operations_are_counted_as_they_are_written() -> None:
    chains = probe.PTX.count("fma.rn.f32 x")
    load = probe.FloatLoad(FakeGpu())
    assert load.operations == 2 * chains * load.STEPS * load.threads
    products = probe.PTX_TENSOR.count("wmma.mma.")
    tensor = probe.TensorLoad(FakeGpu())
    assert tensor.operations == 2 * 16**3 * products * tensor.STEPS * (tensor.bytes_out // 4096)


def test_one_wrong_bit_in_what_a_load_wrote_is_found() -> None:
    numbers = [1.0, 2.0, 3.0, 4.0]
    probe.require_same((ctypes.c_float * 8)(*numbers * 2), struct.pack("<4f", *numbers), "sums")
    with pytest.raises(probe.WrongResult, match="1 of 8 sums are wrong"):
        probe.require_same(
            (ctypes.c_float * 8)(*numbers, 1.0, 2.0, math.nan, 4.0), struct.pack("<4f", *numbers), "sums"
        )
