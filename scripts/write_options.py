"""Writes docs/options.md, the table of every option, from their one description. tests/test_options.py holds that it is
current.
"""

from pathlib import Path

from gliomask.segmentation.options import Delivery, Options, options_table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "options.md"

INTRODUCTION = """# Options of a segmentation

Made by `python scripts/write_options.py` from `gliomask.segmentation.options`, where each option is described once. The
command line (`gliomask segment`, `gliomask-bids`), the keywords in Python and the field `options` of the run record are
made from the same description.
"""


def page() -> str:
    """Returns the page."""
    parts = (
        ("What is computed", "Keywords of `gliomask.segment(...)` and of `gliomask.Options`.", Options),
        ("What is written", "Keywords of `Segmentation.save(...)` and of `gliomask.Delivery`.", Delivery),
    )
    return INTRODUCTION + "".join(
        f"\n## {title}\n\n{words}\n\n{options_table(model)}\n" for title, words, model in parts
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
