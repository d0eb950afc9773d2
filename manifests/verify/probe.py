#!/usr/bin/env python3
"""Measure every NVIDIA GPU this machine shows and print one JSON document.

    python3 probe.py [--level quick|standard|burn] [--json]

One file, standard library only (Python 3.8 or newer). It speaks to the driver's own libraries, libcuda.so.1
and libnvidia-ml.so.1, through ctypes, and carries its kernels as PTX, which the driver compiles for whatever
GPU it finds (sm_60 and up). So it needs no CUDA image: any small glibc image with a Python will do.

The document is the only line on stdout; its fields are described in docs/probe.md. For people, a line per GPU
goes to stderr unless ``--json`` is given. Exit status: 0 every check passed, 1 a check failed, something could
not be measured or a GPU hung, 2 wrong arguments, 3 no GPU could be used (``error`` says why).

No library is loaded in the process one starts: it runs itself again, once to list the GPUs, then once per GPU,
side by side, then once for the copies between GPUs, and kills whatever does not answer in time. A GPU that hangs
costs its own record only.

Sources: cuda.h and nvml.h of CUDA 12.9 (names, constants, structures); the PTX ISA manual (kernels).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import itertools
import json
import operator
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

SCHEMA = 1
MIB, GIB = 1 << 20, 1 << 30
EXIT_OK, EXIT_CHECK_FAILED, EXIT_NO_GPU = 0, 1, 3
LIST_DEADLINE_S = 60.0  # without persistence mode the driver initialises eight GPUs first: tens of seconds


@dataclass(frozen=True)
class Level:
    """How long to look. Times in seconds; ``share`` is the part of the free memory that gets the pattern."""

    deadline: float
    rounds: int
    passes: int
    share: float
    allocation: float
    warm_up: float
    sample: float


LEVELS = {
    "quick": Level(deadline=60, rounds=1, passes=2, share=0.95, allocation=1.5, warm_up=1.0, sample=0.4),
    "standard": Level(deadline=180, rounds=50, passes=20, share=0.95, allocation=15, warm_up=1.5, sample=3.0),
    "burn": Level(deadline=900, rounds=1000, passes=600, share=0.95, allocation=15, warm_up=60.0, sample=10.0),
}


class ProbeError(Exception):
    """Something the probe relies on is missing or failed; the text names it."""


class CudaError(ProbeError):
    """A driver call failed; the text names the call and the driver's own word for the error."""


# --- kernels --------------------------------------------------------------------------------------------------
# Inputs are small integers held in float32, made from their index by `small_integer` (below, in Python), so
# every sum and product is exact and may be compared bit by bit. Each check kernel takes another way to the
# result than the kernel it checks (integer units instead of float, no shared memory), and counts differences.

PTX = """
.version 6.0
.target sm_60
.address_size 64

// out[i] = small_integer(i, seed, shift)
.visible .entry fill(.param .u64 p_out, .param .u32 p_n, .param .u32 p_seed, .param .u32 p_shift)
{
  .reg .pred outside;
  .reg .b32 i, t, n, seed, shift, x, y;
  .reg .b64 out, at;
  .reg .f32 value;
  mov.u32 i, %ctaid.x;  mov.u32 t, %ntid.x;  mul.lo.u32 i, i, t;  mov.u32 t, %tid.x;  add.u32 i, i, t;
  ld.param.u32 n, [p_n];
  setp.ge.u32 outside, i, n;
  @outside bra done;
  ld.param.u64 out, [p_out];  ld.param.u32 seed, [p_seed];  ld.param.u32 shift, [p_shift];
  xor.b32 x, i, seed;  mul.lo.u32 x, x, 0x9E3779B1;
  shr.u32 y, x, 15;  xor.b32 x, x, y;  mul.lo.u32 x, x, 0x85EBCA77;
  shr.u32 x, x, shift;
  cvt.rn.f32.u32 value, x;
  mul.wide.u32 at, i, 4;  add.u64 at, at, out;
  st.global.f32 [at], value;
done:
  ret;
}

// c[i] = a[i] + b[i]
.visible .entry vector_add(.param .u64 p_a, .param .u64 p_b, .param .u64 p_c, .param .u32 p_n)
{
  .reg .pred outside;
  .reg .b32 i, t, n;
  .reg .b64 base, offset, at;
  .reg .f32 x, y;
  mov.u32 i, %ctaid.x;  mov.u32 t, %ntid.x;  mul.lo.u32 i, i, t;  mov.u32 t, %tid.x;  add.u32 i, i, t;
  ld.param.u32 n, [p_n];
  setp.ge.u32 outside, i, n;
  @outside bra done;
  mul.wide.u32 offset, i, 4;
  ld.param.u64 base, [p_a];  add.u64 at, base, offset;  ld.global.f32 x, [at];
  ld.param.u64 base, [p_b];  add.u64 at, base, offset;  ld.global.f32 y, [at];
  add.rn.f32 x, x, y;
  ld.param.u64 base, [p_c];  add.u64 at, base, offset;  st.global.f32 [at], x;
done:
  ret;
}

// wrong += (c[i] is not small_integer(i, seed_a, shift) + small_integer(i, seed_b, shift)), from the index alone
.visible .entry check_sum(.param .u64 p_c, .param .u32 p_n, .param .u32 p_seed_a, .param .u32 p_seed_b,
                          .param .u32 p_shift, .param .u64 p_wrong)
{
  .reg .pred outside, same;
  .reg .b32 i, t, n, seed, shift, x, y, sum, found;
  .reg .b64 base, at;
  .reg .f32 value;
  mov.u32 i, %ctaid.x;  mov.u32 t, %ntid.x;  mul.lo.u32 i, i, t;  mov.u32 t, %tid.x;  add.u32 i, i, t;
  ld.param.u32 n, [p_n];
  setp.ge.u32 outside, i, n;
  @outside bra done;
  ld.param.u32 shift, [p_shift];
  ld.param.u32 seed, [p_seed_a];
  xor.b32 x, i, seed;  mul.lo.u32 x, x, 0x9E3779B1;
  shr.u32 y, x, 15;  xor.b32 x, x, y;  mul.lo.u32 x, x, 0x85EBCA77;
  shr.u32 sum, x, shift;
  ld.param.u32 seed, [p_seed_b];
  xor.b32 x, i, seed;  mul.lo.u32 x, x, 0x9E3779B1;
  shr.u32 y, x, 15;  xor.b32 x, x, y;  mul.lo.u32 x, x, 0x85EBCA77;
  shr.u32 x, x, shift;
  add.u32 sum, sum, x;
  cvt.rn.f32.u32 value, sum;  mov.b32 sum, value;
  ld.param.u64 base, [p_c];  mul.wide.u32 at, i, 4;  add.u64 at, at, base;
  ld.global.b32 found, [at];
  setp.eq.b32 same, found, sum;
  @same bra done;
  ld.param.u64 base, [p_wrong];
  red.global.add.u64 [base], 1;
done:
  ret;
}

// c = a b for square matrices; n is a multiple of 16, blocks are 16 x 16, tiles go through shared memory
.visible .entry matmul(.param .u64 p_a, .param .u64 p_b, .param .u64 p_c, .param .u32 p_n)
{
  .reg .pred more;
  .reg .b32 n, tx, ty, row, column, t, tiles, own_a, own_b, at_a, at_b, k, slot;
  .reg .b64 a, b, c, offset, step_b;
  .reg .f32 x, y, sum;
  .shared .align 4 .b8 tile_a[1024];
  .shared .align 4 .b8 tile_b[1024];
  ld.param.u32 n, [p_n];
  ld.param.u64 a, [p_a];  ld.param.u64 b, [p_b];  ld.param.u64 c, [p_c];
  mov.u32 tx, %tid.x;  mov.u32 ty, %tid.y;
  mov.u32 t, %ctaid.y;  shl.b32 t, t, 4;  add.u32 row, t, ty;
  mov.u32 t, %ctaid.x;  shl.b32 t, t, 4;  add.u32 column, t, tx;
  mad.lo.u32 t, row, n, tx;      mul.wide.u32 offset, t, 4;  add.u64 a, a, offset;
  mad.lo.u32 t, ty, n, column;   mul.wide.u32 offset, t, 4;  add.u64 b, b, offset;
  mad.lo.u32 t, row, n, column;  mul.wide.u32 offset, t, 4;  add.u64 c, c, offset;
  mul.wide.u32 step_b, n, 64;
  mov.u32 own_a, tile_a;  shl.b32 t, ty, 6;  add.u32 own_a, own_a, t;
  mov.u32 own_b, tile_b;  shl.b32 t, tx, 2;  add.u32 own_b, own_b, t;
  shr.u32 tiles, n, 4;
  mov.f32 sum, 0f00000000;
next_tile:
  ld.global.f32 x, [a];  ld.global.f32 y, [b];
  shl.b32 t, tx, 2;  add.u32 slot, own_a, t;  st.shared.f32 [slot], x;
  shl.b32 t, ty, 6;  add.u32 slot, own_b, t;  st.shared.f32 [slot], y;
  bar.sync 0;
  mov.u32 at_a, own_a;  mov.u32 at_b, own_b;  mov.u32 k, 16;
next_k:
  ld.shared.f32 x, [at_a];  ld.shared.f32 y, [at_b];
  fma.rn.f32 sum, x, y, sum;
  add.u32 at_a, at_a, 4;  add.u32 at_b, at_b, 64;
  sub.u32 k, k, 1;  setp.ne.u32 more, k, 0;
  @more bra next_k;
  bar.sync 0;
  add.u64 a, a, 64;  add.u64 b, b, step_b;
  sub.u32 tiles, tiles, 1;  setp.ne.u32 more, tiles, 0;
  @more bra next_tile;
  st.global.f32 [c], sum;
  ret;
}

// wrong += (c[i] is not the dot product of its row and column, taken in integers)
.visible .entry check_product(.param .u64 p_a, .param .u64 p_b, .param .u64 p_c, .param .u32 p_n,
                              .param .u64 p_wrong)
{
  .reg .pred outside, same, more;
  .reg .b32 i, t, n, row, column, x, y, k, sum, found;
  .reg .b64 a, b, c, offset, step_b, wrong;
  .reg .f32 value;
  mov.u32 i, %ctaid.x;  mov.u32 t, %ntid.x;  mul.lo.u32 i, i, t;  mov.u32 t, %tid.x;  add.u32 i, i, t;
  ld.param.u32 n, [p_n];
  mul.lo.u32 t, n, n;
  setp.ge.u32 outside, i, t;
  @outside bra done;
  div.u32 row, i, n;  rem.u32 column, i, n;
  ld.param.u64 a, [p_a];  mul.lo.u32 t, row, n;  mul.wide.u32 offset, t, 4;  add.u64 a, a, offset;
  ld.param.u64 b, [p_b];  mul.wide.u32 offset, column, 4;                    add.u64 b, b, offset;
  ld.param.u64 c, [p_c];  mul.wide.u32 offset, i, 4;                         add.u64 c, c, offset;
  mul.wide.u32 step_b, n, 4;
  mov.u32 sum, 0;  mov.u32 k, n;
next_k:
  ld.global.f32 value, [a];  cvt.rzi.u32.f32 x, value;
  ld.global.f32 value, [b];  cvt.rzi.u32.f32 y, value;
  mad.lo.u32 sum, x, y, sum;
  add.u64 a, a, 4;  add.u64 b, b, step_b;
  sub.u32 k, k, 1;  setp.ne.u32 more, k, 0;
  @more bra next_k;
  cvt.rn.f32.u32 value, sum;  mov.b32 sum, value;
  ld.global.b32 found, [c];
  setp.eq.b32 same, found, sum;
  @same bra done;
  ld.param.u64 wrong, [p_wrong];
  red.global.add.u64 [wrong], 1;
done:
  ret;
}

// Every 16-byte cell gets a word made from its own address, and that word's complement.
.visible .entry pattern_write(.param .u64 p_base, .param .u64 p_cells, .param .u64 p_salt)
{
  .reg .pred inside;
  .reg .b32 t, u;
  .reg .b64 i, cells, stride, base, at, salt, word, other;
  ld.param.u64 base, [p_base];  ld.param.u64 cells, [p_cells];  ld.param.u64 salt, [p_salt];
  mov.u32 t, %ctaid.x;   mov.u32 u, %ntid.x;  mul.wide.u32 i, t, u;
  mov.u32 t, %tid.x;     cvt.u64.u32 at, t;   add.u64 i, i, at;
  mov.u32 t, %nctaid.x;  mul.wide.u32 stride, t, u;
next_cell:
  setp.lt.u64 inside, i, cells;
  @!inside bra done;
  shl.b64 at, i, 4;  add.u64 at, at, base;
  mul.lo.u64 word, at, 0x9E3779B97F4A7C15;  xor.b64 word, word, salt;  not.b64 other, word;
  st.global.v2.u64 [at], {word, other};
  add.u64 i, i, stride;
  bra next_cell;
done:
  ret;
}

// wrong += number of cells that no longer hold what pattern_write put there
.visible .entry pattern_check(.param .u64 p_base, .param .u64 p_cells, .param .u64 p_salt, .param .u64 p_wrong)
{
  .reg .pred inside, same;
  .reg .b32 t, u;
  .reg .b64 i, cells, stride, base, at, salt, word, other, found, found_other, wrong;
  ld.param.u64 base, [p_base];  ld.param.u64 cells, [p_cells];  ld.param.u64 salt, [p_salt];
  ld.param.u64 wrong, [p_wrong];
  mov.u32 t, %ctaid.x;   mov.u32 u, %ntid.x;  mul.wide.u32 i, t, u;
  mov.u32 t, %tid.x;     cvt.u64.u32 at, t;   add.u64 i, i, at;
  mov.u32 t, %nctaid.x;  mul.wide.u32 stride, t, u;
next_cell:
  setp.lt.u64 inside, i, cells;
  @!inside bra done;
  shl.b64 at, i, 4;  add.u64 at, at, base;
  mul.lo.u64 word, at, 0x9E3779B97F4A7C15;  xor.b64 word, word, salt;  not.b64 other, word;
  ld.global.v2.u64 {found, found_other}, [at];
  xor.b64 found, found, word;  xor.b64 found_other, found_other, other;  or.b64 found, found, found_other;
  add.u64 i, i, stride;
  setp.eq.u64 same, found, 0;
  @same bra next_cell;
  red.global.add.u64 [wrong], 1;
  bra next_cell;
done:
  ret;
}

// out[thread] = sum over j < 16 of (lane + steps * 8 * (j + 1) * unit): 16 chains of x = x * unit + y in registers,
// 8 links a step. `unit` is 1, but the compiler does not know it.
.visible .entry fma_chains(.param .u64 p_out, .param .u32 p_steps, .param .f32 p_unit)
{
  .reg .pred more;
  .reg .b32 i, t, steps;
  .reg .b64 out, at;
  .reg .f32 unit, x<16>, y<16>;
  ld.param.u64 out, [p_out];  ld.param.u32 steps, [p_steps];  ld.param.f32 unit, [p_unit];
  mov.u32 t, %tid.x;  and.b32 t, t, 31;
@chains_begin@
next_step:
@chains@
  sub.u32 steps, steps, 1;  setp.ne.u32 more, steps, 0;
  @more bra next_step;
@chains_end@
  mov.u32 i, %ctaid.x;  mov.u32 t, %ntid.x;  mul.lo.u32 i, i, t;  mov.u32 t, %tid.x;  add.u32 i, i, t;
  mul.wide.u32 at, i, 4;  add.u64 at, at, out;
  st.global.f32 [at], x0;
  ret;
}
"""
CHAINS, LINKS = 16, 8
PTX = PTX.replace(
    "@chains_begin@",
    "  cvt.rn.f32.u32 x0, t;  mov.f32 y0, unit;\n"
    + "\n".join(f"  mov.f32 x{j}, x0;  add.rn.f32 y{j}, y{j - 1}, unit;" for j in range(1, CHAINS)),
)
PTX = PTX.replace("@chains@", "\n".join([f"  fma.rn.f32 x{j}, x{j}, unit, y{j};" for j in range(CHAINS)] * LINKS))
PTX = PTX.replace("@chains_end@", "\n".join(f"  add.rn.f32 x0, x0, x{j};" for j in range(1, CHAINS)))

KERNELS = (
    "fill",
    "vector_add",
    "check_sum",
    "matmul",
    "check_product",
    "pattern_write",
    "pattern_check",
    "fma_chains",
)

# Tensor cores exist from sm_70 on, where wmma is the one shape that every generation since takes: 16 x 16 x 16,
# float16 in, float32 out. The matrices' layout in registers is the compiler's business. Hopper and later reach their
# full rate only with instructions of their own (wgmma, tcgen05); docs/probe.md says how far this one gets.
PTX_TENSOR = """
.version 6.3
.target sm_70
.address_size 64

// Each warp: out[warp][2i + j] = steps * a[i] b[j] for two matrices a, row by row, and two b, column by column
.visible .entry tensor_products(.param .u64 p_a, .param .u64 p_b, .param .u64 p_out, .param .u32 p_steps)
{
  .reg .pred more;
  .reg .b32 t, u, warp, steps;
  .reg .b64 a, b, out, offset;
  .reg .b32 a0_<8>, a1_<8>, b0_<8>, b1_<8>;
  .reg .f32 c00_<8>, c01_<8>, c10_<8>, c11_<8>;
  ld.param.u64 a, [p_a];  ld.param.u64 b, [p_b];  ld.param.u64 out, [p_out];  ld.param.u32 steps, [p_steps];
  wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {@a0@}, [a];
  wmma.load.b.sync.aligned.col.m16n16k16.global.f16 {@b0@}, [b];
  add.u64 a, a, 512;  add.u64 b, b, 512;
  wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {@a1@}, [a];
  wmma.load.b.sync.aligned.col.m16n16k16.global.f16 {@b1@}, [b];
@zero@
next_step:
  wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32 {@c00@}, {@a0@}, {@b0@}, {@c00@};
  wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32 {@c01@}, {@a0@}, {@b1@}, {@c01@};
  wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32 {@c10@}, {@a1@}, {@b0@}, {@c10@};
  wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32 {@c11@}, {@a1@}, {@b1@}, {@c11@};
  sub.u32 steps, steps, 1;  setp.ne.u32 more, steps, 0;
  @more bra next_step;
  mov.u32 t, %ctaid.x;  mov.u32 u, %ntid.x;  mul.lo.u32 t, t, u;  mov.u32 u, %tid.x;  add.u32 t, t, u;
  shr.u32 warp, t, 5;  mul.wide.u32 offset, warp, 4096;  add.u64 out, out, offset;
  wmma.store.d.sync.aligned.row.m16n16k16.global.f32 [out], {@c00@};  add.u64 out, out, 1024;
  wmma.store.d.sync.aligned.row.m16n16k16.global.f32 [out], {@c01@};  add.u64 out, out, 1024;
  wmma.store.d.sync.aligned.row.m16n16k16.global.f32 [out], {@c10@};  add.u64 out, out, 1024;
  wmma.store.d.sync.aligned.row.m16n16k16.global.f32 [out], {@c11@};
  ret;
}
"""
PTX_TENSOR = PTX_TENSOR.replace(
    "@zero@",
    "\n".join(f"  mov.f32 {c}_{i}, 0f00000000;" for c in ("c00", "c01", "c10", "c11") for i in range(8)),
)
for fragment in ("a0", "a1", "b0", "b1", "c00", "c01", "c10", "c11"):
    PTX_TENSOR = PTX_TENSOR.replace(f"@{fragment}@", ", ".join(f"{fragment}_{i}" for i in range(8)))
KERNELS_TENSOR = ("tensor_products",)


def small_integer(index: int, seed: int, shift: int) -> int:
    """The kernels' input at ``index``: ``32 - shift`` well-mixed bits."""
    mixed = ((index ^ seed) * 0x9E3779B1) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 0x85EBCA77) & 0xFFFFFFFF
    return mixed >> shift


# --- the driver's libraries -----------------------------------------------------------------------------------


def load_library(name: str) -> ctypes.CDLL:
    """Open a shared library; raises ProbeError with the loader's own words."""
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise ProbeError(f"{name} not found: {error}") from error


class Cuda:
    """The part of the CUDA driver API that is needed here. Sizes in bytes, addresses as integers.

    Loading it initialises the driver. Raises ProbeError without a driver and CudaError for failed calls.
    """

    PROTOTYPES: ClassVar[dict[str, tuple[Any, ...]]] = {
        "cuInit": (c_uint,),
        "cuGetErrorName": (c_int, POINTER(c_char_p)),
        "cuGetErrorString": (c_int, POINTER(c_char_p)),
        "cuDriverGetVersion": (POINTER(c_int),),
        "cuDeviceGetCount": (POINTER(c_int),),
        "cuDeviceGet": (POINTER(c_int), c_int),
        "cuDeviceGetName": (c_char_p, c_int, c_int),
        "cuDeviceGetUuid_v2": (c_char_p, c_int),
        "cuDeviceGetPCIBusId": (c_char_p, c_int, c_int),
        "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
        "cuDeviceTotalMem_v2": (POINTER(c_size_t), c_int),
        "cuDevicePrimaryCtxSetFlags_v2": (c_int, c_uint),
        "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
        "cuCtxSetCurrent": (c_void_p,),
        "cuCtxSynchronize": (),
        "cuCtxEnablePeerAccess": (c_void_p, c_uint),
        "cuDeviceCanAccessPeer": (POINTER(c_int), c_int, c_int),
        "cuMemGetInfo_v2": (POINTER(c_size_t), POINTER(c_size_t)),
        "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
        "cuMemFree_v2": (c_uint64,),
        "cuMemHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
        "cuMemFreeHost": (c_void_p,),
        "cuMemsetD8_v2": (c_uint64, ctypes.c_ubyte, c_size_t),
        "cuMemcpyDtoH_v2": (c_void_p, c_uint64, c_size_t),
        "cuMemcpyHtoD_v2": (c_uint64, c_void_p, c_size_t),
        "cuMemcpyPeerAsync": (c_uint64, c_void_p, c_uint64, c_void_p, c_size_t, c_void_p),
        "cuMemcpyDtoDAsync_v2": (c_uint64, c_uint64, c_size_t, c_void_p),
        "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
        "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
        "cuModuleLoadDataEx": (POINTER(c_void_p), c_char_p, c_uint, POINTER(c_int), POINTER(c_void_p)),
        "cuModuleGetFunction": (POINTER(c_void_p), c_void_p, c_char_p),
        "cuLaunchKernel": (c_void_p, *(c_uint,) * 7, c_void_p, POINTER(c_void_p), POINTER(c_void_p)),
        "cuEventCreate": (POINTER(c_void_p), c_uint),
        "cuEventRecord": (c_void_p, c_void_p),
        "cuEventSynchronize": (c_void_p,),
        "cuEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
        "cuEventDestroy_v2": (c_void_p,),
    }

    def __init__(self) -> None:
        library = load_library("libcuda.so.1")
        self._functions: dict[str, Any] = {}
        for name, argument_types in self.PROTOTYPES.items():
            function = getattr(library, name, None)
            if function is None:
                raise ProbeError(f"libcuda.so.1 has no {name}: the driver is too old")
            function.argtypes, function.restype = argument_types, c_int
            self._functions[name] = function
        self.call("cuInit", 0)

    def call(self, name: str, *arguments: Any) -> None:
        status = self._functions[name](*arguments)
        if status:
            raise CudaError(f"{name}: {self._describe(status)}")

    def _describe(self, status: int) -> str:
        words = []
        for function in ("cuGetErrorName", "cuGetErrorString"):
            text = c_char_p()
            self._functions[function](status, byref(text))
            words.append((text.value or b"?").decode("utf-8", "replace"))
        return f"{words[0]} ({status}, {words[1]})"

    def integer(self, name: str, *arguments: Any) -> int:
        """Call a function whose first argument receives an int."""
        value = c_int()
        self.call(name, byref(value), *arguments)
        return value.value

    def capability(self, device: int) -> tuple[int, int]:
        """Compute capability, (major, minor)."""
        major, minor = (self.integer("cuDeviceGetAttribute", attribute, device) for attribute in (75, 76))
        return major, minor

    def text(self, name: str, device: int) -> str:
        """Call a function that writes a C string of at most 255 bytes."""
        buffer = ctypes.create_string_buffer(256)
        self.call(name, buffer, len(buffer), device)
        return buffer.value.decode("utf-8", "replace")


class Gpu:
    """One device with its primary context current, our kernels loaded, everything on the default stream."""

    _BLOCKING_SYNC = 4  # CU_CTX_SCHED_BLOCKING_SYNC: waiting must not burn the CPU that seven others share
    _EVENT_BLOCKING_SYNC = 1
    _MULTIPROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
    _JIT_ERROR_LOG, _JIT_ERROR_LOG_SIZE = 5, 6

    def __init__(self, cuda: Cuda, index: int) -> None:
        self.cuda, self.call = cuda, cuda.call
        self.device = cuda.integer("cuDeviceGet", index)
        self.call("cuDevicePrimaryCtxSetFlags_v2", self.device, self._BLOCKING_SYNC)
        self.context = c_void_p()
        self.call("cuDevicePrimaryCtxRetain", byref(self.context), self.device)
        self.use()
        self.multiprocessors = cuda.integer("cuDeviceGetAttribute", self._MULTIPROCESSORS, self.device)
        self.capability = cuda.capability(self.device)
        self._functions: dict[str, c_void_p] = {}

    def use(self) -> None:
        """Make this the device that calls are about; only needed where there are two."""
        self.call("cuCtxSetCurrent", self.context)

    def load(self, ptx: str, kernels: tuple[str, ...]) -> None:
        """Have the driver compile ``ptx``; raises CudaError with the compiler's log."""
        log = ctypes.create_string_buffer(4096)
        options = (c_int * 2)(self._JIT_ERROR_LOG, self._JIT_ERROR_LOG_SIZE)
        values = (c_void_p * 2)(ctypes.addressof(log), len(log))
        module = c_void_p()
        try:
            self.call("cuModuleLoadDataEx", byref(module), ptx.encode("ascii"), 2, options, values)
        except CudaError as error:
            raise CudaError(f"{error} {log.value.decode('utf-8', 'replace')}".strip()) from error
        for name in kernels:
            self._functions[name] = c_void_p()
            self.call("cuModuleGetFunction", byref(self._functions[name]), module, name.encode("ascii"))

    def launch(self, kernel: str, grid: tuple[int, int], block: tuple[int, int], *arguments: Any) -> None:
        """Queue a kernel; the arguments are ctypes values of the widths that the PTX declares."""
        pointers = (c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
        self.call("cuLaunchKernel", self._functions[kernel], *grid, 1, *block, 1, 0, None, pointers, None)

    def synchronize(self) -> None:
        self.call("cuCtxSynchronize")

    def free_memory(self) -> int:
        free, total = c_size_t(), c_size_t()
        self.call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value

    @contextlib.contextmanager
    def buffers(self, count: int, size: int) -> Iterator[list[int]]:
        """Addresses of ``count`` blocks of device memory of ``size`` bytes each."""
        addresses: list[int] = []
        try:
            for _ in range(count):
                addresses.append(self.allocate(size))
            yield addresses
        finally:
            self.release(addresses)

    def allocate(self, size: int) -> int:
        address = c_uint64()
        self.call("cuMemAlloc_v2", byref(address), size)
        return address.value

    def release(self, addresses: list[int]) -> None:
        """Give memory back. After a fault in a kernel nothing can be freed; the first error is the one to tell."""
        with contextlib.suppress(CudaError):
            for address in addresses:
                self.call("cuMemFree_v2", address)

    @contextlib.contextmanager
    def pinned(self, size: int) -> Iterator[int]:
        """Address of ``size`` bytes of page-locked host memory."""
        address = c_void_p()
        self.call("cuMemHostAlloc", byref(address), size, 0)
        try:
            yield address.value or 0
        finally:
            with contextlib.suppress(CudaError):
                self.call("cuMemFreeHost", address)

    def download(self, host: Any, address: int) -> Any:
        """Fill a ctypes array or value from device memory and return it."""
        self.call("cuMemcpyDtoH_v2", byref(host), address, ctypes.sizeof(host))
        return host

    def upload(self, address: int, data: bytes) -> None:
        self.call("cuMemcpyHtoD_v2", address, data, len(data))

    @contextlib.contextmanager
    def counter(self) -> Iterator[int]:
        """Address of a 64-bit zero that check kernels add to."""
        with self.buffers(1, 8) as (address,):
            self.call("cuMemsetD8_v2", address, 0, 8)
            yield address

    def rate(self, enqueue: Callable[[], None], warm_up: float, sample: float, meanwhile: Callable[[], None]) -> float:
        """Repetitions of ``enqueue`` per second, by the GPU's own clock.

        Runs for ``warm_up`` seconds first, then as often as fills ``sample`` seconds; ``meanwhile`` is called
        once while the GPU is busy with those.
        """
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < warm_up:
            for _ in range(8):
                enqueue()
            self.synchronize()
            done += 8
        repetitions = max(8, int(done * sample / (time.perf_counter() - started)))
        with self._event() as begin, self._event() as end:
            self.call("cuEventRecord", begin, None)
            for _ in range(repetitions):
                enqueue()
            self.call("cuEventRecord", end, None)
            meanwhile()
            self.call("cuEventSynchronize", end)
            milliseconds = c_float()
            self.call("cuEventElapsedTime", byref(milliseconds), begin, end)
        return repetitions * 1000 / milliseconds.value

    @contextlib.contextmanager
    def _event(self) -> Iterator[c_void_p]:
        event = c_void_p()
        self.call("cuEventCreate", byref(event), self._EVENT_BLOCKING_SYNC)
        try:
            yield event
        finally:
            with contextlib.suppress(CudaError):
                self.call("cuEventDestroy_v2", event)


class FieldValue(ctypes.Structure):
    """nvmlFieldValue_t."""

    _fields_ = (
        ("field", c_uint),
        ("scope", c_uint),
        ("timestamp", ctypes.c_int64),
        ("latency", ctypes.c_int64),
        ("kind", c_uint),
        ("status", c_uint),
        ("value", c_uint64),
    )


class Nvml:
    """One GPU as the management library sees it. What a driver or GPU does not know reads as None.

    Any other failure (the GPU is lost, for one) reads as None too and is kept in ``errors``, in NVML's words.
    """

    # Invalid argument (a field newer than the driver), not supported, no permission, not found, function not
    # found, no data, no ECC on a virtual GPU, argument version mismatch, deprecated.
    _ABSENT = frozenset((2, 3, 4, 6, 13, 21, 22, 25, 26))

    def __init__(self, pci_bus_id: str) -> None:
        self._library = load_library("libnvidia-ml.so.1")
        self._library.nvmlErrorString.restype = c_char_p
        self.errors: list[str] = []
        self._device = c_void_p()
        self._require("nvmlInit_v2")
        self._require("nvmlDeviceGetHandleByPciBusId_v2", pci_bus_id.encode("ascii"), byref(self._device))

    def _require(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            raise ProbeError(f"{function}: {self._describe(status)}")

    def _describe(self, status: int) -> str:
        text: bytes = self._library.nvmlErrorString(status) or b"?"
        return f"{text.decode('utf-8', 'replace')} ({status})"

    def _query(self, function: str, *arguments: Any) -> bool:
        """Call a function; False where it does not exist, does not apply or fails."""
        entry = getattr(self._library, function, None)
        if entry is None:
            return False
        return self._succeeded(function, entry(*arguments))

    def _succeeded(self, what: str, status: int) -> bool:
        if status and status not in self._ABSENT:
            self.errors.append(f"{what}: {self._describe(status)}")
        return not status

    def numbers(self, function: str, *inputs: int, count: int = 1, kind: Any = c_uint) -> list[int] | None:
        """The ``count`` outputs of a function that takes the device, integers, and pointers to integers."""
        outputs = [kind() for _ in range(count)]
        if not self._query(function, self._device, *inputs, *(byref(output) for output in outputs)):
            return None
        return [output.value for output in outputs]

    def number(self, function: str, *inputs: int, kind: Any = c_uint) -> int | None:
        outputs = self.numbers(function, *inputs, kind=kind)
        return outputs[0] if outputs else None

    def text(self, function: str) -> str | None:
        buffer = ctypes.create_string_buffer(96)
        found = self._query(function, self._device, buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if found else None

    def driver(self) -> str | None:
        """The driver's version; the one question here that is not about a device."""
        buffer = ctypes.create_string_buffer(96)
        found = self._query("nvmlSystemGetDriverVersion", buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if found else None

    def memory_mib(self) -> int | None:
        memory = (c_uint64 * 3)()  # nvmlMemory_t: total, free, used
        found = self._query("nvmlDeviceGetMemoryInfo", self._device, byref(memory))
        return memory[0] // MIB if found else None

    def field(self, number: int, name: str) -> int | None:
        """An integer out of the numbered fields of nvmlDeviceGetFieldValues."""
        value = FieldValue(field=number)
        found = self._query("nvmlDeviceGetFieldValues", self._device, 1, byref(value))
        # Little-endian: the low half of the union holds an unsigned int as well as a small long.
        return value.value & 0xFFFFFFFF if found and self._succeeded(name, value.status) else None


# --- what is read ---------------------------------------------------------------------------------------------

THROTTLE_REASONS = {
    0x1: "gpu_idle",
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
SWITCH = ("Disabled", "Enabled")
RECOVERY_ACTIONS = (
    "None",
    "GPU Reset",
    "Node Reboot",
    "Drain P2P",
    "Drain and Reset",
    "Recover IMEX Domain",
    "Bus Reset",
    "System Reboot",
)
GPU_RECOVERY_ACTION = 230  # NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
UNCORRECTED, VOLATILE = 1, 0
CLOCK_SM, CLOCK_MEMORY = 1, 2


def throttle_words(mask: int) -> list[str]:
    """The reasons in a bit mask of nvmlClocksEventReasons, lowest bit first; unknown bits keep their number."""
    bits = [1 << position for position in range(mask.bit_length()) if mask >> position & 1]
    return [THROTTLE_REASONS.get(bit, f"unknown_{bit:#x}") for bit in bits]


def word(value: int | None, words: tuple[str, ...]) -> str | None:
    """NVML's enumeration as its word, a value newer than this file as its number."""
    if value is None:
        return None
    return words[value] if value < len(words) else f"unknown ({value})"


def thousandths(value: int | None) -> float | None:
    return None if value is None else value / 1000


def read_state(nvml: Nvml) -> dict[str, Any]:
    """What does not depend on load."""
    ecc = nvml.numbers("nvmlDeviceGetEccMode", count=2)
    mig = nvml.numbers("nvmlDeviceGetMigMode", count=2)
    rows = nvml.numbers("nvmlDeviceGetRemappedRows", count=4)
    return {
        "serial": nvml.text("nvmlDeviceGetSerial"),
        "ecc_mode": word(ecc[0] if ecc else None, SWITCH),
        "ecc_uncorrected": nvml.number("nvmlDeviceGetTotalEccErrors", UNCORRECTED, VOLATILE, kind=ctypes.c_ulonglong),
        "remapped_rows": rows
        and {
            "correctable": rows[0],
            "uncorrectable": rows[1],
            "pending": bool(rows[2]),
            "failure": bool(rows[3]),
        },
        "persistence_mode": word(nvml.number("nvmlDeviceGetPersistenceMode"), SWITCH),
        "mig_mode": word(mig[0] if mig else None, SWITCH),
        "recovery_action": word(nvml.field(GPU_RECOVERY_ACTION, "recovery_action"), RECOVERY_ACTIONS),
    }


def read_link(nvml: Nvml) -> dict[str, Any]:
    """The PCIe link. Read while it is in use: it falls back to generation 1 when idle."""
    return {
        "pcie": {
            "generation": nvml.number("nvmlDeviceGetCurrPcieLinkGeneration"),
            "generation_max": nvml.number("nvmlDeviceGetMaxPcieLinkGeneration"),
            "width": nvml.number("nvmlDeviceGetCurrPcieLinkWidth"),
            "width_max": nvml.number("nvmlDeviceGetMaxPcieLinkWidth"),
        }
    }


def read_load(nvml: Nvml) -> dict[str, Any]:
    """What means something only while the GPU works."""
    mask = nvml.number("nvmlDeviceGetCurrentClocksEventReasons", kind=ctypes.c_ulonglong)
    if mask is None:  # the name before driver 535
        mask = nvml.number("nvmlDeviceGetCurrentClocksThrottleReasons", kind=ctypes.c_ulonglong)
    return {
        "clocks_mhz": {
            "sm": nvml.number("nvmlDeviceGetClockInfo", CLOCK_SM),
            "memory": nvml.number("nvmlDeviceGetClockInfo", CLOCK_MEMORY),
        },
        "temperature_c": nvml.number("nvmlDeviceGetTemperature", 0),
        "power_w": thousandths(nvml.number("nvmlDeviceGetPowerUsage")),
        "power_limit_w": thousandths(nvml.number("nvmlDeviceGetEnforcedPowerLimit")),
        "throttle_reasons": None if mask is None else throttle_words(mask),
    }


# --- what is checked ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One correctness check. ``detail`` says what was covered, or what was wrong."""

    name: str
    ok: bool
    seconds: float
    detail: str = ""


class WrongResult(ProbeError):
    """The GPU computed or kept something else than it should have."""


class FloatLoad:
    """The kernel `fma_chains`, filling the GPU: 1,024 threads for each multiprocessor.

    The largest sum is 16 * 31 + 136 * 8 * STEPS, below 2^24, so float32 holds it exactly.
    """

    STEPS = 2048

    def __init__(self, gpu: Gpu) -> None:
        self._gpu, self._blocks = gpu, gpu.multiprocessors * 4
        self.threads = self._blocks * 256
        self.operations = 2 * CHAINS * LINKS * self.STEPS * self.threads

    def enqueue(self, out: int) -> None:
        arguments = c_uint64(out), c_uint(self.STEPS), c_float(1.0)
        self._gpu.launch("fma_chains", (self._blocks, 1), (256, 1), *arguments)

    def expected(self) -> bytes:
        """What each warp should write."""
        grown = LINKS * self.STEPS * sum(range(1, CHAINS + 1))
        return struct.pack("<32f", *(CHAINS * lane + grown for lane in range(32)))


class TensorLoad:
    """The kernel `tensor_products`, filling the GPU: 16 warps for each multiprocessor.

    Inputs are integers from -4 to 3, so an element stays below 16 * 16 * STEPS = 2^20 and is exact.
    """

    STEPS = 4096
    SIDE = 16

    def __init__(self, gpu: Gpu) -> None:
        self._gpu, self._blocks = gpu, gpu.multiprocessors * 2
        self._warps = self._blocks * 8
        self.bytes_out = self._warps * 4 * 4 * self.SIDE**2
        self.operations = 2 * self.SIDE**3 * 4 * self.STEPS * self._warps
        self._a, self._b = ([random.randrange(-4, 4) for _ in range(2 * self.SIDE**2)] for _ in range(2))

    @staticmethod
    def fits(gpu: Gpu) -> bool:
        """Whether the GPU has tensor cores."""
        return gpu.capability >= (7, 0)

    @contextlib.contextmanager
    def operands(self) -> Iterator[tuple[int, int]]:
        """Addresses of the inputs on the GPU."""
        with self._gpu.buffers(2, 2 * len(self._a)) as (a, b):
            for address, values in ((a, self._a), (b, self._b)):
                self._gpu.upload(address, struct.pack(f"<{len(values)}e", *values))
            yield a, b

    def enqueue(self, a: int, b: int, out: int) -> None:
        arguments = c_uint64(a), c_uint64(b), c_uint64(out), c_uint(self.STEPS)
        self._gpu.launch("tensor_products", (self._blocks, 1), (256, 1), *arguments)

    def expected(self) -> bytes:
        """What each warp should write: a0 b0, a0 b1, a1 b0, a1 b1, each as often added up as there are steps."""
        side, size = self.SIDE, self.SIDE**2
        rows = [self._a[i : i + side] for i in range(0, 2 * size, side)]
        columns = [self._b[i : i + side] for i in range(0, 2 * size, side)]
        values = [
            float(self.STEPS * sum(map(operator.mul, rows[i * side + row], columns[j * side + column])))
            for i in range(2)
            for j in range(2)
            for row in range(side)
            for column in range(side)
        ]
        return struct.pack(f"<{len(values)}f", *values)


def require_none(wrong: int, total: int, what: str) -> None:
    if wrong:
        raise WrongResult(f"{wrong} of {total} {what} are wrong")


def vector_add(gpu: Gpu, level: Level) -> str:
    """Add two vectors of 16 Mi numbers below 1024; checked on the GPU in full and on the host by sample."""
    n, shift = 1 << 24, 22
    grid, block = (n // 256, 1), (256, 1)
    for _ in range(level.rounds):
        seed_a, seed_b = random.getrandbits(32), random.getrandbits(32)
        with gpu.buffers(3, 4 * n) as (a, b, c), gpu.counter() as wrong:
            gpu.launch("fill", grid, block, c_uint64(a), c_uint(n), c_uint(seed_a), c_uint(shift))
            gpu.launch("fill", grid, block, c_uint64(b), c_uint(n), c_uint(seed_b), c_uint(shift))
            gpu.launch("vector_add", grid, block, c_uint64(a), c_uint64(b), c_uint64(c), c_uint(n))
            seeds = c_uint(seed_a), c_uint(seed_b)
            gpu.launch("check_sum", grid, block, c_uint64(c), c_uint(n), *seeds, c_uint(shift), c_uint64(wrong))
            require_none(gpu.download(c_uint64(), wrong).value, n, "sums")
            sample = random.sample(range(n), 256)
            expected = [small_integer(i, seed_a, shift) + small_integer(i, seed_b, shift) for i in sample]
            found = [gpu.download(c_float(), c + 4 * i).value for i in sample]
            require_none(sum(map(operator.ne, found, expected)), len(sample), "sums sampled on the host")
    return ""


def matmul(gpu: Gpu, level: Level) -> str:
    """Multiply two 1024 x 1024 matrices of numbers below 8: a sum stays below 2^16, so float32 is exact."""
    n, shift = 1024, 29
    grid, block = (n * n // 256, 1), (256, 1)
    with gpu.buffers(3, 4 * n * n) as (a, b, c), gpu.counter() as wrong:
        for _ in range(level.rounds):
            for matrix in (a, b):
                seed = c_uint(random.getrandbits(32))
                gpu.launch("fill", grid, block, c_uint64(matrix), c_uint(n * n), seed, c_uint(shift))
            matrices = c_uint64(a), c_uint64(b), c_uint64(c)
            gpu.launch("matmul", (n // 16, n // 16), (16, 16), *matrices, c_uint(n))
            gpu.launch("check_product", grid, block, *matrices, c_uint(n), c_uint64(wrong))
            require_none(gpu.download(c_uint64(), wrong).value, n * n, "elements")
        host = [gpu.download((c_float * (n * n))(), matrix) for matrix in (a, b, c)]
    require_none(freivalds(host[0], host[1], host[2], n), n, "rows, by a randomised check on the host,")
    return ""


def freivalds(a: Any, b: Any, c: Any, n: int) -> int:
    """Rows in which c is not a·b, by comparing a·(b·r) with c·r for a random r; misses one with odds of 2^-20.

    a, b, c are flat, row by row. Entries of a and b below 8 and n = 1024 keep every sum an exact float64.
    """
    r = [float(random.getrandbits(20)) for _ in range(n)]

    def times(matrix: Any, vector: list[float]) -> list[float]:
        return [sum(map(operator.mul, matrix[i : i + n], vector)) for i in range(0, n * n, n)]

    return sum(map(operator.ne, times(a, times(b, r)), times(c, r)))


def memory_pattern(gpu: Gpu, level: Level) -> str:
    """Fill most of the free memory with words made from their addresses, then read them all back.

    Everything is written before anything is read, so two addresses that reach one cell are found; each pass
    has the complement of the one before, so every bit has been both 0 and 1.
    """
    size, free = 256 * MIB, gpu.free_memory()
    blocks = allocate_many(gpu, int(free * level.share) // size, size, level.allocation)
    grid, block, cells = (gpu.multiprocessors * 16, 1), (256, 1), c_uint64(size // 16)
    salt = random.getrandbits(64)
    try:
        with gpu.counter() as wrong:
            for _ in range(level.passes):
                for address in blocks:
                    gpu.launch("pattern_write", grid, block, c_uint64(address), cells, c_uint64(salt))
                for address in blocks:
                    arguments = c_uint64(address), cells, c_uint64(salt), c_uint64(wrong)
                    gpu.launch("pattern_check", grid, block, *arguments)
                total = len(blocks) * cells.value
                require_none(gpu.download(c_uint64(), wrong).value, total, "cells of 16 bytes")
                salt ^= (1 << 64) - 1
    finally:
        gpu.release(blocks)
    return f"{len(blocks) * size / GIB:.1f} GiB of {free / GIB:.1f} GiB free, {level.passes} passes"


def allocate_many(gpu: Gpu, count: int, size: int, seconds: float) -> list[int]:
    """Up to ``count`` blocks, fewer where memory or time runs out first; raises WrongResult for none at all."""
    started = time.perf_counter()
    blocks: list[int] = []
    with contextlib.suppress(CudaError):  # somebody else took memory since we asked how much is free
        while len(blocks) < count and time.perf_counter() - started < seconds:
            blocks.append(gpu.allocate(size))
    if not blocks:
        raise WrongResult(f"not one block of {size // MIB} MiB could be allocated")
    return blocks


def fused_multiply_add(gpu: Gpu, level: Level) -> str:
    """Long chains of multiply-adds on every float32 unit at once; the host compares every sum, which is exact."""
    load = FloatLoad(gpu)
    with gpu.buffers(1, 4 * load.threads) as (out,):
        for _ in range(level.rounds):
            load.enqueue(out)
            require_same(gpu.download((c_float * load.threads)(), out), load.expected(), "sums")
    return ""


def tensor_product(gpu: Gpu, level: Level) -> str:
    """Products of small integers on every tensor core at once; the host compares every element, which is exact."""
    load = TensorLoad(gpu)
    with load.operands() as (a, b), gpu.buffers(1, load.bytes_out) as (out,):
        for _ in range(level.rounds):
            load.enqueue(a, b, out)
            require_same(gpu.download((c_float * (load.bytes_out // 4))(), out), load.expected(), "elements")
    return ""


def require_same(found: Any, expected: bytes, what: str) -> None:
    """Compare a ctypes array of floats with what it should repeat, bit by bit."""
    raw = bytes(found)
    wanted = expected * (len(raw) // len(expected))
    if raw != wanted:
        words = memoryview(raw).cast("I"), memoryview(wanted).cast("I")
        require_none(sum(map(operator.ne, *words)), len(found), what)


CHECKS: dict[str, Callable[[Gpu, Level], str]] = {
    "vector_add": vector_add,
    "matmul": matmul,
    "memory_pattern": memory_pattern,
    "fused_multiply_add": fused_multiply_add,
    "tensor_product": tensor_product,
}


def checks_for(gpu: Gpu) -> list[str]:
    """The names of the checks that this GPU has the parts for."""
    return [name for name in CHECKS if name != "tensor_product" or TensorLoad.fits(gpu)]


def run_check(name: str, gpu: Gpu, level: Level) -> Check:
    started = time.perf_counter()
    try:
        ok, detail = True, CHECKS[name](gpu, level)
    except ProbeError as error:
        ok, detail = False, str(error)
    return Check(name, ok, round(time.perf_counter() - started, 3), detail)


# --- how fast it is -------------------------------------------------------------------------------------------


def device_bandwidth(gpu: Gpu, level: Level, meanwhile: Callable[[], None]) -> dict[str, float]:
    """Device memory copied onto itself, bytes read plus bytes written, in GB/s (10^9 bytes per second)."""
    size = min(GIB, gpu.free_memory() // 4)
    with gpu.buffers(2, size) as (source, target):

        def copy() -> None:
            gpu.call("cuMemcpyDtoDAsync_v2", target, source, size, None)

        rate = gpu.rate(copy, level.warm_up, level.sample, meanwhile)
    return {"device": round(2 * size * rate / 1e9, 1)}


def host_bandwidth(gpu: Gpu, level: Level, meanwhile: Callable[[], None]) -> dict[str, float]:
    """Host to device and device to host, from page-locked memory, in GB/s (10^9 bytes per second)."""
    size, warm_up, sample = 64 * MIB, 0.1, level.sample / 2
    with turn(patience=level.deadline / 3), gpu.buffers(1, size) as (device,), gpu.pinned(size) as host:

        def up() -> None:
            gpu.call("cuMemcpyHtoDAsync_v2", device, host, size, None)

        def down() -> None:
            gpu.call("cuMemcpyDtoHAsync_v2", host, device, size, None)

        to_device = gpu.rate(up, warm_up, sample, meanwhile)
        to_host = gpu.rate(down, warm_up, sample, meanwhile)
    return {"host_to_device": round(size * to_device / 1e9, 2), "device_to_host": round(size * to_host / 1e9, 2)}


def float_throughput(gpu: Gpu, level: Level, meanwhile: Callable[[], None]) -> dict[str, float]:
    """Multiply-adds in float32, two operations each, in TFLOPS (10^12 per second)."""
    load = FloatLoad(gpu)
    with gpu.buffers(1, 4 * load.threads) as (out,):
        rate = gpu.rate(partial(load.enqueue, out), level.warm_up / 2, level.sample / 2, meanwhile)
    return {"fp32": round(load.operations * rate / 1e12, 2)}


def tensor_throughput(gpu: Gpu, level: Level, meanwhile: Callable[[], None]) -> dict[str, float]:
    """Matrix products on the tensor cores, float16 into float32, in TFLOPS; nothing where there are none."""
    if not TensorLoad.fits(gpu):
        return {}
    load = TensorLoad(gpu)
    with load.operands() as (a, b), gpu.buffers(1, load.bytes_out) as (out,):
        rate = gpu.rate(partial(load.enqueue, a, b, out), level.warm_up, level.sample, meanwhile)
    return {"tensor": round(load.operations * rate / 1e12, 1)}


@dataclass(frozen=True)
class Measure:
    """What is timed, into which part of the record, and what is read of the GPU meanwhile."""

    into: str
    run: Callable[[Gpu, Level, Callable[[], None]], dict[str, float]]
    read: Callable[[Nvml], dict[str, Any]]


MEASURES = (
    Measure("bandwidth_gbs", device_bandwidth, read_load),
    Measure("bandwidth_gbs", host_bandwidth, read_link),
    Measure("tflops", float_throughput, read_load),
    Measure("tflops", tensor_throughput, read_load),  # last: what is read now is read under the heaviest load
)


@contextlib.contextmanager
def turn(patience: float) -> Iterator[None]:
    """One GPU at a time where they share a resource: eight at once would measure the host's memory instead.

    The lock is on this very file and falls when its holder is killed; after ``patience`` seconds we go anyway.
    """
    give_up = time.monotonic() + patience
    with Path(__file__).open("rb") as handle:
        while time.monotonic() < give_up:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # a file system without locks
                break
        yield


# --- one GPU, in a process of its own -------------------------------------------------------------------------


def identify(cuda: Cuda, index: int) -> dict[str, Any]:
    """Who a GPU is, by what needs no context on it."""
    device, memory, uuid = cuda.integer("cuDeviceGet", index), c_size_t(), ctypes.create_string_buffer(16)
    cuda.call("cuDeviceTotalMem_v2", byref(memory), device)
    cuda.call("cuDeviceGetUuid_v2", uuid, device)
    digits = uuid.raw.hex()
    parts = digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]
    major, minor = cuda.capability(device)
    return {
        "index": index,
        "uuid": "GPU-" + "-".join(parts),
        "name": cuda.text("cuDeviceGetName", device),
        "memory_mib": memory.value // MIB,
        "compute_capability": f"{major}.{minor}",
        "pci_bus_id": cuda.text("cuDeviceGetPCIBusId", device),
    }


def blank_gpu(identity: dict[str, Any]) -> dict[str, Any]:
    """The record of a GPU of which nothing is known but who it is."""
    return {
        **identity,
        "serial": None,
        "ecc_mode": None,
        "ecc_uncorrected": None,
        "remapped_rows": None,
        "pcie": {"generation": None, "generation_max": None, "width": None, "width_max": None},
        "clocks_mhz": {"sm": None, "memory": None},
        "temperature_c": None,
        "power_w": None,
        "power_limit_w": None,
        "throttle_reasons": None,
        "persistence_mode": None,
        "mig_mode": None,
        "recovery_action": None,
        "checks": [],
        "bandwidth_gbs": {"device": None, "host_to_device": None, "device_to_host": None},
        "tflops": {"fp32": None, "tensor": None},
        "errors": [],
    }


def list_gpus() -> dict[str, Any]:
    """Driver versions and the identity of each GPU; raises ProbeError where there is no usable one."""
    cuda = Cuda()
    gpus = [identify(cuda, index) for index in range(cuda.integer("cuDeviceGetCount"))]
    if not gpus:
        raise ProbeError("the driver shows no GPU")
    driver = None
    with contextlib.suppress(ProbeError):  # the driver works without its management library
        driver = Nvml(gpus[0]["pci_bus_id"]).driver()
    return {"driver": driver, "cuda_driver": cuda.integer("cuDriverGetVersion"), "error": None, "gpus": gpus}


def measure_gpu(index: int, level: Level) -> dict[str, Any]:
    """Everything about one GPU; raises ProbeError where CUDA does not even show it."""
    cuda = Cuda()
    record = blank_gpu(identify(cuda, index))
    nvml = None
    try:
        nvml = Nvml(record["pci_bus_id"])
    except ProbeError as error:
        record["errors"].append(str(error))
    started = time.perf_counter()
    try:
        gpu = ready_gpu(cuda, index)
    except ProbeError as error:
        mark_unusable(record, str(error), time.perf_counter() - started)
    else:
        exercise(gpu, nvml, level, record)
    if nvml:  # last, so that errors that the checks provoked are in it; and also where nothing else works
        record.update(read_state(nvml), memory_mib=nvml.memory_mib() or record["memory_mib"])
        record["errors"].extend(nvml.errors)
    return record


def ready_gpu(cuda: Cuda, index: int) -> Gpu:
    """The GPU with every kernel that it can run."""
    gpu = Gpu(cuda, index)
    gpu.load(PTX, KERNELS)
    if TensorLoad.fits(gpu):
        gpu.load(PTX_TENSOR, KERNELS_TENSOR)
    return gpu


def exercise(gpu: Gpu, nvml: Nvml | None, level: Level, record: dict[str, Any]) -> None:
    """Check and time a GPU that can be used; each failure costs its own part of the record."""
    checks = [run_check(name, gpu, level) for name in checks_for(gpu)]
    record["checks"] = [asdict(check) for check in checks]
    record["errors"].extend(f"{check.name}: {check.detail}" for check in checks if not check.ok)

    def look(read: Callable[[Nvml], dict[str, Any]]) -> None:
        if nvml:
            earlier = record["throttle_reasons"]
            record.update(read(nvml))
            record["throttle_reasons"] = seen_so_far(earlier, record["throttle_reasons"])

    for measure in MEASURES:
        try:
            record[measure.into].update(measure.run(gpu, level, partial(look, measure.read)))
        except ProbeError as error:
            record["errors"].append(f"{measure.run.__name__}: {error}")


def seen_so_far(earlier: list[str] | None, now: list[str] | None) -> list[str] | None:
    """Throttle reasons of one load and of those before it: being slowed down once is enough to be told."""
    if earlier is None or now is None:
        return now if earlier is None else earlier
    return [*earlier, *(reason for reason in now if reason not in earlier)]


def mark_unusable(record: dict[str, Any], problem: str, seconds: float) -> None:
    """Note that a GPU does not answer, as the failed check ``answers``."""
    record["checks"] = [asdict(Check("answers", ok=False, seconds=round(seconds, 3), detail=problem))]
    record["errors"].append(f"answers: {problem}")


# --- between GPUs, all in one process -------------------------------------------------------------------------


def measure_peers(indexes: list[int], level: Level) -> dict[str, Any]:
    """Copies from each GPU to each other one, a record a pair; raises ProbeError where one of them has no context."""
    cuda = Cuda()
    gpus = {index: ready_gpu(cuda, index) for index in indexes}
    return {"peers": [measure_pair(cuda, gpus, pair, level) for pair in itertools.permutations(indexes, 2)]}


def blank_peer(pair: tuple[int, int]) -> dict[str, Any]:
    return {"source": pair[0], "target": pair[1], "access": None, "gbs": None, "error": None}


def measure_pair(cuda: Cuda, gpus: dict[int, Gpu], pair: tuple[int, int], level: Level) -> dict[str, Any]:
    source, target = (gpus[index] for index in pair)
    record = blank_peer(pair)
    try:
        record["access"] = bool(cuda.integer("cuDeviceCanAccessPeer", source.device, target.device))
        source.use()
        if record["access"]:
            cuda.call("cuCtxEnablePeerAccess", target.context, 0)
        record["gbs"] = peer_bandwidth(source, target, level)
    except ProbeError as error:
        record["error"] = str(error)
    return record


def peer_bandwidth(source: Gpu, target: Gpu, level: Level) -> float:
    """Device memory of one GPU copied to the other's, one way, in GB/s; raises WrongResult where it does not arrive.

    The target adds other numbers to what came, and each sum is checked there: the kernels are those of `vector_add`.
    """
    n, shift = 1 << 24, 22
    size, grid, block = 4 * n, (n // 256, 1), (256, 1)
    seed_a, seed_b = random.getrandbits(32), random.getrandbits(32)
    with source.buffers(1, size) as (there,):
        source.launch("fill", grid, block, c_uint64(there), c_uint(n), c_uint(seed_a), c_uint(shift))
        source.synchronize()
        target.use()
        with target.buffers(2, size) as (here, other), target.counter() as wrong:

            def copy() -> None:
                source.call("cuMemcpyPeerAsync", here, target.context, there, source.context, size, None)

            source.use()
            rate = source.rate(copy, level.sample / 20, level.sample / 20, lambda: None)
            target.use()
            target.launch("fill", grid, block, c_uint64(other), c_uint(n), c_uint(seed_b), c_uint(shift))
            target.launch("vector_add", grid, block, c_uint64(here), c_uint64(other), c_uint64(other), c_uint(n))
            seeds = c_uint(seed_a), c_uint(seed_b)
            target.launch("check_sum", grid, block, c_uint64(other), c_uint(n), *seeds, c_uint(shift), c_uint64(wrong))
            require_none(target.download(c_uint64(), wrong).value, n, "numbers that arrived")
        source.use()
    return round(size * rate / 1e9, 1)


# --- all GPUs, from the outside -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What a child process came to. ``status`` is its exit status, None where it was killed for being late."""

    status: int | None
    stdout: str
    stderr: str
    seconds: float

    @property
    def document(self) -> dict[str, Any] | None:
        """The JSON object on the last line of stdout, if there is one."""
        lines = self.stdout.strip().splitlines()
        try:
            document = json.loads(lines[-1]) if lines else None
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    @property
    def problem(self) -> str:
        """Why there is no document."""
        if self.status is None:
            return f"hung: no answer within {self.seconds:.0f} s"
        last_words = (self.stderr.strip().splitlines() or ["no message"])[-1]
        how = f"died of signal {-self.status}" if self.status < 0 else f"exited with status {self.status}"
        return f"the measuring process {how}: {last_words}"


@dataclass
class Child:
    """A running child. It writes into files, because a pipe that nobody reads would hold it up."""

    command: list[str]
    stdout: Any = field(default_factory=tempfile.TemporaryFile)
    stderr: Any = field(default_factory=tempfile.TemporaryFile)

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        # PCI order, so that an index means the same here and in nvidia-smi
        environment = {**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=self.stdout, stderr=self.stderr, env=environment
        )

    def finish(self, deadline: float) -> Answer:
        """Wait until ``deadline`` (monotonic seconds), then kill."""
        status: int | None = None
        try:
            status = self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
        return Answer(status, self._read(self.stdout), self._read(self.stderr), time.monotonic() - self.started)

    def kill(self) -> None:
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck inside the driver: not even SIGKILL helps
            self.process.wait(2)

    @staticmethod
    def _read(stream: Any) -> str:
        stream.seek(0)
        text: str = stream.read().decode("utf-8", "replace")
        stream.close()
        return text


def run_side_by_side(commands: list[list[str]], deadline: float) -> list[Answer]:
    """Run all commands at once; each is killed ``deadline`` seconds from now. Answers come in the same order."""
    limit = time.monotonic() + deadline
    children: list[Child] = []
    try:
        for command in commands:
            children.append(Child(command))
        return [child.finish(limit) for child in children]
    finally:
        for child in children:
            if child.process.poll() is None:
                child.kill()


def own_command(*arguments: str) -> list[str]:
    return [sys.executable, "-I", str(Path(__file__).resolve()), *arguments]


def survey(level_name: str) -> dict[str, Any]:
    """The whole document."""
    started, clock, level = time.time(), time.monotonic(), LEVELS[level_name]
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "probe": hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12],
        "level": level_name,
        "host": socket.gethostname(),
        "started": round(started, 3),
        "seconds": 0.0,
        "driver": None,
        "cuda_driver": None,
        "error": None,
        "gpus": [],
        "peers": [],
    }
    (listing,) = run_side_by_side([own_command("--list")], LIST_DEADLINE_S)
    document.update(listing.document or {"error": f"listing the GPUs: {listing.problem}"})
    identities = document["gpus"]
    commands = [own_command("--gpu", str(gpu["index"]), "--level", level_name) for gpu in identities]
    answers = run_side_by_side(commands, level.deadline)
    document["gpus"] = list(map(gpu_record, identities, answers))
    document["peers"] = survey_peers(document["gpus"], level_name)
    document["seconds"] = round(time.monotonic() - clock, 2)
    return document


def survey_peers(gpus: list[dict[str, Any]], level_name: str) -> list[dict[str, Any]]:
    """A record for each ordered pair of GPUs that answered; one that says why where they did not answer together."""
    indexes = [gpu["index"] for gpu in gpus if all(check["name"] != "answers" for check in gpu["checks"])]
    if len(indexes) < 2:
        return []
    command = own_command("--peers", ",".join(map(str, indexes)), "--level", level_name)
    (answer,) = run_side_by_side([command], LEVELS[level_name].deadline)
    document = answer.document or {"error": answer.problem}
    if "peers" in document:
        peers: list[dict[str, Any]] = document["peers"]
        return peers
    return [{**blank_peer(pair), "error": document["error"]} for pair in itertools.permutations(indexes, 2)]


def gpu_record(identity: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """A child's record of its GPU, or one that says what became of the child."""
    document = answer.document or {"error": answer.problem}
    problem = document.get("error")
    if problem is None:
        return document
    record = blank_gpu(identity)
    mark_unusable(record, problem, answer.seconds)
    return record


def exit_status(document: dict[str, Any]) -> int:
    if document["error"] is not None:
        return EXIT_NO_GPU
    failed = any(gpu["errors"] or not all(check["ok"] for check in gpu["checks"]) for gpu in document["gpus"])
    failed = failed or any(peer["error"] for peer in document["peers"])
    return EXIT_CHECK_FAILED if failed else EXIT_OK


def summary(document: dict[str, Any]) -> str:
    """A line per GPU for people."""
    if document["error"] is not None:
        return f"no GPU measured: {document['error']}"
    return "\n".join([*map(gpu_line, document["gpus"]), *map(peer_line, document["peers"])])


def gpu_line(gpu: dict[str, Any]) -> str:
    verdict = "FAILED " + ", ".join(gpu["errors"]) if gpu["errors"] else "correct"
    rates = [f"{name.replace('_', ' ')} {rate} GB/s" for name, rate in gpu["bandwidth_gbs"].items() if rate is not None]
    rates += [f"{name} {rate} TFLOPS" for name, rate in gpu["tflops"].items() if rate is not None]
    return "; ".join([f"GPU {gpu['index']} {gpu['name']} {gpu['uuid']}: {verdict}", *rates])


def peer_line(peer: dict[str, Any]) -> str:
    how = "" if peer["access"] else " through the host"
    said = f"FAILED {peer['error']}" if peer["error"] else f"{peer['gbs']} GB/s{how}"
    return f"GPU {peer['source']} to GPU {peer['target']}: {said}"


def in_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a child process prints: its document, or the error that kept it from one."""
    try:
        return work()
    except ProbeError as error:
        return {"error": str(error)}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Measure every NVIDIA GPU of this machine; prints one JSON document on stdout.",
        epilog="Exit status: 0 all checks passed, 1 a check failed, 2 wrong arguments, 3 no GPU could be used.",
    )
    parser.add_argument("--level", choices=sorted(LEVELS), default="standard", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="no lines for people on stderr")
    parser.add_argument("--list", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--gpu", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--peers", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    status = EXIT_OK
    if options.list:
        document = in_child(list_gpus)
    elif options.gpu is not None:
        document = in_child(lambda: measure_gpu(options.gpu, LEVELS[options.level]))
    elif options.peers is not None:
        indexes = [int(index) for index in options.peers.split(",")]
        document = in_child(lambda: measure_peers(indexes, LEVELS[options.level]))
    else:
        document = survey(options.level)
        status = exit_status(document)
        if not options.json:
            print(summary(document), file=sys.stderr)
    print(json.dumps(document, allow_nan=False, separators=(",", ":")), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
