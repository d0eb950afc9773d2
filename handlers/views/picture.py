"""A picture of what was measured: a bar for each number of each GPU, beside what a good GPU of the model shows.

Pillow draws it: it is one wheel without further needs, takes 0.1 s and 10 MB, brings a font, and Slack shows PNG and no
SVG. It is imported with the first picture only.
"""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFont

from bot.core.verification.gpu_models import MEASURES, data_sheet, find_model
from bot.core.verification.rating import BAD, GOOD, LOW, SLOW, UNRATED, Rate
from bot.core.verification.verdict import GpuResult, Report
from handlers.views.results import worst_first
from handlers.views.words import clean, clip

MOST_GPUS = 40
"""As many as one reads on one screen; the worst are shown."""

_SCALE = 2
"""Drawn at twice the size, for screens with small pixels."""
_NAME, _CELL, _GAP, _ROW, _TOP, _FOOT = 230, 165, 14, 34, 84, 58
_FULL = 1.25
"""A bar's right end, as a share of what is expected: better than expected shows, too."""

_TITLES = {
    "device": "Memory, GB/s",
    "host_to_device": "From host, GB/s",
    "device_to_host": "To host, GB/s",
    "fp32": "float32, TFLOPS",
    "tensor": "Tensor, TFLOPS",
}
_PAPER, _INK, _FAINT, _EMPTY = "#ffffff", "#1d1c1d", "#696969", "#ececec"
# Told apart by lightness, too, and the word stands in each bar: no one has to see red and green.
_COLOURS = {GOOD: "#2b7a4b", LOW: "#d9a514", SLOW: "#d9a514", BAD: "#b3261e", UNRATED: "#8ea3b5"}


def draw(cluster: str, report: Report) -> bytes:
    """The PNG. Rows are GPUs, the worst first, at most `MOST_GPUS`; columns are what the probe times."""
    gpus = worst_first(report)[:MOST_GPUS]
    size = (_NAME + len(MEASURES) * _CELL + _GAP, _TOP + len(gpus) * _ROW + _FOOT)
    image = Image.new("RGB", (size[0] * _SCALE, size[1] * _SCALE), _PAPER)
    pen = _Pen(image)
    pen.text(_GAP, 10, f"{cluster}: {report.good} of {report.expected} GPUs verified", 20, _INK)
    for column, measure in enumerate(MEASURES):
        pen.text(_NAME + column * _CELL, _TOP - 26, _TITLES[measure], 13, _FAINT)
    for row, gpu in enumerate(gpus):
        _gpu(pen, _TOP + row * _ROW, gpu)
    _legend(pen, _TOP + len(gpus) * _ROW + 8, report, len(gpus))
    out = io.BytesIO()
    image.quantize(64, method=Image.Quantize.FASTOCTREE).save(out, "PNG")
    return out.getvalue()


class _Pen:
    """Draws in points; a point is `_SCALE` pixels."""

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)
        self._fonts: dict[int, ImageFont.FreeTypeFont | ImageFont.ImageFont] = {}

    def text(self, x: float, y: float, text: str, size: int, colour: str) -> None:
        if size not in self._fonts:
            self._fonts[size] = ImageFont.load_default(size * _SCALE)
        self._draw.text((x * _SCALE, y * _SCALE), text, fill=colour, font=self._fonts[size])

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        if width > 0:
            self._draw.rectangle(
                (x * _SCALE, y * _SCALE, (x + width) * _SCALE - 1, (y + height) * _SCALE - 1), fill=colour
            )


def _gpu(pen: _Pen, top: float, gpu: GpuResult) -> None:
    pen.text(_GAP, top, clip(_latin(f"{gpu.node}/{gpu.index}"), 34), 13, _INK)
    pen.text(_GAP, top + 15, clip(_latin(f"{gpu.verdict}, {gpu.name}"), 38), 11, _FAINT)
    rates = {rate.measure: rate for rate in gpu.rates}
    for column, measure in enumerate(MEASURES):
        if measure in rates:
            _bar(pen, _NAME + column * _CELL, top, rates[measure], _beside(gpu, rates[measure]))


def _bar(pen: _Pen, left: float, top: float, rate: Rate, beside: float | None) -> None:
    """Measured, filled; the tick is what it is compared with; the words say both and how good that is."""
    width = _CELL - _GAP
    pen.box(left, top + 2, width, 11, _EMPTY)
    if rate.value is None:
        pen.text(left, top + 15, "not measured", 11, _FAINT)
        return
    if beside:
        pen.box(left, top + 2, width * min(rate.value / beside / _FULL, 1.0), 11, _COLOURS.get(rate.word, _FAINT))
        pen.box(left + width / _FULL - 1, top, 2, 15, _INK)
    of = f" of {beside:,.4g}" if beside else ""
    pen.text(left, top + 15, f"{rate.value:,.4g}{of}, {rate.word}", 11, _INK)


def _beside(gpu: GpuResult, rate: Rate) -> float | None:
    """What a good GPU of the model showed; where none was measured the data sheet, which judges nothing."""
    if rate.expected is not None:
        return rate.expected
    model = find_model(gpu.name)
    return data_sheet(model, rate.measure) if model else None


def _legend(pen: _Pen, top: float, report: Report, shown: int) -> None:
    left = len(report.gpus) - shown
    more = f" {left} more GPUs are in the files beside this picture." if left else ""
    pen.text(_GAP, top, f"Tick: what the probe measured on a good GPU of the model.{more}", 12, _FAINT)
    pen.text(_GAP, top + 18, "Unrated: no good GPU of the model was measured; the tick is its data sheet.", 12, _FAINT)


def _latin(text: str) -> str:
    """The font has no other letters."""
    return clean(text).encode("latin-1", "replace").decode("latin-1")
