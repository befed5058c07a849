import pytest

from wastewise_jobs.analysis.intake.signs import is_negative, negated, net, turned
from wastewise_jobs.analysis.intake.transactions import (
    Kind,
    is_balance,
    is_billed,
    is_payment,
    is_unbilled,
    kind_of,
)


@pytest.mark.parametrize(
    ("kind", "types"),
    [
        (Kind.CHARGE, "Bill|Invoice|Vendor Bill|AP Invoice|Purchase Invoice|INV|Finance Charge"),
        (Kind.EXPENSE, "Expense|Credit Card Charge|Cash Expense"),
        (Kind.CREDIT, "Vendor Credit|Bill Credit|Credit|Credit Memo|Refund|Supplier Credit Note"),
        (Kind.ENTRY, "General Journal|Journal Entry|JE|Adjustment"),
        (Kind.CHECK, "Check|Cheque"),
        (
            Kind.PAYMENT,
            "Bill Pmt -Check|Bill Pmt -CCard|Bill Payment (Check)|Payment|Sales Tax Payment|ACH",
        ),
        (Kind.PAYMENT, "Bill Payment (Credit Card)|Autopay|eCheck|Credit Card Credit|Thank you"),
        (Kind.UNBILLED, "Estimate|Open Quote|Purchase Order|Draft|Void|Voided check"),
        (Kind.BALANCE, "Balance Forward|Opening Balance"),
        (None, "Hauling|Rental|Fees|Disposal|Inter-company sweep|Deposit"),
    ],
)
def test_transaction_types_are_known_by_the_words_of_programs(
    kind: Kind | None, types: str
) -> None:
    assert {word: kind_of(word) for word in types.split("|")} == dict.fromkeys(
        types.split("|"), kind
    )


@pytest.mark.parametrize(
    "text",
    [
        "Payment received - thank you", "PAYMENT", "Online pmt 8812", "ACH", "Check #1042",
        "Bill Pmt -Check", "Autopay", "Thank you for your payment", "Automatic Payment 02/01",
    ],
)  # fmt: skip
def test_a_payment_is_one_with_either_sign(text: str) -> None:
    assert is_payment(text, negative=False)
    assert is_payment(text, negative=True)


@pytest.mark.parametrize(
    "text", ["VISA ending 4411", "Electronic Funds Transfer", "Pd ck#1099", "Wire 02/01 ref 7"]
)
def test_some_words_pay_only_where_the_amount_is_negative(text: str) -> None:
    assert is_payment(text, negative=True)
    assert not is_payment(text, negative=False)


@pytest.mark.parametrize(
    "text",
    [
        "Late payment fee", "Payment processing fee", "ACH return fee",
        "Credit - missed pickup", "Check overcharge refund", "Compactor haul", "Cash discount",
        "Credit card fee",
    ],
)  # fmt: skip
def test_fees_and_credits_are_no_payments(text: str) -> None:
    assert not is_payment(text, negative=False)
    assert not is_payment(text, negative=True)
    assert not is_payment("Autopay discount", negative=True)


def test_balances_voids_and_statuses_are_known() -> None:
    for text in ("Previous Balance", "= Beginning Balance =", "Balance forward", "Net Change=12"):
        assert is_balance(text)
    for text in ("VOID: haul", "Voided", "Haul (VOID)", "** VOID **", "Estimate - box", "Draft"):
        assert is_unbilled(text)
    for text in ("Avoid contamination", "Void fee", "Draft beer container", "Haul"):
        assert not is_unbilled(text)
    assert [is_billed(status) for status in ("", "Paid", "Past due", "Unpaid")] == [True] * 4
    assert [is_billed(s) for s in ("Void", "Open quote", "DRAFT", "Cancelled")] == [False] * 4
    assert is_billed("Awaiting PO") is None


@pytest.mark.parametrize(
    ("amount", "other"),
    [("300.00", "-300.00"), ("$300", "-$300"), ("(300.00)", "300.00"), ("300-", "300"),
     ("300 CR", "300"), (300.5, -300.5)],
)  # fmt: skip
def test_an_amount_is_turned_as_it_is_written(amount: str | float, other: str | float) -> None:
    assert turned(amount) == other
    assert is_negative(amount) != is_negative(other)
    assert negated(amount) == (amount if is_negative(amount) else other)


def test_two_sides_make_one_amount() -> None:
    assert net("4000.00", None) == "4000.00"
    assert net("4000.00", "0.00") == "4000.00"
    assert net("", "300.00") == "-300.00"
    assert net("4100.00", "100.00") == "4000.00"
    assert net("x1", "2") == "x1 / 2"
