"""Bank statements are read whole or refused by place and reason: CSV by its header, CAMT.053 by its elements."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from books import bank_file, references
from books.bank_file import FileEntry, FileRefused

CSV = """id,date,amount,currency,reference,name
b-1,2026-01-31,12.50,USD,RF00 for Anna,Anna A.
b-2,2026-02-01,-3.5,USD,payout,Ben
b-3,2026-02-02,7,JPY,,
"""

CAMT = """<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><Stmt>
<Acct><Id><IBAN>DE02120300000000202051</IBAN></Id></Acct>
<Ntry><Amt Ccy="EUR">250.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>
 <BookgDt><Dt>2026-01-31</Dt></BookgDt><AcctSvcrRef>2026013100001</AcctSvcrRef>
 <NtryDtls><TxDtls><Refs><EndToEndId>NOTPROVIDED</EndToEndId></Refs>
  <RltdPties><Dbtr><Pty><Nm>Anna A.</Nm></Pty></Dbtr><Cdtr><Pty><Nm>PowerShare</Nm></Pty></Cdtr></RltdPties>
  <RmtInf><Strd><CdtrRefInf><Ref>RF18539007547034</Ref></CdtrRefInf></Strd></RmtInf></TxDtls></NtryDtls></Ntry>
<Ntry><Amt Ccy="EUR">30.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts>
 <BookgDt><DtTm>2026-02-01T08:00:00+01:00</DtTm></BookgDt><AcctSvcrRef>batch-7</AcctSvcrRef>
 <NtryDtls><TxDtls><AmtDtls><TxAmt><Amt Ccy="EUR">10.00</Amt></TxAmt></AmtDtls>
 <RmtInf><Ustrd>one</Ustrd></RmtInf></TxDtls>
 <TxDtls><Amt Ccy="EUR">20.00</Amt><RmtInf><Ustrd>two</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>
<Ntry><Amt Ccy="EUR">1.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>PDNG</Cd></Sts><BookgDt><Dt>2026-02-02</Dt></BookgDt>
 <AcctSvcrRef>not-yet</AcctSvcrRef></Ntry>
<Ntry><Amt Ccy="EUR">5.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><RvslInd>true</RvslInd><Sts><Cd>BOOK</Cd></Sts>
 <BookgDt><Dt>2026-02-03</Dt></BookgDt><NtryRef>back-1</NtryRef><AddtlNtryInf>returned</AddtlNtryInf></Ntry>
</Stmt></BkToCstmrStmt></Document>"""


def refused(raw: str | bytes, **options: object) -> str:
    with pytest.raises(FileRefused) as refusal:
        bank_file.read(raw if isinstance(raw, bytes) else raw.encode(), **options)  # type: ignore[arg-type]
    return str(refusal.value)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("", "says nothing of 'id'"),
        ("date,amount,currency,reference\n", "says nothing of 'id'"),
        ("id,date,currency,reference\n", "says nothing of 'amount'"),
        ("id,date,currency,reference,credit\n", "says nothing of 'amount'"),
        (b"id,date\xff", "no UTF-8 text (byte 7)"),
        ("<html>", "no XML that is read here"),
        ("<Document/>", "no bank statement"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><Document>&a;</Document>', "no XML that is read here"),
        ("<a><b></a>", "no XML that is read here"),
    ],
)
def test_a_file_that_is_no_statement_is_refused_with_the_reason(raw: str | bytes, says: str) -> None:
    assert says in refused(raw)


def test_columns_that_are_not_there_or_not_known_are_refused() -> None:
    assert "no column 'umsatz'" in refused(CSV, columns={"id": "Umsatz"})
    assert "'iban' is no column of a bank file" in refused(CSV, columns={"iban": "x"})


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (",2026-01-31,1.00,USD,x,", "bank's own id of the entry is missing"),
        ("b,31.01.2026,1.00,USD,x,", "not written as 2026-01-31"),
        ("b,2026-01-31,1.001,USD,x,", "more than 2 decimal places"),
        ("b,2026-01-31,1e3,USD,x,", "not a plain decimal"),
        ("b,2026-01-31,0.00,USD,x,", "not between one minor unit"),
        ("b,2026-01-31,10000000000.01,USD,x,", "not between one minor unit"),
        ("b,2026-01-31,1.00,Dollar,x,", "no currency code"),
        ("b,2026-01-31", "no currency code"),
    ],
)
def test_a_row_that_cannot_be_read_is_reported_by_line_and_reason_and_the_others_are_read(row: str, says: str) -> None:
    read = bank_file.read(f"{CSV}{row}\n".encode())
    assert len(read.entries) == 3
    [problem] = read.problems
    assert problem.place == 5
    assert says in problem.sentence


def test_a_csv_file_is_read_by_its_header() -> None:
    first, second, third = bank_file.read(CSV.encode()).entries
    assert first == FileEntry("b-1", True, 1250, "USD", date(2026, 1, 31), "RF00 for Anna", "Anna A.")
    assert (second.is_credit, second.amount_minor) == (False, 350)
    assert (third.amount_minor, third.currency) == (7, "JPY")


def test_a_csv_file_may_have_two_columns_of_money_semicolons_and_decimal_commas() -> None:
    text = "\ufeffBuchung;Umsatz-ID;Paid in;Paid out;Currency;Purpose\n"
    text += "2026-01-31;u1;1.234,56;;EUR;a\n2026-01-31;u2;;7,5;EUR;b\n"
    read = bank_file.read(text.encode(), columns={"id": "Umsatz-ID", "date": "Buchung"})
    assert [(entry.is_credit, entry.amount_minor) for entry in read.entries] == [(True, 123_456), (False, 750)]
    both = bank_file.read(
        (text + "2026-01-31;u3;1,0;1,0;EUR;c\n").encode(), columns={"id": "Umsatz-ID", "date": "Buchung"}
    )
    assert "one of credit and debit" in both.problems[0].sentence


@pytest.mark.parametrize(
    ("amount", "minor"), [("1,234.50", 123_450), ("-12,34,567.00", 123_456_700), ("1,000", 100_000), ("7.5", 750)]
)
def test_thousands_are_parted_in_the_western_or_the_indian_way(amount: str, minor: int) -> None:
    read = bank_file.read(f'id,date,amount,currency,text\nt1,2026-01-31,"{amount}",USD,a\n'.encode())
    assert read.problems == ()
    assert [entry.amount_minor for entry in read.entries] == [minor]


@pytest.mark.parametrize(
    ("delimiter", "amount"), [(",", "12,50"), (",", "1.234,56"), (",", "1,2345"), (";", "1,234.56"), (";", "1.23,50")]
)
def test_an_amount_whose_comma_parts_no_thousands_is_refused_and_never_taken_a_hundredfold(
    delimiter: str, amount: str
) -> None:
    header = delimiter.join(["id", "date", "amount", "currency", "text"])
    row = delimiter.join(["t1", "2026-01-31", f'"{amount}"', "USD", "a"])
    read = bank_file.read(f"{header}\n{row}\n".encode())
    assert read.entries == ()
    assert "where no thousands end; write decimals with" in read.problems[0].sentence


def test_a_direction_column_says_what_a_sign_does_not() -> None:
    rows = [f"{number},2026-01-31,5,{word},USD," for number, word in enumerate(["DBIT", "credit", "up"])]
    read = bank_file.read("\n".join(["id,date,amount,direction,currency,text", *rows]).encode())
    assert [entry.is_credit for entry in read.entries] == [False, True]
    assert "'up' is neither credit nor debit" in read.problems[0].sentence


def test_a_camt_statement_is_read_and_what_is_not_booked_is_passed_over() -> None:
    read = bank_file.read(CAMT.encode())
    assert read.problems == ()
    single, one, two, back = read.entries
    assert single == FileEntry(
        "2026013100001", True, 25_000, "EUR", date(2026, 1, 31), "NOTPROVIDED RF18539007547034", "Anna A."
    )
    assert [(e.entry_id, e.is_credit, e.amount_minor, e.text) for e in (one, two)] == [
        ("batch-7:1", False, 1_000, "one"),
        ("batch-7:2", False, 2_000, "two"),
    ]
    assert (back.entry_id, back.is_reversal, back.text) == ("back-1", True, "returned")


def test_camt_entries_that_contradict_themselves_are_reported_by_their_place() -> None:
    broken = (
        CAMT.replace('<Amt Ccy="EUR">20.00', '<Amt Ccy="EUR">20.01')
        .replace("<CdtDbtInd>CRDT", "<CdtDbtInd>UP", 1)
        .replace("<NtryRef>back-1</NtryRef>", "")
    )
    read = bank_file.read(broken.encode())
    assert read.entries == ()
    assert [problem.place for problem in read.problems] == [1, 2, 4]
    assert "do not sum to its amount" in read.problems[1].sentence


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: (CSV + text).encode("utf-8", "ignore")))
def test_whatever_bytes_come_they_are_read_or_refused(raw: bytes) -> None:
    try:
        bank_file.read(raw)
    except FileRefused as refusal:
        assert str(refusal)


# Payment references.


def test_a_reference_is_an_iso_11649_creditor_reference() -> None:
    # The standard's own example checks with the same arithmetic.
    assert references._remainder("539007547034" + "RF18") == 1
    reference = references.reference_of("wallet:anna")
    assert reference[:2] == "RF" and len(reference) == 16
    assert references.bodies_in(f"rent {reference} thanks") == [references.body_of("wallet:anna")]


def test_a_reference_survives_paper_and_a_mistyped_digit_does_not() -> None:
    reference = references.reference_of("wallet:anna")
    on_paper = " ".join(reference[i : i + 4] for i in range(0, 16, 4)).lower()
    assert references.bodies_in(f"for:{on_paper}.") == [references.body_of("wallet:anna")]
    for place in range(2, 16):
        wrong = reference[:place] + ("1" if reference[place] != "1" else "2") + reference[place + 1 :]
        assert references.bodies_in(wrong) == []
