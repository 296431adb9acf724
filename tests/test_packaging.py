"""What comes for clusters: files that containers are built from, an installation without a network, and runs where
nothing can be written but the output.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from test_cohort import table_of, write_cases

from gliomask.files.scratch import temporary_place

ROOT = Path(__file__).resolve().parents[1]
PACKAGING = ROOT / "packaging"
BIN = Path(sys.executable).parent


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_dockerfile_passes_its_linter():
    done = subprocess.run([BIN / "hadolint", PACKAGING / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "name",
    ["packaging/wheels.sh", "packaging/install.sh", "packaging/pbs.sh", "packaging/lsf.sh", "scripts/slurm_here"],
)
def test_shell_scripts_pass_their_linter(name):
    done = subprocess.run(
        [BIN / "shellcheck", "--severity=warning", ROOT / name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_images_are_built_by_the_script_that_is_tested():
    docker, apptainer = ((PACKAGING / name).read_text() for name in ("Dockerfile", "gliomask.def"))
    command = "sh /opt/install.sh /opt/wheels /opt/gliomask"
    assert command in docker
    assert command in apptainer
    assert re.search(r"^USER \d+:\d+$", docker, re.MULTILINE)
    for text in (docker, apptainer):
        # Nothing is fetched beyond the base image.
        assert not re.search(r"\b(curl|wget|apt-get|pip install(?!.*--no-index))\b", text)


def test_the_conda_environment_has_what_the_project_needs():
    given = yaml.safe_load((PACKAGING / "environment.yml").read_text())["dependencies"]
    names = {re.split(r"[<>=]", item)[0].removesuffix("-base") for item in given if isinstance(item, str)}
    names |= {re.split(r"[<>=]", item)[0] for item in next(item["pip"] for item in given if isinstance(item, dict))}
    needed = {
        re.split(r"[<>=;]", item)[0].lower()
        for item in [*project()["dependencies"], *project()["optional-dependencies"]["raw"]]
    }
    assert needed <= names


def test_the_babs_configuration_names_options_that_exist():
    from gliomask.cli.bids import command

    asked = yaml.safe_load((PACKAGING / "babs.yaml").read_text())["bids_app_args"]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {name for name in asked if name.startswith("--")} | {asked["$SUBJECT_SELECTION_FLAG"]} <= known


@pytest.mark.parametrize("name", ["pbs.sh", "lsf.sh"])
def test_templates_call_a_command_that_exists(name):
    from gliomask.cli.cohort import work_command

    words = (PACKAGING / name).read_text().rpartition("exec gliomask cohort work")[2].split()
    assert {word for word in words if word.startswith("--")} <= {
        option for parameter in work_command.params for option in parameter.opts
    }


@pytest.mark.slow
def test_it_installs_from_a_folder_of_wheels_without_an_index(tmp_path):
    wheels = tmp_path / "wheels"
    # Without byte code, which takes longer than the rest and proves nothing here; the images compile it.
    environment = {**os.environ, "PYTHON": sys.executable, "PIP_NO_COMPILE": "1", "GLIOMASK_WEB": "skip"}
    environment.pop("PYTHONPATH", None)
    subprocess.run(
        ["sh", PACKAGING / "wheels.sh", wheels, "report"], check=True, env=environment, timeout=280, capture_output=True
    )
    assert list(wheels.glob("gliomask-*.whl"))
    # An index that answers nothing: whatever is not in the folder is missed.
    environment |= {"PIP_INDEX_URL": "http://127.0.0.1:9/none", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        ["sh", PACKAGING / "install.sh", wheels, tmp_path / "env", "report"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "residual-unet" in done.stdout
    # What was installed segments, from a folder in which no source lies.
    sample = next((tmp_path / "env").rglob("sample/synthetic_0001"))
    command = [
        tmp_path / "env" / "bin" / "gliomask",
        "segment",
        sample,
        "-o",
        tmp_path / "out",
        "--single-plane",
        "--report",
        "pdf",
    ]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "synthetic_0001_report.pdf").is_file()


def test_the_source_archive_makes_the_wheel_that_the_checkout_makes(tmp_path):
    environment = {**os.environ, "GLIOMASK_WEB": "skip"}

    def build(folder: Path, kind: str, target: Path) -> Path:
        command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", target]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        return next(target.iterdir())

    with tarfile.open(build(ROOT, "sdist", tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    wheels = [build(folder, "wheel", tmp_path / name) for name, folder in (("checkout", ROOT), ("archive", unpacked))]
    here, there = ({name: wheel.read(name) for name in wheel.namelist()} for wheel in map(zipfile.ZipFile, wheels))
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []
    assert {"gliomask/py.typed", "gliomask/models/shipped/residual-unet/model.json"} <= here.keys()
    # What people need to test what they have unpacked.
    assert (unpacked / "tests" / "conftest.py").is_file()


BOX = """
set -e
mount --bind {work} /mnt
mount -t tmpfs -o ro tmpfs /var/tmp
mount --bind {site} {site}
mount -o remount,ro,bind {site}
mount -t tmpfs -o ro tmpfs /tmp
cd /
exec env -i PATH=/usr/bin:/bin PYTHONPATH={source} PYTHONDONTWRITEBYTECODE=1 \
  setpriv --reuid 12345 --regid 12345 --clear-groups --inh-caps=-all,+dac_read_search --ambient-caps=+dac_read_search \
  {python} -m gliomask cohort /mnt/in -o /mnt/out/results --raw never --workers 1
"""


def test_it_runs_for_any_user_without_home_and_tmp_and_with_a_read_only_installation(tmp_path):
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None:
        pytest.skip("needs root, unshare and setpriv")
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespaces here")
    source = Path(sys.modules["gliomask"].__file__).resolve().parents[1]
    if str(source).startswith("/tmp"):
        pytest.skip("the source lies in /tmp, which this test takes away")
    write_cases(tmp_path / "in", "a")
    (tmp_path / "out").mkdir()
    for folder in (tmp_path / "out", tmp_path):
        folder.chmod(0o777)
    script = BOX.format(work=tmp_path, site=BIN.parent, source=source, python=sys.executable)
    done = subprocess.run(["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert table_of(tmp_path / "out" / "results")["a"]["status"] == "done"
    assert (tmp_path / "out" / "results" / "cohort.tsv").stat().st_uid == 12345


def test_where_there_is_no_place_for_temporary_files_another_is_taken_and_given_back(tmp_path, monkeypatch):
    def none() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    with temporary_place((str(tmp_path / "gone"), str(tmp_path))):
        folder = Path(os.environ["TMPDIR"])
        assert folder.parent == tmp_path
        assert os.environ["MPLCONFIGDIR"] == str(folder)
    assert not folder.exists()
    assert "TMPDIR" not in os.environ
    with temporary_place(()):
        assert "TMPDIR" not in os.environ
