"""The e-mail itself: subject, plain text and HTML. What carries it is beside: resend, smtp."""

from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from wastewise_jobs.alerts.links import AlertLinks
from wastewise_jobs.alerts.model import Message
from wastewise_jobs.alerts.wording import WordedMessage, worded

COLOURS = {
    "critical": "#b42318",
    "error": "#c4320a",
    "warning": "#b54708",
    "resolved": "#067647",
}


@dataclass(frozen=True, slots=True)
class Mail:
    """One e-mail, whoever carries it."""

    subject: str
    text: str
    html: str


def compose(message: Message, links: AlertLinks) -> Mail:
    """The e-mail that says it."""
    words = worded(message, links)
    page = _environment().get_template("email.html.j2")
    return Mail(
        subject=header_safe(f"WasteWise {words.subject}"),
        text=_plain(words),
        html=page.render(words=words, colours=COLOURS),
    )


def header_safe(text: str) -> str:
    """One line that no mail library takes for an encoded word with a line break in it."""
    return " ".join(text.replace("=?", "= ?").split())[:200]


def _plain(words: WordedMessage) -> str:
    parts = [words.subject] if words.is_digest else []
    for one in words.alerts:
        lines = [f"{one.mark} {one.title}", "", one.text, ""]
        lines += [f"{label}: {value}" for label, value in one.facts]
        lines += [f"\nJob: {one.job_url}"] if one.job_url else []
        lines += [f"Acknowledge: {one.acknowledge_url}"] if one.acknowledge_url else []
        parts.append("\n".join(lines))
    if words.more:
        parts.append(f"and {words.more} more: wastewise-jobs alerts list")
    return "\n\n----\n\n".join(parts) + "\n"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("wastewise_jobs.alerts"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
