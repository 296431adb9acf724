"""What `gliomask.segment` returns."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from gliomask.report.preview import preview_picture
from gliomask.results.layout import CaseLayout
from gliomask.results.write import held, recover, refuse_inputs
from gliomask.segmentation.deliver import deliver, preview_title, refuse_formats
from gliomask.segmentation.options import Delivery, from_names
from gliomask.segmentation.outcome import Outcome


class Segmentation(Outcome):
    """A segmented patient: label map, probabilities, volumes, flags; a picture in a notebook; files by `save`.

    Labels in memory are 0 background, 1 necrotic and non-enhancing core, 2 oedema, 3 enhancing (`labels.Label`). On
    disk `save` writes 1, 2 and 4, as BraTS 2017 to 2021 have them, or what `labels` names.

    Examples:
        >>> result = gliomask.segment("patients/BraTS2021_00000")
        >>> result  # doctest: +ELLIPSIS
        Segmentation('BraTS2021_00000', prepared, WT ... ml, TC ... ml, ET ... ml, flags: ...)
        >>> files = result.save("results", report="html")
        >>> files[-1].name
        'BraTS2021_00000_run.json'
    """

    def save(self, output: str | os.PathLike[str], **delivery: Any) -> tuple[Path, ...]:
        """Writes what the command `gliomask segment` writes: all files or none.

        Args:
            output: a folder, or the label map's own name (.nii, .nii.gz).
            delivery: fields of `Delivery`, such as ``report="html,pdf"`` or ``overwrite=True``.

        Returns:
            The files, the run record last.

        Raises:
            UsageError: an option is unknown, a file exists and may not be replaced, cannot be written, or would be
                written over a scan.
            QualityError: a quality flag was raised and `strict` is set.
        """
        chosen: Delivery = from_names(Delivery, delivery)
        refuse_formats(chosen)
        layout = CaseLayout.of(os.fspath(output), self.case_id)
        refuse_inputs(layout.all(), [Path(path) for path in self.scans.hashes])
        place = layout.place(self.case_id)
        recover(place)
        with held(place):
            return deliver(self, layout, chosen).files

    def _repr_png_(self) -> bytes:
        """The picture that a notebook shows."""
        picture = preview_picture(
            self.case, self.prediction.label_map, preview_title(self), self.flags, self.estimates, self.volumes
        )
        stream = io.BytesIO()
        picture.save(stream, "PNG", compress_level=3)
        return stream.getvalue()
