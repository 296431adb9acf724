"""`gliomask view`: what is found, the page, its server on loopback, and corrections that training takes."""

import base64
import gzip
import http.client
import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from gliomask.cli.main import run
from gliomask.colours import PALETTES
from gliomask.errors import CaseError, EngineUnavailableError, InputError, LabelError, UsageError
from gliomask.geometry import Geometry
from gliomask.io import nifti
from gliomask.io.brats import find_cases, read_label_map
from gliomask.labels import convention
from gliomask.results.correction import ToolUse
from gliomask.view import corrections
from gliomask.view import page as view_page
from gliomask.view.corrections import Corrections
from gliomask.view.exams import find_exam
from gliomask.view.page import make_page, served_html, single_html
from gliomask.view.sent import MAX_BODY_BYTES
from gliomask.view.server import CORRECTIONS_PATH, ViewerContent, ViewServer, keep

SHAPE = (12, 10, 8)
GRID = Geometry(SHAPE, np.array([[-1.0, 0, 0, 11], [0, -1, 0, 9], [0, 0, 2, -3], [0, 0, 0, 1]]))
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def case(tmp_path):
    """A case of four scans and a reference."""
    folder = tmp_path / "cases" / "P01"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for sequence in ("flair", "t1", "t1ce", "t2"):
        nifti.write_volume(folder / f"P01_{sequence}.nii.gz", rng.uniform(1, 9, SHAPE).astype(np.float32), GRID)
    nifti.write_volume(folder / "P01_seg.nii.gz", labels_of({2: 20, 4: 4}), GRID)
    return folder


@pytest.fixture
def result(tmp_path):
    """A label map of the case, with an uncertainty and probabilities beside it."""
    folder = tmp_path / "results"
    nifti.make_folder(folder)
    nifti.write_volume(folder / "P01_seg.nii.gz", labels_of({2: 24, 4: 6}), GRID)
    nifti.write_volume(folder / "P01_uncertainty.nii.gz", np.full(SHAPE, 0.5, np.float32), GRID)
    nifti.write_volume(folder / "P01_probabilities.nii.gz", np.zeros((*SHAPE, 4), np.float32), GRID)
    return folder


@pytest.fixture(autouse=True)
def built(tmp_path, monkeypatch):
    """A viewer whose script tries to end its element early."""
    folder = tmp_path / "package" / "built"
    folder.mkdir(parents=True)
    (folder / "view.js").write_text('const end = "</script>"')
    (folder / "view.css").write_text("p { color: black }")
    monkeypatch.setattr(view_page, "files", lambda name: tmp_path / "package")
    return folder


@pytest.fixture
def reports():
    """Named by tests that need the reports of corrections; others do without their seconds."""


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    if "reports" not in request.fixturenames:
        monkeypatch.setattr(corrections, "_report", lambda *_: "Not in this test.")


def labels_of(counts):
    values = np.zeros(SHAPE, np.uint8)
    flat = values.reshape(-1)
    start = 0
    for code, count in counts.items():
        flat[start : start + count] = code
        start += count
    return values


def exam_of(case, result):
    return find_exam(case, result, labels="brats2021")


def test_scans_result_reference_and_maps_are_found(case, result):
    exam = exam_of(case, result)
    assert exam.case_id == "P01"
    assert exam.segmentation.path == result / "P01_seg.nii.gz"
    assert exam.reference.path == case / "P01_seg.nii.gz"
    assert [one.title for one in exam.maps] == [
        "Probability: necrotic core",
        "Probability: oedema",
        "Probability: enhancing tumour",
        "Uncertainty",
    ]


def test_scans_alone_are_looked_at_too(case):
    exam = find_exam(case)
    assert exam.segmentation is None
    assert exam.reference is not None


def test_a_label_map_of_unknown_convention_is_refused(case, result):
    with pytest.raises(UsageError, match="nothing says how its labels are written. Give --labels"):
        find_exam(case, result)


def test_two_cases_and_no_label_map_are_refused(case, result, tmp_path):
    other = tmp_path / "cases" / "P02"
    other.mkdir()
    for path in case.iterdir():
        (other / path.name.replace("P01", "P02")).write_bytes(path.read_bytes())
    with pytest.raises(CaseError, match="holds 2 cases. Give the folder of one"):
        find_exam(tmp_path / "cases")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CaseError, match="no label map found"):
        find_exam(case, empty)
    with pytest.raises(UsageError, match="does not exist"):
        find_exam(tmp_path / "nowhere")


def test_the_page_names_its_files_without_folders(case, result, tmp_path):
    page = make_page([exam_of(case, result)])
    (exam,) = page.manifest["exams"]
    assert set(exam["scans"]) == {"flair", "t1", "t1ce", "t2"}
    assert exam["segmentation"] == {"file": 4, "name": "P01_seg.nii.gz", "codes": [0, 1, 2, 4]}
    assert str(tmp_path) not in json.dumps(page.manifest)
    assert page.content(exam["scans"]["t1"]["file"]) == (case / "P01_t1.nii.gz").read_bytes()


def test_maps_are_a_byte_a_voxel(case, result, tmp_path):
    page = make_page([exam_of(case, result)])
    uncertainty = page.manifest["exams"][0]["maps"][-1]
    (tmp_path / "map.nii.gz").write_bytes(page.content(uncertainty["file"]))
    read = nifti.read_volume(tmp_path / "map.nii.gz")
    assert set(np.unique(read.values)) == {128}
    assert read.geometry.same_grid(GRID)


def test_one_file_holds_everything_and_ends_no_element_early(case, result):
    text = single_html(make_page([exam_of(case, result)])).decode()
    assert text.count("</script>") == text.count("<script")
    assert 'const end = "<\\/script>"' in text
    assert "default-src 'none'; script-src 'sha256-" in text
    scan = base64.b64encode((case / "P01_t1.nii.gz").read_bytes()).decode()
    assert scan in text
    assert "src=" not in text.replace("script-src=", "")


def test_a_hostile_name_stays_text(case, result):
    page = make_page([exam_of(case, result)])
    page.manifest["exams"][0]["title"] = "</script><script>alert(1)</script>"
    text = served_html(page).decode()
    assert "<script>alert" not in text


def test_without_a_built_viewer_it_is_said_how_to_get_it(case, built):
    (built / "view.js").unlink()
    with pytest.raises(EngineUnavailableError, match="npm run build"):
        make_page([find_exam(case)])


def test_the_palettes_of_the_viewer_are_those_of_colours():
    path = REPOSITORY / "web" / "src" / "viewer" / "palettes.json"
    if not path.is_file():
        pytest.skip("the front end's sources come with the repository only")
    expected = {
        name: {str(int(label)): list(colour) for label, colour in palette.labels.items()}
        for name, palette in PALETTES.items()
    }
    assert json.loads(path.read_text()) == expected


# Corrections


def corrected(case, result):
    labels, _ = read_label_map(result / "P01_seg.nii.gz", convention("brats2021"))
    labels = labels.copy()
    labels[labels == 3] = 1
    labels[-1, -1, -1] = 3
    return labels


def test_a_correction_is_a_case_that_training_takes(case, result, tmp_path):
    labels = corrected(case, result)
    when = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
    place = Corrections(tmp_path / "corrections").keep(
        exam_of(case, result), labels, " A. B. ", [ToolUse(tool="relabel", steps=1, voxels=6)], when
    )
    (found,) = find_cases(tmp_path / "corrections")
    read, grid = read_label_map(found.reference, found.labels)
    np.testing.assert_array_equal(read, labels)
    assert grid.same_grid(GRID)
    assert found.paths()[0].read_bytes() == (case / "P01_flair.nii.gz").read_bytes()
    about = json.loads((place / "P01_correction.json").read_text())
    assert about["who"] == "A. B."
    assert about["when"] == "2026-11-27T12:00:00+00:00"
    assert about["changed"] == [
        {"from": "background", "to": "enhancing", "voxels": 1, "ml": 0.002},
        {"from": "enhancing", "to": "necrotic", "voxels": 6, "ml": 0.012},
    ]
    assert about["volumes_before_ml"] == {"necrotic": 0.0, "oedema": 0.048, "enhancing": 0.012}
    assert about["volumes_after_ml"] == {"necrotic": 0.012, "oedema": 0.048, "enhancing": 0.002}
    assert not list((tmp_path / "corrections").glob(".*"))


def test_the_report_and_volumes_of_a_correction_are_of_the_corrected_label_map(case, result, tmp_path, reports):
    labels = corrected(case, result)
    exam = exam_of(case, result)
    when = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
    place = Corrections(tmp_path / "corrections").keep(exam, labels, "A. <B>", when=when)
    table = (place / "P01_volumes.tsv").read_text()
    assert "\tnecrotic\t" in f"\t{table}".replace("label\t", "\t")
    rows = {line.split("\t")[1]: line.split("\t")[3] for line in table.splitlines()[1:]}
    assert (rows["necrotic"], rows["enhancing"]) == ("6", "1")
    told = "Corrected by hand by A. &lt;B&gt;, 2026-11-27 12:00 UTC: 0.01 ml have another label than the network gave."
    report = (place / "P01_report.html").read_text()
    assert told in report
    assert "No Dice is expected of it" in report
    # The command makes the same report of the folder, and takes its scans from it.
    assert run(["report", str(place / "P01_seg.nii.gz"), "--format", "html,json", "-o", str(tmp_path / "again")]) == 0
    assert told in (tmp_path / "again" / "P01_report.html").read_text()
    origin = json.loads((tmp_path / "again" / "P01_report.json").read_text())["provenance"]
    assert origin["corrected"] == {"who": "A. <B>", "when": "2026-11-27T12:00:00+00:00", "changed_ml": 0.014}
    assert origin["expected_dice"] == {}


def test_scans_on_another_grid_give_no_report_and_that_is_recorded(case, result, tmp_path, reports):
    grid = Geometry(SHAPE, np.diag([1.0, 1.0, 3.0, 1.0]))
    for path in case.glob("P01_t1.nii.gz"):
        path.unlink()
        nifti.write_volume(path, np.ones(SHAPE, np.float32), grid)
    place = Corrections(tmp_path / "corrections").keep(exam_of(case, result), corrected(case, result), "A. B.")
    assert not (place / "P01_report.html").exists()
    about = json.loads((place / "P01_correction.json").read_text())
    assert about["no_report"] == "The scans do not lie on the grid of the label map."


def test_a_damaged_record_of_a_correction_is_refused(case, result, tmp_path, capsys):
    place = Corrections(tmp_path / "corrections").keep(exam_of(case, result), corrected(case, result), "A. B.")
    path = place / "P01_correction.json"
    path.write_text(path.read_text().replace('"who": "A. B."', '"who": ""'))
    assert run(["report", str(place / "P01_seg.nii.gz"), "--format", "html", "--overwrite"]) != 0
    assert "is no record of a correction: who" in capsys.readouterr().err


def test_an_untouched_prediction_never_gets_among_corrections(case, result, tmp_path):
    labels, _ = read_label_map(result / "P01_seg.nii.gz", convention("brats2021"))
    with pytest.raises(UsageError, match="Nothing has been changed"):
        Corrections(tmp_path / "corrections").keep(exam_of(case, result), labels, "A. B.")
    assert not (tmp_path / "corrections").exists()


@pytest.mark.parametrize("who", ["", "  ", "a\nb", "x" * 101, "^=\\"])
def test_a_correction_needs_a_name(case, result, tmp_path, who):
    with pytest.raises(UsageError, match="needs the name"):
        Corrections(tmp_path / "corrections").keep(exam_of(case, result), corrected(case, result), who)


def test_labels_that_do_not_fit_are_refused(case, result, tmp_path):
    keeper = Corrections(tmp_path / "corrections")
    for labels in (np.zeros((3, 3, 3), np.uint8), np.full(SHAPE, 4, np.uint8)):
        with pytest.raises(LabelError, match="does not fit"):
            keeper.keep(exam_of(case, result), labels, "A. B.")


def test_the_same_session_may_save_again_and_another_only_with_leave(case, result, tmp_path):
    labels, exam = corrected(case, result), exam_of(case, result)
    folder = tmp_path / "corrections"
    first = Corrections(folder)
    first.keep(exam, labels, "A. B.")
    labels[0, 0, 1] = 1
    first.keep(exam, labels, "A. B.")
    (found,) = find_cases(folder)
    np.testing.assert_array_equal(read_label_map(found.reference, found.labels)[0], labels)
    with pytest.raises(UsageError, match="P01 exists"):
        Corrections(folder).keep(exam, labels, "C. D.")
    Corrections(folder, overwrite=True).keep(exam, labels, "C. D.")
    assert json.loads((folder / "P01" / "P01_correction.json").read_text())["who"] == "C. D."


def test_an_earlier_correction_stays_where_the_new_one_cannot_take_its_place(case, result, tmp_path, monkeypatch):
    labels, exam, folder = corrected(case, result), exam_of(case, result), tmp_path / "corrections"
    place = Corrections(folder).keep(exam, labels, "A. B.")
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    rename = Path.rename

    def fail(path, target):
        if path.name.endswith(".part"):
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    labels[0, 0, 1] = 1
    with pytest.raises(UsageError):
        Corrections(folder, overwrite=True).keep(exam, labels, "C. D.")
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    assert [path.name for path in folder.iterdir()] == [place.name]


# The server


@pytest.fixture
def server(case, result, tmp_path):
    exam = exam_of(case, result)
    content = ViewerContent(make_page([exam], CORRECTIONS_PATH), exam, Corrections(tmp_path / "corrections"))
    with ViewServer(content) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server, path, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def body_of(corrected_labels, **changes):
    packed = gzip.compress(corrected_labels.astype(np.uint8).tobytes(order="F"))
    return json.dumps(
        {
            "who": "A. B.",
            "steps": [{"tool": "paint", "steps": 1, "voxels": 7}],
            "labels": base64.b64encode(packed).decode(),
        }
        | changes
    )


def test_the_page_and_its_files_are_handed_out_under_the_token_alone(server, case):
    here = f"/{server.token}/"
    response, content = ask(server, here)
    assert response.status == 200
    assert b'id="manifest"' in content
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert ask(server, f"{here}files/0")[1] == (case / "P01_flair.nii.gz").read_bytes()
    for path in (
        "/",
        "/files/0",
        f"/{server.token}x/",
        "/x/files/0",
        f"{here}files/99",
        f"{here}files/-1",
        f"{here}files/../page",
        f"{here}files/0x1",
    ):
        assert ask(server, path)[0].status == 404


def test_another_name_for_this_computer_and_another_site_are_turned_away(server):
    here = f"/{server.token}/"
    assert ask(server, here, Host="evil.example:80")[0].status == 404
    assert ask(server, here, Origin="https://evil.example")[0].status == 403
    assert ask(server, here, Origin=f"http://127.0.0.1:{server.server_port}")[0].status == 200


def test_a_correction_is_taken_in(server, case, result, tmp_path):
    labels = corrected(case, result)
    response, content = ask(
        server, f"/{server.token}/corrections", "POST", body_of(labels), Content_Type="application/json"
    )
    assert response.status == 200, content
    assert json.loads(content)["folder"] == str(tmp_path / "corrections" / "P01")
    (found,) = find_cases(tmp_path / "corrections")
    np.testing.assert_array_equal(read_label_map(found.reference, found.labels)[0], labels)


def test_what_is_no_correction_is_refused_and_leaves_nothing(server, case, result, tmp_path):
    path, labels = f"/{server.token}/corrections", corrected(case, result)
    kind = {"Content_Type": "application/json"}
    assert ask(server, path, "POST", body_of(labels))[0].status == 400
    assert ask(server, path, "POST", b"", Content_Length=str(MAX_BODY_BYTES + 1), **kind)[0].status == 400
    for body in (
        "",
        "[]",
        "{}",
        "[" * 100_000,
        body_of(labels, labels="x"),
        body_of(labels, steps=[{"tool": "magic", "steps": 1, "voxels": 1}]),
    ):
        response, content = ask(server, path, "POST", body, **kind)
        assert response.status == 422
        assert "holds no correction" in json.loads(content)["error"]
    assert not (tmp_path / "corrections").exists()


def test_a_label_map_that_unpacks_to_more_than_its_grid_is_refused(server):
    bomb = base64.b64encode(gzip.compress(bytes(200 << 20), 1)).decode()
    with pytest.raises(InputError, match="holds no correction"):
        keep(server.content, json.dumps({"who": "A. B.", "steps": [], "labels": bomb}).encode())


# The command


def test_the_command_writes_one_file_and_replaces_none(case, result, tmp_path, capsys):
    output = tmp_path / "P01.html"
    arguments = ["view", str(case), str(result), "--labels", "brats2021", "--html", str(output)]
    assert run(arguments) == 0
    assert "give it only to those who may see them" in capsys.readouterr().out
    assert output.read_bytes().startswith(b"<!doctype html>")
    assert run(arguments) == 2
    assert run([*arguments, "--overwrite"]) == 0


def test_two_results_and_two_visits_lie_in_one_page(case, result, tmp_path):
    output = tmp_path / "two.html"
    arguments = ["view", str(case), str(result), "--labels", "brats2021", "--html", str(output), "--overwrite"]
    assert run([*arguments, "--with", str(case / "P01_seg.nii.gz")]) == 0
    assert "<h1>results and P01_seg.nii.gz</h1>" in output.read_text()
    # Folders may be called alike for all cases: then the case is named, too.
    assert run([*arguments, "--with", str(result)]) == 0
    assert "<h1>P01: results and results</h1>" in output.read_text()
    assert run([*arguments, "--visit", str(case), str(result)]) == 0
    assert "<h1>Visit 1, P01 and Visit 2, P01</h1>" in output.read_text()
    assert run([*arguments, "--with", str(result), "--visit", str(case), str(result)]) == 2
