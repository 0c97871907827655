"""What the pages share: their style, and text that is shown as it is."""

import re

from transfer.core.errors import printable

STYLE = """<style>
[data-testid="stMainBlockContainer"] {padding-block: 2rem}
/* Images side by side: in rows of two or three on a phone. */
.stImage {display: grid; gap: .5rem; width: 100%;
  grid-template-columns: repeat(auto-fit, minmax(min(5.5rem, 100%), 1fr))}
[data-testid="stFullScreenFrame"] > div, .stImage > * > * {width: 100% !important}
.stImage img {border-radius: .4rem}
</style>"""


def escape_markdown(text: str) -> str:
    """Escape all characters that mean something in Markdown."""
    return re.sub(r"([!-/:-@[-`{-~])", r"\\\1", printable(text))
