"""No module needs itself by way of others, however late it imports them: layers hold between packages, this holds
inside them too.
"""

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest


def imports_of(package: str) -> dict[str, set[str]]:
    """What each module imports at any time: at its head or inside a function, but not for types alone."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    return {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}


def test_no_module_imports_itself_by_way_of_others():
    # A circle is named in the error.
    order = list(TopologicalSorter(imports_of("gliomask")).static_order())
    assert order.index("gliomask.errors") < order.index("gliomask.case") < order.index("gliomask.cli.segment")


def test_a_circle_of_late_imports_is_found(tmp_path, monkeypatch):
    package = tmp_path / "circled"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "first.py").write_text("from circled.second import name\n")
    (package / "second.py").write_text("name = 1\n\ndef late():\n    import circled.first\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CycleError, match="circle|cycle"):
        list(TopologicalSorter(imports_of("circled")).static_order())
