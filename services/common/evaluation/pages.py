"""Pages that need nothing else: one way to make them of templates and plots."""

from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.common.text import visible


def environment(*folders: Path) -> Environment:
    """Return what makes pages of the templates in some folders; every text is escaped in them."""
    made = Environment(loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    # What drives a terminal or a text editor has no place in a page either.
    made.filters["visible"] = visible
    return made


def marked(drawn: Iterable[str]) -> list[Markup]:
    """Return plots as they stand in a page: matplotlib's own SVG, in which no text of a set is."""
    return [Markup(each) for each in drawn]  # noqa: S704  # nosec B704
