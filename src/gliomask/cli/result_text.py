"""What a command shows of a result: doubts first, then volumes with what is to be expected of them, then the files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomask.cli.say import echo
from gliomask.cli.text_table import text_table

if TYPE_CHECKING:
    from gliomask.results.layout import CaseLayout
    from gliomask.segmentation import Outcome, Segmenter

NOTICE = "Research use only, not a medical device."


def show_result(segmenter: Segmenter, result: Outcome) -> None:
    """Shows flags, exceptions and the table of volumes."""
    from gliomask.judgement import doubted, doubts_first
    from gliomask.report.provenance import exceptions_in_words
    from gliomask.segmentation.deliver import exceptions

    flags = doubts_first(result.flags)
    if doubted(flags):
        echo(f"{result.case_id}: DOUBTFUL. Look at the scans and at the picture before using a number.", err=True)
    for flag in flags:
        echo(f"Warning: {result.case_id}: {flag.message}", err=True)
    if segmenter.second is not None and len(result.prediction.models) == 1:
        name = segmenter.second.model.spec.name
        echo(f"Without the ensemble member {name}, which cannot do without {', '.join(sorted(result.case.without))}.")
    for line in exceptions_in_words(exceptions(result)):
        echo(line)
    echo()
    echo(volumes_table(result))


def volumes_table(result: Outcome) -> str:
    """Returns regions with their volumes and the Dice to be expected, then the labels, as lines of text."""
    from gliomask.colours import PALETTE
    from gliomask.in_words import INTERVAL, dice, volume_number
    from gliomask.labels import Region

    rows = []
    for region in Region:
        estimate = result.estimates.get(region)
        expected = () if estimate is None else (dice(estimate.dice), f"{dice(estimate.low)} to {dice(estimate.high)}")
        title = f"{region.title.capitalize()} ({region.value})"
        rows.append((title, volume_number(result.volumes.region_ml(region)), *(expected or ("", ""))))
    for label in PALETTE.labels:
        rows.append((f"  {label.title}", volume_number(result.volumes.of(label).volume_ml), "", ""))
    rows = [*rows[: len(Region)], ("Labels:", "", "", ""), *rows[len(Region) :]]
    header = ("Region", "Volume, ml", *(("Expected Dice", INTERVAL) if result.estimates else ("", "")))
    return text_table(rows, header, numbers=(1, 2))


def show_written(layout: CaseLayout) -> None:
    """Names every file that was written."""
    files = [(path.name, words) for path, words in layout.described().items() if path.exists()]
    echo(f"\nWritten to {layout.folder}:")
    echo(text_table(files))
    echo(NOTICE)
