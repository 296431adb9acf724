"""What `scripts/check` cannot see of names: each class has a name of its own, so that a search finds one thing."""

import ast
from collections import defaultdict
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src" / "gliomask"


def repeated_classes(folder: Path) -> dict[str, list[str]]:
    """Names that more than one class has, with where they stand; classes inside functions and classes count too."""
    places = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path.relative_to(folder)}:{node.lineno}")
    return {name: lines for name, lines in places.items() if len(lines) > 1}


def test_no_two_classes_share_a_name():
    assert repeated_classes(SOURCES) == {}


def test_a_shared_name_is_found_inside_a_function_too(tmp_path):
    (tmp_path / "first.py").write_text("class Page: ...\n")
    (tmp_path / "second.py").write_text("def late():\n    class Page: ...\n")
    assert repeated_classes(tmp_path) == {"Page": ["first.py:1", "second.py:2"]}
