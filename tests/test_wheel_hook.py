"""The build step of the wheel: with Node, without it, and where a release requires it."""

import importlib.util
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

HOOK = Path(__file__).resolve().parent.parent / "hatch_build.py"

pytestmark = pytest.mark.skipif(not HOOK.is_file(), reason="the build step comes with the repository only")
pytest.importorskip("hatchling", reason="needs hatchling")


@pytest.fixture
def hook(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("hatch_build", HOOK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("GLIOMASK_WEB", raising=False)
    warnings = []
    made = module.BuildHook(
        str(tmp_path),
        {},
        SimpleNamespace(),
        SimpleNamespace(),
        str(tmp_path),
        "wheel",
        SimpleNamespace(display_warning=warnings.append),
    )
    return SimpleNamespace(
        module=module,
        run=made.initialize,
        warnings=warnings,
        app=tmp_path / module.APP,
        page=tmp_path / module.PAGE,
        patch=monkeypatch,
    )


def with_npm(hook, code):
    """An npm that builds the application, or fails with a message."""
    calls = []

    def npm(arguments, **options):
        calls.append(arguments[1:])
        if code == 0:
            hook.app.mkdir(parents=True, exist_ok=True)
            (hook.app / "index.html").write_text("page")
            hook.page.mkdir(parents=True, exist_ok=True)
            (hook.page / "view.js").write_text("script")
        return subprocess.CompletedProcess(arguments, code, "", "no network")

    hook.patch.setattr(hook.module.shutil, "which", lambda name: "npm")
    hook.patch.setattr(hook.module.subprocess, "run", npm)
    return calls


def test_the_application_is_built_and_packed(hook):
    calls, data = with_npm(hook, 0), {"artifacts": []}
    hook.run("standard", data)
    assert calls == [["ci"], ["run", "build"]]
    assert data["artifacts"] == ["/src/gliomask/web/app/**", "/src/gliomask/view/built/**"]
    hook.run("standard", {"artifacts": []})
    assert len(calls) == 2, "what is built is packed as it is"


@pytest.mark.parametrize("npm", [None, 1])
def test_without_a_build_the_wheel_goes_without_and_says_so(hook, npm):
    if npm is None:
        hook.patch.setattr(hook.module.shutil, "which", lambda name: None)
    else:
        with_npm(hook, npm)
    data = {"artifacts": []}
    hook.run("standard", data)
    assert data == {"artifacts": []}
    assert "goes without the browser's application" in hook.warnings[0]
    assert ("npm is not installed" if npm is None else "npm ci failed: no network") in hook.warnings[0]


def test_a_release_fails_without_node(hook):
    hook.patch.setenv("GLIOMASK_WEB", "require")
    hook.patch.setattr(hook.module.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="cannot be built: npm is not installed"):
        hook.run("standard", {"artifacts": []})


@pytest.mark.parametrize(("version", "mode"), [("editable", "auto"), ("standard", "skip")])
def test_nothing_is_built_where_it_is_not_asked_for(hook, version, mode):
    calls = with_npm(hook, 0)
    hook.patch.setenv("GLIOMASK_WEB", mode)
    hook.run(version, {"artifacts": []})
    assert calls == []


def test_an_unknown_mode_is_refused(hook):
    hook.patch.setenv("GLIOMASK_WEB", "maybe")
    with pytest.raises(ValueError, match="known are auto, require, skip"):
        hook.run("standard", {"artifacts": []})
