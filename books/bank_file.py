"""A bank's statement as entries: CSV with a header, or CAMT.053 XML (ISO 20022, versions 2 and later). Pure reading.

Every entry has the bank's own id, which is what makes importing a file twice harmless; a row without one, or one that
cannot be read, is reported by its place and reason, and the others are read all the same. Amounts are minor units.

A CSV file says by its header which column is what. Known headers are listed in `_HEADERS`; for others `columns` names
them ("id" -> "Umsatz-ID"). Decimals have a point; with `;` or a tab between columns a comma is the decimal sign, too.

In CAMT.053 only booked entries count. A batch (one entry, many details with amounts of their own that sum to it) is as
many entries as it has details. XML comes from outside: defusedxml refuses document types and entities.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree as safe_xml
from defusedxml import DefusedXmlException

from trade.money import DecimalRefused, currency_exponent, whole_units

#: Largest amount of one entry, minor units: what one payment may move.
AMOUNT_MINOR_MAX = 10**12
#: Longest text kept of an entry.
TEXT_CHARS_MAX = 500
ID_CHARS_MAX = 120

#: Headers understood without being told, in small letters.
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "transaction id", "transaction_id", "entry id", "bank reference", "bank_reference"),
    "date": ("date", "booking date", "booking_date", "booked", "booked on", "transaction date"),
    "amount": ("amount",),
    "credit": ("credit", "paid in", "money in", "deposit"),
    "debit": ("debit", "paid out", "money out", "withdrawal"),
    "direction": ("direction", "credit/debit", "credit_debit", "type"),
    "currency": ("currency", "ccy"),
    "text": ("reference", "description", "details", "remittance", "purpose", "text", "message"),
    "counterparty": ("counterparty", "name", "payer", "payee", "counterparty name"),
}
_CREDIT, _DEBIT = frozenset({"c", "cr", "credit", "crdt", "in"}), frozenset({"d", "dr", "debit", "dbit", "out"})
_CURRENCY = re.compile(r"[A-Z]{3}")
#: Thousands as they are parted: 1,234,567 or, in India, 12,34,567.
_GROUPS = re.compile(r"\d{1,3}(,\d{2,3})*,\d{3}")


class FileRefused(Exception):
    """The file is no bank statement that can be read; the sentence says why."""


class _Unreadable(Exception):
    """One entry cannot be read; the sentence says why."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Money that a bank says came (`is_credit`) or went."""

    entry_id: str
    is_credit: bool
    amount_minor: int
    currency: str
    booked_on: date
    text: str
    counterparty: str
    #: The bank took back an earlier entry: never booked without a person's look.
    is_reversal: bool = False


@dataclass(frozen=True, slots=True)
class FileProblem:
    """Why one row or entry was not read, and where it stands (a line of a CSV file, an entry of XML)."""

    place: int
    sentence: str


@dataclass(frozen=True, slots=True)
class BankFile:
    """What a file says."""

    entries: tuple[FileEntry, ...]
    problems: tuple[FileProblem, ...]


def read(raw: bytes, *, columns: Mapping[str, str] | None = None) -> BankFile:
    """The entries of a file, XML or CSV by its first character; raises FileRefused."""
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return read_camt053(raw)
    return read_csv(raw, columns=columns)


# --- CSV -------------------------------------------------------------------------------------------------------------


def read_csv(raw: bytes, *, columns: Mapping[str, str] | None = None) -> BankFile:
    """The entries of a CSV file with a header; raises FileRefused when a column that is needed is not there."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileRefused(
            f"The file is no UTF-8 text (byte {error.start}); save it as UTF-8 and send it again."
        ) from error
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return _csv_rows(rows, columns or {}, has_comma=delimiter != ",")
    except csv.Error as error:
        raise FileRefused(f"Line {rows.line_num} is no CSV: {error}.") from error


def _csv_rows(rows: Any, columns: Mapping[str, str], *, has_comma: bool) -> BankFile:
    header = [name.strip().casefold() for name in next(rows, [])]
    where = _columns(header, {name: given.strip().casefold() for name, given in columns.items()})
    entries, problems = [], []
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        cells = {name: row[index].strip() if index < len(row) else "" for name, index in where.items()}
        try:
            entries.append(_csv_entry(cells, has_comma=has_comma))
        except _Unreadable as fault:
            problems.append(FileProblem(rows.line_num, str(fault)))
    return BankFile(tuple(entries), tuple(problems))


def _columns(header: Sequence[str], named: Mapping[str, str]) -> dict[str, int]:
    if unknown := sorted(named.keys() - _HEADERS.keys()):
        raise FileRefused(f"'{unknown[0]}' is no column of a bank file; there are {', '.join(_HEADERS)}.")
    where = {}
    for name, known in _HEADERS.items():
        choices = (named[name],) if name in named else known
        found = [header.index(choice) for choice in choices if choice in header]
        if found:
            where[name] = found[0]
        elif name in named:
            raise FileRefused(f"The header has no column '{named[name]}'; it has {', '.join(header)}.")
    missing = [name for name in ("id", "date", "currency", "text") if name not in where]
    if not missing and "amount" not in where and not {"credit", "debit"} <= where.keys():
        missing = ["amount"]
    if missing:
        raise FileRefused(
            f"The header says nothing of '{missing[0]}'; call a column {' or '.join(_HEADERS[missing[0]])}, or say in"
            f" 'columns' which it is."
        )
    return where


def _csv_entry(cells: Mapping[str, str], *, has_comma: bool) -> FileEntry:
    currency = cells.get("currency", "").upper()
    paid_in, paid_out = cells.get("credit", ""), cells.get("debit", "")
    if "amount" in cells:
        text, is_credit = cells["amount"], not cells["amount"].startswith("-")
        direction = cells.get("direction", "").casefold()
        if direction in _CREDIT | _DEBIT:
            is_credit = direction in _CREDIT
        elif direction:
            raise _Unreadable(f"the direction '{direction[:20]}' is neither credit nor debit")
    elif bool(paid_in) == bool(paid_out):
        raise _Unreadable("one of credit and debit must hold an amount")
    else:
        text, is_credit = paid_in or paid_out, bool(paid_in)
    return _entry(
        entry_id=cells.get("id", ""),
        is_credit=is_credit,
        amount=_plain_decimal(text, has_comma=has_comma).lstrip("+-"),
        currency=currency,
        booked_on=cells.get("date", ""),
        text=cells.get("text", ""),
        counterparty=cells.get("counterparty", ""),
    )


def _plain_decimal(text: str, *, has_comma: bool) -> str:
    """The decimal with a point and without thousands' marks (western or Indian groups); raises _Unreadable."""
    text = text.replace(" ", "").replace("\u00a0", "")
    point, mark = (",", ".") if has_comma and "," in text else (".", ",")
    whole, _, decimals = text.partition(point)
    if mark in decimals or (mark in whole and not _GROUPS.fullmatch(whole.lstrip("+-").replace(mark, ","))):
        raise _Unreadable(
            f"the amount '{text[:30]}' has a '{mark}' where no thousands end; write decimals with '{point}'"
        )
    return f"{whole.replace(mark, '')}.{decimals}" if decimals else whole.replace(mark, "")


# --- CAMT.053 --------------------------------------------------------------------------------------------------------


def read_camt053(raw: bytes) -> BankFile:
    """The booked entries of a CAMT.053 document; raises FileRefused for anything else."""
    try:
        root = safe_xml.fromstring(raw, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise FileRefused(f"The file is no XML that is read here: {error}.") from error
    statements = [part for part in root.iter() if _name(part) == "Stmt"]
    if not statements:
        raise FileRefused("The XML is no bank statement: it has no BkToCstmrStmt/Stmt of ISO 20022 CAMT.053.")
    entries: list[FileEntry] = []
    problems = []
    place = 0
    for statement in statements:
        for part in _children(statement, "Ntry"):
            place += 1
            if _text(part, "Sts", "Cd") not in ("BOOK", "") or _text(part, "Sts").strip() not in ("BOOK", ""):
                continue
            try:
                entries += _camt_entries(part)
            except _Unreadable as fault:
                problems.append(FileProblem(place, str(fault)))
    return BankFile(tuple(entries), tuple(problems))


def _camt_entries(part: Element) -> Iterator[FileEntry]:
    details = [each for batch in _children(part, "NtryDtls") for each in _children(batch, "TxDtls")]
    whole = _camt_entry(part, details[0] if len(details) == 1 else None, "")
    if len(details) < 2:
        return iter([whole])
    amounts = [_detail_amount(detail) for detail in details]
    if any(amount is None for amount in amounts):
        return iter([whole])
    parts = [_camt_entry(part, detail, f":{number}") for number, detail in enumerate(details, start=1)]
    if sum(each.amount_minor for each in parts) != whole.amount_minor:
        raise _Unreadable(f"the parts of entry {whole.entry_id} do not sum to its amount")
    return iter(parts)


def _camt_entry(part: Element, detail: Element | None, suffix: str) -> FileEntry:
    """One entry, or one detail of a batch (then `suffix` tells it apart from the others)."""
    amount = _detail_amount(detail) if suffix else _first(part, "Amt")
    if amount is None:
        raise _Unreadable("there is no amount (Amt)")
    indicator = _text(part, "CdtDbtInd")
    if indicator not in ("CRDT", "DBIT"):
        raise _Unreadable("CdtDbtInd is neither CRDT nor DBIT")
    is_credit = indicator == "CRDT"
    entry_id = _text(part, "AcctSvcrRef") or _text(part, "NtryRef")
    words: list[str] = []
    who = ""
    if detail is not None:
        words = [each.text or "" for each in detail.iter() if _name(each) in ("Ustrd", "Ref", "EndToEndId")]
        party = "Dbtr" if is_credit else "Cdtr"
        names = [
            each.text or ""
            for role in detail.iter()
            if _name(role) == party
            for each in role.iter()
            if _name(each) == "Nm"
        ]
        who = names[0] if names else ""
    return _entry(
        entry_id=f"{entry_id}{suffix}" if entry_id else "",
        is_credit=is_credit,
        amount=(amount.text or "").strip(),
        currency=amount.get("Ccy", ""),
        booked_on=(_text(part, "BookgDt", "Dt") or _text(part, "BookgDt", "DtTm"))[:10],
        text=" ".join([*words, _text(part, "AddtlNtryInf")]).strip(),
        counterparty=who,
        is_reversal=_text(part, "RvslInd") in ("true", "1"),
    )


def _detail_amount(detail: Element | None) -> Element | None:
    if detail is None:
        return None
    direct = _first(detail, "Amt")
    nested = _first(detail, "AmtDtls")
    through = _first(nested, "TxAmt") if nested is not None else None
    return direct if direct is not None else _first(through, "Amt") if through is not None else None


def _name(part: Element) -> str:
    return part.tag.rpartition("}")[2]


def _children(part: Element, name: str) -> list[Element]:
    return [child for child in part if _name(child) == name]


def _first(part: Element, name: str) -> Element | None:
    return next((child for child in part if _name(child) == name), None)


def _text(part: Element, *path: str) -> str:
    found: Element | None = part
    for name in path:
        found = _first(found, name) if found is not None else None
    return (found.text or "").strip() if found is not None else ""


# --- Both ------------------------------------------------------------------------------------------------------------


def _entry(
    *,
    entry_id: str,
    is_credit: bool,
    amount: str,
    currency: str,
    booked_on: str,
    text: str,
    counterparty: str,
    is_reversal: bool = False,
) -> FileEntry:
    """An entry whose parts were checked; raises _Unreadable."""
    if not entry_id or len(entry_id) > ID_CHARS_MAX:
        raise _Unreadable(f"the bank's own id of the entry is missing or longer than {ID_CHARS_MAX} characters")
    if not _CURRENCY.fullmatch(currency):
        raise _Unreadable(f"'{currency[:10]}' is no currency code of three capital letters")
    try:
        amount_minor = whole_units(amount, places=currency_exponent(currency))
    except DecimalRefused as refusal:
        raise _Unreadable(f"the amount {refusal}") from refusal
    if not 0 < amount_minor <= AMOUNT_MINOR_MAX:
        raise _Unreadable(f"the amount {amount[:40]} is not between one minor unit and {AMOUNT_MINOR_MAX} of them")
    try:
        day = date.fromisoformat(booked_on)
    except ValueError as error:
        raise _Unreadable(f"the date '{booked_on[:20]}' is not written as 2026-01-31") from error
    words = re.sub(r"[\x00-\x1f]+", " ", text)[:TEXT_CHARS_MAX]
    return FileEntry(
        entry_id, is_credit, amount_minor, currency, day, words, counterparty[:TEXT_CHARS_MAX], is_reversal
    )
