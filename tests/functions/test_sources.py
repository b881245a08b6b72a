"""Which changes of files reload an app."""

from pathlib import Path

import pytest

from hubbub.functions.settings import HostSettings
from hubbub.functions.sources import Sources


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("function_app.py", True),
        ("shared/deep/tools.py", True),
        ("host.json", True),
        ("local.settings.json", True),
        ("hello/function.json", True),
        ("extra.yaml", True),
        ("data/anything.bin", True),
        ("index.html", False),
        ("__pycache__/function_app.cpython-311.pyc", False),
        ("__pycache__/x.py", False),
        (".venv/lib/site.py", False),
        (".git/hooks/x.py", False),
        ("env/lib/python3.11/x.py", False),
        ("node_modules/x/y.py", False),
        ("secrets/host.txt", False),
        ("../outside.py", False),
    ],
)
def test_sources_count_and_what_tools_write_does_not(
    tmp_path: Path, path: str, counts: bool
) -> None:
    root = tmp_path / "app"
    (root / "env").mkdir(parents=True)
    (root / "env" / "pyvenv.cfg").write_text("")
    settings = HostSettings(watched_directories=("data",), watched_files=("extra.yaml",))

    assert (str((root / path).resolve()) in Sources(root, settings)) is counts
