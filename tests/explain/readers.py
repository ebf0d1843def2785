"""Readers of what `bp explain` writes: each gives back what a person would read there.

A reading has, for every equation, its name and the lines after it (`:= W10 − η·∂L/∂W10`, `= 1 −
0.1·4`, `= 0.6`); nothing that stands there is left out.
"""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import NamedTuple

VOID = ("meta", "br")


class Printed(NamedTuple):
    """A row of the article's table; Markdown has no mark."""

    title: str
    prints: str
    computed: str
    mark: str
    place: str
    why: str


@dataclass
class Reading:
    title: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    sections: list[tuple[str, str, list[tuple[str, ...]]]] = field(default_factory=list)
    effect: list[tuple[str, ...]] = field(default_factory=list)
    article: list[Printed] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


# Terminal


def squeeze(text: str) -> str:
    """Take out spaces, line ends and rules: what is left does not depend on the width."""
    return re.sub(r"[\s─]+", "", text)


def rows_of_the_article(terminal: str) -> list[Printed]:
    """Read the table from a terminal so wide that each `why` is one line, below its row."""
    lines = terminal[terminal.index("The article beside it") :].splitlines()
    rows, row = [], r"^ +(.+?)  +(\S+)  +(\S+)  ([✓✗])  (.+)$"
    for number, line in enumerate(lines):
        found = re.match(row, line.rstrip())
        if found:
            title, prints, computed, mark, place = found.groups()
            start, why = found.start(5), ""
            following = lines[number + 1]
            if not re.match(row, following.rstrip()):
                why = following[start:].strip()
                title = f"{title} {following[:start].strip()}".strip()
            rows.append(Printed(title, prints, computed, mark, place, why))
    return rows


# Markdown


def read_markdown(text: str) -> Reading:
    head, *chapters = re.split(r"^## ", text, flags=re.M)
    title, _, facts = head.partition("\n\n")
    reading = Reading(title=_plain(title.removeprefix("# ")))
    for line in facts.strip().splitlines():
        name, _, value = line.removeprefix("- ").partition(": ")
        reading.facts.append((name, _plain(value)))
    for chapter in chapters:
        title, *paragraphs = chapter.strip().split("\n\n")
        [table] = [_table(part) for part in paragraphs if part.startswith("|")]
        if title == "What the step did":
            reading.effect = table
        elif title == "The article beside it":
            reading.article = [Printed(*row[:3], "", *row[3:]) for row in table]
        else:
            equations = [_equation(*row) for row in table]
            reading.sections.append((title, _plain(paragraphs[0]), equations))
    reading.remarks = [_plain(part) for part in paragraphs if not part.startswith("|")][:-1]
    return reading


def _table(text: str) -> list[tuple[str, ...]]:
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines()]
    return [tuple(_plain(cell).strip() for cell in line) for line in [*lines[2:]]]


def _equation(name: str, symbols: str, numbers: str, result: str) -> tuple[str, ...]:
    name, sign = name.rsplit(" ", 1)
    lines = zip((sign, "=", "="), (symbols, numbers, result), strict=True)
    return (name, *(f"{sign} {text}" for sign, text in lines if text))


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


# The page


@dataclass
class Node:
    """An element, with what is in it."""

    tag: str
    attributes: dict[str, str]
    children: list["Node | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        parts = (child if isinstance(child, str) else child.text for child in self.children)
        return re.sub(r"\s+", " ", "".join(parts))

    @property
    def elements(self) -> list["Node"]:
        return [child for child in self.children if isinstance(child, Node)]

    def all(self, tag: str, css_class: str | None = None) -> list["Node"]:
        """Find elements below this one, in the order of the page."""
        found = []
        for child in self.elements:
            is_wanted = child.tag == tag
            is_wanted &= css_class in (None, *child.attributes.get("class", "").split())
            found += [child] if is_wanted else []
            found += child.all(tag, css_class)
        return found

    def texts(self, tag: str, css_class: str | None = None) -> list[str]:
        return [node.text.strip() for node in self.all(tag, css_class)]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse_page(page: str) -> Node:
    parser = _Parser()
    parser.feed(page)
    [root] = parser.open
    return root


def read_page(page: str) -> Reading:
    root = parse_page(page)
    [body] = root.all("body")
    reading = Reading(title=body.texts("h1")[0])
    reading.facts = list(zip(body.texts("dt"), body.texts("dd"), strict=True))
    titles = [t for t in body.texts("h2") if t not in ("What the step did", _ARTICLE)]
    for title, remark, block in zip(
        titles, body.texts("p", "remark"), body.all("div", "equations"), strict=False
    ):
        equations = [
            (row.texts("span", "of")[0], *row.all("div", "parts")[0].texts("span"))
            for row in block.all("div", "equation")
        ]
        reading.sections.append((title, remark, equations))
    assert len(body.all("div", "equations")) == len(titles)
    reading.effect = [tuple(row.texts("td")) for row in _rows(body, "effect")]
    reading.article = [_printed(row) for row in _rows(body, "article")]
    reading.remarks = [p.text.strip() for p in body.elements if p.tag == "p" and not p.attributes]
    return reading


_ARTICLE = "The article beside it"


def _rows(body: Node, css_class: str) -> list[Node]:
    return [row for table in body.all("table", css_class) for row in table.all("tr")[1:]]


def _printed(row: Node) -> Printed:
    title, prints, computed, mark, place = row.all("td")
    why = "".join(child for child in place.children if isinstance(child, str))
    [where] = place.texts("span")
    return Printed(title.text, prints.text, computed.text, mark.text, where, why.strip())
