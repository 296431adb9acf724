"""The application for the browser: what is written of a model, and the folder that is written."""

import gzip
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from gliomask.cli.main import run
from gliomask.errors import ModelError, UsageError
from gliomask.models.registry import DEFAULT_MODEL, load_model
from gliomask.web import build as web_build
from gliomask.web.model import browser_files


@pytest.fixture(scope="module")
def model():
    return load_model(DEFAULT_MODEL)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose application is a page, a service worker and some WebAssembly."""
    app = tmp_path / "package" / "app"
    (app / "assets").mkdir(parents=True)
    (app / "index.html").write_text("<p>page</p>")
    (app / "service-worker.js").write_text("const VERSION = '__GLIOMASK_VERSION__'")
    (app / "assets" / "run.wasm.gz").write_bytes(gzip.compress(b"\0asm"))
    (app / "assets" / "run.jspi-1.wasm.gz").write_bytes(gzip.compress(b"\0asm for cards"))
    monkeypatch.setattr(web_build, "files", lambda name: tmp_path / "package")
    return app


def test_the_golden_pair_is_written_as_the_network_takes_it(model):
    files = browser_files(model)
    manifest = json.loads(files["model.json"])
    golden = manifest["golden"]
    assert golden["input"] == [1, 32, 48, len(model.spec.inputs) * model.spec.slices]
    assert golden["sha256"] == hashlib.sha256(files[golden["file"]]).hexdigest()
    values = np.frombuffer(files[golden["file"]], "<f4")
    batch = values[: np.prod(golden["input"])].reshape(golden["input"])
    second = model.spec.slices // 2 * len(model.spec.inputs) + 1
    np.testing.assert_array_equal(
        batch[0, :, :, second], model.golden[model.spec.inputs[1]][:, :, model.spec.slices // 2]
    )
    np.testing.assert_array_equal(values[batch.size :].reshape(golden["output"])[0], model.golden["probabilities"])


def test_the_manifest_says_what_the_model_says(model):
    manifest = json.loads(browser_files(model)["model.json"])
    assert manifest["inputs"] == list(model.spec.inputs)
    assert manifest["planes"] == list(model.spec.planes)
    assert manifest["enhancementRule"]["seedMl"] == model.spec.enhancement_rule.seed_ml
    assert manifest["graph"]["sha256"] == hashlib.sha256(model.source.graph).hexdigest()


def test_a_model_that_the_browser_cannot_run_is_refused_with_every_reason(model):
    spec = model.spec.model_copy(update={"second_opinion": "another", "postprocess": "legacy"})
    with pytest.raises(
        ModelError, match="does not run in the browser: its post-processing is legacy; it has a second ensemble member"
    ):
        browser_files(replace(model, spec=spec))


def test_the_application_is_written_whole_with_hashes_and_a_version(model, package, tmp_path):
    site = tmp_path / "site"
    web_build.build(model, site)
    assert (site / "assets" / "run.wasm").read_bytes() == b"\0asm"
    parts = json.loads((site / "files.json").read_text())
    manifest = parts["first"] | parts["later"]
    # What only a graphics card needs waits until one asks for it.
    assert set(parts["later"]) == {"assets/run.jspi-1.wasm", "model/model.onnx"}
    assert not set(parts["first"]) & set(parts["later"])
    written = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert written == {*manifest, "files.json"}
    assert {"model/model.json", "model/model.onnx", "model/golden.f32", "index.html"} <= written
    for path, digest in manifest.items():
        if path != "service-worker.js":
            assert hashlib.sha256((site / path).read_bytes()).hexdigest() == digest
    worker = (site / "service-worker.js").read_text()
    assert "__GLIOMASK_VERSION__" not in worker


def test_in_float32_the_one_graph_is_there_at_once(model, package):
    files = web_build.application(model, "fp32")
    assert "model/model.onnx" in json.loads(files["files.json"])["first"]
    assert "model/model.int8.onnx" not in files
    assert json.loads(files["model/model.json"])["int8"] is None


def test_the_int8_graph_goes_with_its_tolerance(model):
    files = browser_files(model, "int8")
    int8 = json.loads(files["model.json"])["int8"]
    assert int8["sha256"] == hashlib.sha256(files[int8["file"]]).hexdigest() == model.spec.files["model.int8.onnx"]
    assert int8["tolerance"] == model.spec.int8.tolerance


def test_int8_of_a_model_that_has_none_is_refused(package, tmp_path, capsys):
    site = tmp_path / "site"
    assert run(["web", "build", "--model", "sparse-multi-ocm", "--precision", "int8", "-o", str(site)]) == 2
    assert "has no int8 graph. Give --precision fp32 or auto." in capsys.readouterr().err
    assert not site.exists()


def test_another_page_gives_another_version_of_the_service_worker(model, package):
    before = web_build.application(model)["service-worker.js"]
    (package / "index.html").write_text("<p>another</p>")
    assert web_build.application(model)["service-worker.js"] != before


def test_a_folder_with_something_in_it_is_left_alone(model, package, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not an empty folder"):
        web_build.build(model, site)
    assert [path.name for path in site.iterdir()] == ["mine.txt"]


def test_a_damaged_file_of_the_application_is_refused_never_cut(model, package, monkeypatch):
    packed = package / "assets" / "run.wasm.gz"
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(ModelError, match=r"run.wasm.gz cannot be unpacked"):
        web_build.application(model)
    packed.write_bytes(gzip.compress(b"\0asm"))
    monkeypatch.setattr(web_build, "MAX_UNPACKED_BYTES", 3)
    with pytest.raises(ModelError, match=r"run.wasm.gz holds more than 3 bytes"):
        web_build.application(model)


def test_an_installation_without_the_application_says_how_to_get_it(package, tmp_path, capsys):
    (package / "index.html").unlink()
    assert run(["web", "build", "-o", str(tmp_path / "site")]) == 4
    assert "npm ci && npm run build" in capsys.readouterr().err
    assert not (tmp_path / "site").exists()
