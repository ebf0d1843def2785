"""Readers of what `bp explain` writes: each returns what a person would read there.

A reading has, for every equation, its name and the lines after it (`:= W10 − η·∂L/∂W10`, `= 1 −
0.1·4`, `= 0.6`); nothing that stands there is left out.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from bs4 import BeautifulSoup, Tag

_EFFECT = "What the step did"


class Printed(NamedTuple):
    """A row of the table of printed numbers; Markdown has no mark."""

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
    sections: list[tuple[str, str, list[str], list[tuple[str, ...]]]] = field(default_factory=list)
    effect: list[tuple[str, ...]] = field(default_factory=list)
    printed: list[Printed] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


# Terminal


def squeeze(text: str) -> str:
    """Take out spaces, line ends and rules: what is left does not depend on the width."""
    return re.sub(r"[\s─]+", "", text)


def printed_on_a_terminal(text: str) -> list[Printed]:
    """Read the table from a terminal so wide that each `why` is one line, below its row."""
    lines = text[text.index(" beside it") :].splitlines()
    rows, row = [], r"^ +(.+?)  +(\S+)  +(\S+)  ([✓✗])  (.+)$"
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        found = re.match(row, line.rstrip())
        if found:
            title, prints, computed, mark, place = found.groups()
            start, why = found.start(5), ""
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
        [table] = [_cells(part) for part in paragraphs if part.startswith("|")]
        if title == _EFFECT:
            reading.effect = table
        elif title.endswith(" beside it"):
            reading.printed = [Printed(*row[:3], "", *row[3:]) for row in table]
        else:
            equations = [_equation(*row) for row in table]
            rules = [line.strip() for p in paragraphs for line in re.findall(r"^    (.*)", p, re.M)]
            reading.sections.append((title, _plain(paragraphs[0]), rules, equations))
    reading.remarks = [_plain(part) for part in paragraphs if not part.startswith("|")][:-1]
    return reading


def _cells(table: str) -> list[tuple[str, ...]]:
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()]
    return [tuple(_plain(cell).strip() for cell in line) for line in lines[2:]]


def _equation(name: str, symbols: str, numbers: str, result: str) -> tuple[str, ...]:
    name, sign = name.rsplit(" ", 1)
    lines = zip((sign, "=", "="), (symbols, numbers, result), strict=True)
    return (name, *(f"{sign} {text}" for sign, text in lines if text))


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


# The page


def soup(page: str) -> BeautifulSoup:
    return BeautifulSoup(page, "html.parser")


def texts(node: Tag, selector: str) -> list[str]:
    """Return the texts of the elements below one, in the order of the page."""
    return [text_of(found) for found in node.select(selector)]


def text_of(node: Tag) -> str:
    return " ".join(node.get_text().replace("\N{WORD JOINER}", "").split())


def read_page(page: str) -> Reading:
    root = soup(page)
    blocks = root.select(".equations")
    reading = Reading(title=texts(root, "h1")[0])
    reading.facts = list(zip(texts(root, "dt"), texts(root, "dd"), strict=True))
    for title, block in zip(texts(root, "h2"), blocks, strict=False):
        equations = [
            (*texts(row, "span.of"), *texts(row, ".parts > span"))
            for row in block.select(".equation")
        ]
        section = block.find_parent("section")
        [remark] = texts(section, "p.remark")
        reading.sections.append((title, remark, texts(section, ".rules > li"), equations))
    reading.effect = [tuple(texts(row, "td")) for row in root.select(".effect tr")[1:]]
    reading.printed = [_printed(row) for row in root.select(".printed tr")[1:]]
    reading.remarks = texts(root, "main > p:not([class])")
    assert texts(root, "h2")[len(blocks)] == _EFFECT  # no section is without equations
    return reading


def _printed(row: Tag) -> Printed:
    *cells, place = row.select("td")
    [where] = texts(place, "span")
    return Printed(*map(text_of, cells), where, text_of(place).removeprefix(where))
