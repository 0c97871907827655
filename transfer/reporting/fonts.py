"""Fonts of the system for characters that the font of the figures lacks, such as Chinese ones."""

import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from matplotlib.font_manager import findfont, findSystemFonts, fontManager, get_font

from transfer.core.errors import printable
from transfer.reporting.style import STYLE

FONT = "DejaVu Sans"  # comes with Matplotlib; its characters look the same on all machines
LAST_RESORT = "lastresort"  # a font whose glyphs only say which script a character is of
SHOWN = 20  # missing characters in the message


def use_fonts_for(texts: Iterable[str]) -> None:
    """Let figures show texts with fonts that are installed; name what none of them has.

    Figures of other texts stay the same to the byte.

    Args:
        texts: What the figures will show.
    """
    wanted = {c for text in texts for c in text if unicodedata.category(c)[0] not in "CZ"}
    missing = wanted - _characters(Path(findfont(FONT)))
    families = [FONT]
    # Not those that Matplotlib has listed in its cache, where newly installed ones are missing.
    fonts = sorted(map(Path, findSystemFonts())) if missing else []
    found = {path: _characters(path) & missing for path in fonts}
    while missing and (best := max(found, key=lambda path: len(found[path] & missing), default="")):
        if not found[best] & missing:
            break
        missing -= found[best]
        fontManager.addfont(best)
        families.append(get_font(best).family_name)
    STYLE.pop("font.family", None)
    if families != [FONT]:
        STYLE["font.family"] = families
    if missing:
        characters = "".join(sorted(missing))
        more = "…" if len(characters) > SHOWN else ""
        print(
            f"plot: no installed font has {printable(characters[:SHOWN])}{more}; the figures show "
            "boxes instead; install one (Noto Sans CJK has Chinese, Japanese and Korean), then run "
            "`dvc repro -sf plot`",
            file=sys.stderr,
        )


def _characters(path: Path) -> set[str]:
    """Return the characters of a font; none, if it can't be drawn at any size, as some emoji."""
    try:
        font = get_font(path)
    except (OSError, RuntimeError):  # damaged, or of a format that Matplotlib doesn't read
        return set()
    is_usable = font.scalable and LAST_RESORT not in font.family_name.lower().replace(" ", "")
    return set(map(chr, font.get_charmap())) if is_usable else set()
