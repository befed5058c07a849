"""The few SVG elements that the charts are drawn with; every text and attribute is escaped."""

from markupsafe import Markup, escape

Coordinate = float | int | str


def tag(name: str, *children: str | Markup, **attributes: Coordinate) -> Markup:
    """An element. `stroke_width=1` becomes `stroke-width="1"`; numbers are cut to two places."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
    )
    inner = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), Markup(written), inner)  # noqa: S704  # names are ours, values are escaped


def _plain(value: Coordinate) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def chart(width: float, height: float, label: str, *children: Markup) -> Markup:
    """A drawing that scales with the page and says what it shows to those who cannot see it."""
    return tag(
        "svg",
        tag("title", label),
        *children,
        viewBox=f"0 0 {_plain(width)} {_plain(height)}",
        role="img",
        class_="chart",
        xmlns="http://www.w3.org/2000/svg",
    )


def text(x: float, y: float, words: str, **attributes: Coordinate) -> Markup:
    return tag("text", words, x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: Coordinate) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def box(
    x: float, y: float, width: float, height: float, *children: Markup, **attributes: Coordinate
) -> Markup:
    return tag("rect", *children, x=x, y=y, width=width, height=height, **attributes)
