"""The blocks of commands and of code in the guides, and why a test does not run some of them."""

import re
import textwrap
from dataclasses import dataclass

from tests.helpers.project import PROJECT

GUIDES = sorted(path.name for path in PROJECT.glob("docs/*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{name}" for name in GUIDES)]
BLOCK = re.compile(
    r"^(?: *<!-- (?P<mark>[^\n]+) -->\n)?"
    r"(?P<indent> *)```(?P<language>sh|python)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
MARK = re.compile(r"not run by a test: .+|run by (tests/\S+\.py)")


@dataclass(frozen=True)
class Block:
    """A block of a guide.

    language: sh or python.
    text: What is between the fences.
    mark: What the comment above it says; None: there is none, so test_guides.py runs it.
    """

    language: str
    text: str
    mark: str | None

    @property
    def commands(self) -> list[str]:
        """The lines to type, without comments; one that ends in a backslash goes on."""
        joined = self.text.replace("\\\n", " ")
        lines = [re.sub(r"(^|\s+)# .*", "", line).strip() for line in joined.splitlines()]
        return [line for line in lines if line]


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page, in order."""
    found = BLOCK.finditer((PROJECT / page).read_text())
    return [Block(m["language"], textwrap.dedent(m["text"]), m["mark"]) for m in found]
