import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gliomask

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = ("keras", "tensorflow", "jax", "torch", "onnx", "tf2onnx")
TRAINERS = (
    "gliomask.networks.ocm",
    "gliomask.networks.unet",
    "gliomask.networks.plain_unet",
    "gliomask.training",
    "gliomask.engines.keras",
)
"""Where frameworks may be imported."""

SERVING = ("fastapi", "starlette", "uvicorn", "httpx", "jinja2", "prometheus_client", "python_multipart")

EXTRAS = ("onnxruntime", "SimpleITK", "nilearn", "yaml", "h5py", "pydicom", "highdicom", *SERVING)
"""Not in the core installation; only asked for inside functions and in modules named after them."""

HELP_SECONDS = 0.3

HEAVY = (*FRAMEWORKS, *EXTRAS, "openvino", "numpy", "scipy", "nibabel", "matplotlib", "pydantic", "rich")


def run_python(script: str, *arguments: str) -> str:
    result = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def modules() -> list[str]:
    # Importing __main__ is running the command.
    return sorted(
        found.name
        for found in pkgutil.walk_packages(gliomask.__path__, "gliomask.")
        if found.name != "gliomask.__main__"
    )


BLOCKED = """
import sys
from importlib import import_module
blocked, names = (argument.split(",") for argument in sys.argv[1:])
for name in blocked:
    sys.modules[name] = None
for name in names:
    import_module(name)
print(len(names))
"""


def test_all_but_the_trainers_import_without_a_framework():
    names = [
        name
        for name in modules()
        if not name.startswith((*TRAINERS, "gliomask.server.")) and name not in ("gliomask.engines.onnxruntime",)
    ]
    assert {"gliomask.segmentation", "gliomask.cli.train", "gliomask.networks.catalogue", "gliomask.io.brats"} <= set(
        names
    )
    assert run_python(BLOCKED, ",".join((*FRAMEWORKS, *EXTRAS)), ",".join(names)).strip() == str(len(names))


def test_the_block_blocks():
    with pytest.raises(AssertionError, match="keras"):
        run_python(BLOCKED, "keras", "gliomask.networks.ocm")


LOADED = """
import sys
before = set(sys.modules)
exec(sys.argv[1])
print(" ".join(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import gliomask",
        "from gliomask.cli.main import run; assert run(['--help']) == 0",
        "from gliomask.cli.main import run; assert run(['--version']) == 0",
        "from gliomask.cli.main import run; assert run(['no-such-command']) == 2",
    ],
)
def test_importing_and_asking_for_help_load_nothing_heavy(statement):
    loaded = run_python(LOADED, statement).splitlines()[-1].split()
    assert "gliomask" in loaded
    assert set(HEAVY) & set(loaded) == set()


def test_help_of_every_command_loads_no_engine_and_no_framework():
    from gliomask.cli.main import COMMANDS

    statement = (
        f"from gliomask.cli.main import run; assert [run([name, '--help']) for name in {list(COMMANDS)}] == "
        f"{[0] * len(COMMANDS)}"
    )
    loaded = run_python(LOADED, statement).splitlines()[-1].split()
    assert {*FRAMEWORKS, *EXTRAS, "openvino"} & set(loaded) == set()


def test_help_is_quick():
    # Seconds of the processor, which a busy machine does not stretch; HELP_SECONDS is some four times what was
    # measured.
    script = (
        "import time; start = time.process_time(); from gliomask.cli.main import run; run(['--help']); "
        "print(time.process_time() - start)"
    )
    assert min(float(run_python(script).split()[-1]) for _ in range(3)) < HELP_SECONDS


def test_every_module_says_what_it_is():
    for name in modules():
        module_file = ROOT / "src" / Path(*name.split("."))
        source = module_file / "__init__.py" if module_file.is_dir() else module_file.with_suffix(".py")
        assert source.read_text(encoding="utf-8").startswith('"""'), name


def test_the_core_installation_names_no_framework():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = {requirement.split(">=")[0].strip() for requirement in project["dependencies"]}
    assert {"numpy", "openvino", "click"} <= core
    assert core & {*FRAMEWORKS, *EXTRAS, "tensorflow-cpu", "pyyaml"} == set()


def test_ci_runs_the_tests_as_the_readme_does():
    lines = [line.strip() for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()]
    commands = [line for line in lines if line.startswith("python3 -m venv .venv-test ") and "pytest" in line]
    assert len(commands) == 1
    assert "-m 'not gpu'" in commands[0]
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_licence_is_apache():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.lstrip().startswith("Apache License")
    assert len(text.splitlines()) == 202


COMMAND = """
import sys
from gliomask.cli.main import run
run(["segment", "nowhere", "-o", "nowhere-either"])
print("nibabel" in sys.modules, "pydicom" in sys.modules, "scipy.optimize" in sys.modules)
import pydicom, nibabel
print(hasattr(pydicom, "dcmread"))
import gliomask.io.dicom.export
"""


def test_segmenting_prepared_scans_imports_neither_pydicom_nor_an_optimiser_and_pydicom_is_there_when_it_is_used():
    pytest.importorskip("pydicom")
    assert run_python(COMMAND).split() == ["True", "False", "False", "True"]


def test_the_library_leaves_the_imports_of_others_alone():
    pytest.importorskip("pydicom")
    script = "import sys, gliomask.geometry; print(type(sys.modules['pydicom']).__name__)"
    assert run_python(script).strip() == "module"
