"""What a row of a statement or ledger is, by the words that programs and people use for it."""

import re
from enum import StrEnum
from functools import lru_cache

from wastewise_jobs.analysis.intake.headers import plain


class Kind(StrEnum):
    """What a transaction does to the spend. A check may pay a bill or buy something itself."""

    CHARGE = "charge"
    EXPENSE = "expense"
    CREDIT = "credit"
    ENTRY = "journal entry"
    CHECK = "check"
    PAYMENT = "payment"
    BALANCE = "balance"
    UNBILLED = "void or not billed"


# Each on the whole of a type in plain words; the first that fits is taken. KR, KG, KZ are SAP's.
_UNBILLED = (
    r"(?:(?:open|sales|purchase) )?(?:estimates?|quotes?|quotations?|proposals?|orders?)|po"
    r"|drafts?|(?:voided|void)(?: .*)?|statements?"
)
_PAYMENTS = (
    r"bill ?(?:pmt|pymt|payment|pay)s?(?: .*)?|(?:\w+ ){0,3}(?:payments?|pmts?|pymts?)(?: .*)?"
    r"|(?:ach|eft|wire|auto ?pay|lockbox|e ?check)(?: .*)?|(?:credit card|ccard) credit"
    r"|(?:cash )?receipts?|transfers?|remittances?|(?:vendor|ap) (?:check|cheque)s?"
    r"|thank you(?: .*)?|kz|zp"
)
_CREDITS = (
    r"(?:(?:vendor|bill|supplier|ap|a p|purchase|customer|invoice) )?"
    r"(?:credits?|refunds?|rebates?)(?: (?:memos?|notes?))?|cr memo|cm|kg"
)
_CHARGES = (
    r"(?:(?:vendor|ap|a p|supplier|purchase|recurring|standard|payable) )?"
    r"(?:bills?|invoices?|inv|purchases?)|debit (?:memo|note)|charges?|(?:late|finance) charges?|kr"
)
_EXPENSES = r"expenses?|(?:cash|credit card|ccard|check) (?:expense|charge|purchase)s?"
_ENTRIES = r"(?:general )?journals?(?: entr(?:y|ies))?|j ?e|gj|adjustments?|adj|accruals?|reclass"
_KNOWN = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (Kind.UNBILLED, _UNBILLED),
        (Kind.PAYMENT, _PAYMENTS),
        (Kind.CREDIT, _CREDITS),
        (Kind.CHARGE, _CHARGES),
        (Kind.EXPENSE, _EXPENSES),
        (Kind.ENTRY, _ENTRIES),
        (Kind.CHECK, r"checks?|cheques?|chk|ck|credit card|debit card|cash"),
        (Kind.BALANCE, r"(?:\w+ )?balance(?: .*)?"),
    )
)
# Words that a column of service types would not hold.
_OF_LEDGERS = re.compile(
    r"bills?|bill ?(?:pmt|pymt|payment|pay)s?(?: .*)?|(?:vendor|bill|supplier) credits?|credit memo"
    r"|invoices?|(?:vendor|ap|supplier) (?:bill|invoice)s?|general journal|journal entry|journal|je"
    r"|inv|pmt|checks?|expenses?|(?:credit card|ccard) (?:charge|credit)|estimates?|k[rgz]"
)


@lru_cache(maxsize=4096)
def kind_of(transaction_type: str) -> Kind | None:
    """What a transaction of that type is; None for a type that is not known."""
    words = plain(transaction_type)
    return next((kind for kind, pattern in _KNOWN if pattern.fullmatch(words)), None)


def is_of_ledgers(transaction_type: str) -> bool:
    """Whether only a ledger or a list of transactions calls something so."""
    return bool(_OF_LEDGERS.fullmatch(plain(transaction_type)))


_PAID = (
    r"(?:(?:bill|vendor|online|electronic|auto(?:matic|mated)?|ach|eft|wire|e|web|phone|card|check"
    r"|credit card|debit card|cash|customer|lockbox|mail(?:ed)?|your|last|prior|previous|less"
    r"|account|returned|reversed|total|recurring|scheduled) )*"
    r"(?:payments?|pmts?|pymts?|paymts?)"
)
_PAYMENT = re.compile(
    rf"{_PAID}(?: .*)?|.*\bpayments? (?:received|recvd|rcvd|posted)\b.*|.*\bpayment thank you\b.*"
    r"|thank you(?: .*payment.*)?|received with thanks.*|auto ?pay(?: .*)?"
    r"|(?:e ?check|check|chk|ck|cheque|ach|eft|wire)(?: (?:number|no|num|nr))?(?: \d+)?"
)
# What pays, unless it is charged: an amount that is negative is not.
_PAYS_IF_NEGATIVE = re.compile(
    r"(?:.*\b(?:payments?|pmts?|pymts?|paymts?|thank you|auto ?pay)|received with thanks"
    r"|electronic(?: funds)? transfer|(?:bank|funds|online|wire) transfer"
    r"|transfer|pd|paid|ach|eft|wire|e ?check|checks?|chk|ck|cheque|cash|visa|master ?card"
    r"|amex|discover|credit card|debit card|lockbox|bank draft|direct debit|zelle|bill ?pay"
    r"|online banking|remittance|money order)(?: .*)?"
)
_CHARGED = re.compile(r"\b(?:fees?|charges?|surcharges?|penalty|interest)\b")
_FEE = re.compile(r"\bfees?\b")
_CREDITED = re.compile(
    r"\b(?:credit(?! card)(?:ed)?|refund(?:ed)?|rebate|discount|adjust\w*|correct\w*|missed|waived?"
    r"|overcharged?|overpaid|goodwill)\b"
)
_BALANCE = re.compile(
    r"(?:previous|prior|opening|beginning|starting|past due|last|old|carried|brought|ending"
    r"|closing|outstanding|unpaid|forwarded|statement)(?: \w+)? balance.*"
    r"|balance(?: (?:brought|carried))? (?:forward|fwd).*|(?:bal|balance) (?:fwd|b ?f)"
    r"|(?:amount )?(?:brought|carried) forward.*|net change.*|past due(?: amount)?"
    r"|(?:amount|total|invoices?) past due|unpaid (?:previous|prior) .*"
    r"|(?:previous|prior) unpaid .*"
    r"|\d+ (?:to )?\d+ days(?: past due| overdue)?|over \d+(?: days)?(?: past due)?"
)
_ESTIMATE = re.compile(
    r"\W*(?:estimate|quote|quotation|proposal|draft)s?(?:\s*[:#(\u2013-].*|\s+(?:for|no|of|\d).*)?",
    re.IGNORECASE | re.DOTALL,
)
_VOID = re.compile(
    r"\W*void(?:ed)?(?:\W.*)?|.*\W(?:\*+|\(|-\s*)void(?:ed)?\W*", re.IGNORECASE | re.DOTALL
)


@lru_cache(maxsize=4096)
def is_payment(text: str, *, negative: bool) -> bool:
    """Whether a description is that of a payment; of some only a negative amount tells."""
    words = plain(text)
    if _FEE.search(words):
        return False
    if negative:
        return bool(_PAYS_IF_NEGATIVE.fullmatch(words)) and not _CREDITED.search(words)
    return bool(_PAYMENT.fullmatch(words)) and not _CHARGED.search(words)


def is_credit(text: str) -> bool:
    """Whether a description is that of a credit."""
    return bool(_CREDITED.search(plain(text)))


@lru_cache(maxsize=4096)
def is_balance(text: str) -> bool:
    """Whether a description is that of a balance carried from elsewhere."""
    return bool(_BALANCE.fullmatch(plain(text)))


@lru_cache(maxsize=4096)
def is_unbilled(text: str) -> bool:
    """Whether a description says that the row is void, or an estimate or the like."""
    if _ESTIMATE.fullmatch(text):
        return True
    return bool(_VOID.fullmatch(text)) and not _CHARGED.search(plain(text))


_NOT_BILLED = re.compile(
    r"\b(?:void(?:ed)?|cancell?ed|deleted|rejected|declined|denied|drafts?|estimated?s?"
    r"|quot(?:e|es|ed|ation)|proposals?|proposed|unbilled|not billed|not invoiced|reversed"
    r"|skipped|missed|not serviced|not completed?|no service)\b"
    r"|^(?:duplicates?(?: of .*)?|replaced(?: by .*)?|superseded|budget(?:ed)?|forecast(?:ed)?"
    r"|plan(?:ned)?|projected)$"
)
_BILLED = re.compile(
    r"open|actuals?|(?:partial(?:ly)?|fully|un|not)? ?paid(?: .*)?|partial|overdue|past due"
    r"|due(?: .*)?|approved|posted|sent|closed|invoiced|billed|completed?|active|current|cleared"
    r"|reconciled|processed|scheduled|received|final|outstanding|printed|emailed|viewed|delivered"
    r"|(?:pending|awaiting)(?: (?:approval|payment))?|done|serviced|hauled|dumped|emptied|collected"
    r"|ok|yes|submitted|new|late|settled|in full|exported|synced|ready"
)


@lru_cache(maxsize=4096)
def is_billed(status: str) -> bool | None:
    """Whether a row of that status is owed; None when the status is not known."""
    words = plain(status)
    if _NOT_BILLED.search(words):
        return False
    return True if not words or _BILLED.fullmatch(words) else None
