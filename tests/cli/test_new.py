"""`hubbub new`: what it writes, that it runs, and that Azure would take it."""

import ast
import json
import shlex
from pathlib import Path

import pytest
from tests.cli.calling import invoke
from tests.cli.programs import run, running

import hubbub.cli.new as command

TEMPLATES = ("qr", "chat", "timer")
SHARED = {".funcignore", ".gitignore", "connect.js", "host.json", "local.settings.json"}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_app_starts_as_it_is_without_a_warning(tmp_path: Path, template: str) -> None:
    ended = run("new", "my-app", "--template", template, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")

    free = ("--port", "0", "--service-port", "0")
    with running("start", "my-app", *free, cwd=tmp_path, log=tmp_path / "log") as (_, facts):
        names = {function["name"] for function in facts["host"]["functions"]}
        assert facts["host"]["warnings"] == []

    assert {"index", "negotiate", "script"} < names


@pytest.mark.parametrize("name", ["my app", "it's", "-x", "a$b", "plain"])
def test_the_command_to_start_it_is_one_that_a_shell_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("new", "--", name)

    (line,) = [line for line in result.stdout.splitlines() if line.startswith("  hubbub start ")]
    (path,) = shlex.split(line)[2:]
    assert (tmp_path / path / "host.json").is_file()
    assert not path.startswith("-")


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_needs_nothing_that_azure_does_not_install(
    tmp_path: Path, template: str
) -> None:
    command.write_app(tmp_path, template)

    assert {path.name for path in tmp_path.iterdir()} == SHARED | {
        "function_app.py", "index.html", "requirements.txt",
    }  # fmt: skip
    tree = ast.parse((tmp_path / "function_app.py").read_text())
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    required = (tmp_path / "requirements.txt").read_text().split()
    standard = {"datetime", "json", "logging", "pathlib", "typing", "urllib.parse"}
    assert imported - standard == {name.replace("-", ".") for name in required}
    host = json.loads((tmp_path / "host.json").read_text())
    assert host["version"] == "2.0"
    assert host["extensionBundle"]["id"] == "Microsoft.Azure.Functions.ExtensionBundle"
    assert "local.settings.json" in (tmp_path / ".funcignore").read_text().splitlines()


def test_a_folder_with_files_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("precious")

    ended = run("new", "mine", cwd=tmp_path)

    assert ended.returncode == 2
    assert "mine exists already and is not empty. Choose another name." in ended.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]


def test_another_template_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    ended = run("new", "x", "--template", "blog", cwd=tmp_path)

    assert ended.returncode == 2
    assert "'qr', 'chat', 'timer'" in ended.stderr
