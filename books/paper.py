"""Pages of text and tables on A4: a heading, tables whose heads repeat on every page, and numbered pages.

Everything is placed first and drawn afterwards, so that each page can say how many there are. The bytes depend on
nothing but what is printed: no clock, no random id.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

_FONT, _BOLD = "Helvetica", "Helvetica-Bold"
_MARGIN = 18 * mm
_TOP, _BOTTOM = A4[1] - _MARGIN, _MARGIN + 8 * mm
_ROW, _SIZE = 4.6 * mm, 7.5
_INK, _GREY, _BAND = (0.1, 0.1, 0.12), (0.42, 0.42, 0.46), (0.945, 0.95, 0.965)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its head, its width in millimetres, and whether it holds numbers (set to the right)."""

    head: str
    width_mm: float
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class _Text:
    x: float
    y: float
    text: str
    font: str = _FONT
    size: float = _SIZE
    is_right: bool = False
    grey: bool = False


@dataclass(frozen=True, slots=True)
class _Band:
    y: float


@dataclass(frozen=True, slots=True)
class _Rule:
    y: float


@dataclass(slots=True)
class Paper:
    """What is to be printed, page by page."""

    foot: str
    _pages: list[list[_Text | _Band | _Rule]] = field(default_factory=lambda: [[]])
    _y: float = _TOP

    def title(self, text: str) -> None:
        """The heading of the whole."""
        self._y -= 6 * mm
        self._pages[-1].append(_Text(_MARGIN, self._y, text, _BOLD, 17))
        self._y -= 4 * mm

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Pairs of name and value, one in a line."""
        for name, value in facts:
            self._room(_ROW)
            self._y -= _ROW
            self._pages[-1].append(_Text(_MARGIN, self._y, name, size=8.5, grey=True))
            self._pages[-1].append(_Text(_MARGIN + 34 * mm, self._y, _fit(value, 140 * mm, _FONT, 8.5), size=8.5))
        self._y -= 2 * mm

    def heading(self, text: str) -> None:
        """The heading of a part; it stays with the first rows of what follows."""
        self._room(10 * mm + 4 * _ROW)
        self._y -= 8.5 * mm
        self._pages[-1].append(_Text(_MARGIN, self._y, text, _BOLD, 10.5))
        self._y -= 1.5 * mm

    def note(self, text: str) -> None:
        """A sentence in small print."""
        self._room(_ROW)
        self._y -= _ROW
        self._pages[-1].append(_Text(_MARGIN, self._y, _fit(text, A4[0] - 2 * _MARGIN, _FONT, _SIZE), grey=True))
        self._y -= 1.5 * mm

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, last_is_sum: bool = False) -> None:
        """A table; its head is repeated on every page it reaches. The last row may be set apart as a sum."""
        self._room(3 * _ROW)
        self._head(columns)
        listed = list(rows)
        for number, row in enumerate(listed):
            if self._room(_ROW):
                self._head(columns)
            is_sum = last_is_sum and number == len(listed) - 1
            if is_sum:
                self._pages[-1].append(_Rule(self._y - 1))
            elif number % 2:
                self._pages[-1].append(_Band(self._y - _ROW))
            self._row(columns, row, _BOLD if is_sum else _FONT)
        self._pages[-1].append(_Rule(self._y - 1))
        self._y -= 2 * mm

    def _head(self, columns: Sequence[Column]) -> None:
        self._row(columns, [column.head for column in columns], _BOLD)
        self._pages[-1].append(_Rule(self._y - 1))

    def _row(self, columns: Sequence[Column], row: Sequence[str], font: str) -> None:
        self._y -= _ROW
        x = _MARGIN
        for column, value in zip(columns, row, strict=True):
            width = column.width_mm * mm
            text = _fit(value, width - 1.5 * mm, font, _SIZE)
            at = x + width - 0.75 * mm if column.is_number else x + 0.75 * mm
            self._pages[-1].append(_Text(at, self._y + 1.3 * mm, text, font, is_right=column.is_number))
            x += width

    def _room(self, height: float) -> bool:
        """Begin a page when this much does not fit any more; True when it did."""
        if self._y - height >= _BOTTOM:
            return False
        self._pages.append([])
        self._y = _TOP
        return True

    def print(self, *, title: str) -> bytes:
        """The pages as PDF."""
        sheet = io.BytesIO()
        canvas = Canvas(sheet, pagesize=A4, invariant=1, pageCompression=1)
        canvas.setTitle(title)
        for number, page in enumerate(self._pages, start=1):
            for mark in page:
                _draw(canvas, mark)
            canvas.setFillColorRGB(*_GREY)
            canvas.setFont(_FONT, 7)
            canvas.drawString(_MARGIN, _MARGIN, _printable(self.foot))
            canvas.drawRightString(A4[0] - _MARGIN, _MARGIN, f"Page {number} of {len(self._pages)}")
            canvas.showPage()
        canvas.save()
        return sheet.getvalue()


def _draw(canvas: Canvas, mark: _Text | _Band | _Rule) -> None:
    if isinstance(mark, _Band):
        canvas.setFillColorRGB(*_BAND)
        canvas.rect(_MARGIN, mark.y, A4[0] - 2 * _MARGIN, _ROW, stroke=0, fill=1)
    elif isinstance(mark, _Rule):
        canvas.setStrokeColorRGB(*_GREY)
        canvas.setLineWidth(0.4)
        canvas.line(_MARGIN, mark.y, A4[0] - _MARGIN, mark.y)
    else:
        canvas.setFillColorRGB(*(_GREY if mark.grey else _INK))
        canvas.setFont(mark.font, mark.size)
        (canvas.drawRightString if mark.is_right else canvas.drawString)(mark.x, mark.y, mark.text)


def _printable(text: str) -> str:
    """The text in the letters that every PDF reader has (Latin-1); others become a question mark."""
    return text.encode("latin-1", "replace").decode("latin-1")


def _fit(text: str, width: float, font: str, size: float) -> str:
    """The text, cut to a width; a cut shows as three dots."""
    text = _printable(text)
    if stringWidth(text, font, size) <= width:
        return text
    while text and stringWidth(f"{text}...", font, size) > width:
        text = text[:-1]
    return f"{text}..."
