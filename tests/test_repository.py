"""What the repository may hold: no download addresses, no other people's scripts, no dead links."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hatch_build
import pytest

ROOT = Path(__file__).parents[1]

LOCK_FILES = {"package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "uv.lock",
              "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml"}  # fmt: skip
# In two parts each, because this file may not hold them either.
REGISTRY_HOSTS = [
    "".join(parts)
    for parts in (
        ("registry.", "npmjs"), ("registry.", "yarnpkg"), ("npm.pkg.", "github"),
        ("npm", "mirror."), ("pypi.", "org"), ("pypi.", "python.org"), ("python", "hosted.org"),
        ("deb.", "debian.org"), ("crates", ".io"), ("proxy.", "golang.org"),
        ("repo.maven.", "apache.org"),
    )
]  # fmt: skip
LONGEST_SCRIPT_LINE = 500  # nobody writes longer ones by hand; a minifier writes nothing else


def committed() -> list[Path]:
    """Return the files that are in the repository, or would be after the next `git add`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def texts() -> Iterator[tuple[str, str]]:
    """Yield name and content of every committed text file."""
    for path in committed():
        try:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_lock_files_say_nothing_about_where_packages_come_from() -> None:
    locks = [(name, text) for name, text in texts() if Path(name).name in LOCK_FILES]

    assert locks != [], "package-lock.json is committed, so that installs are repeatable"
    for name, text in locks:
        addresses = [line.strip() for line in text.splitlines() if "://" in line]
        assert addresses == [], f"{name}: remove these lines, funding notes of npm included"


def test_npm_leaves_download_addresses_out_of_the_lock_file() -> None:
    assert "omit-lockfile-registry-resolved=true" in (ROOT / ".npmrc").read_text().splitlines()


def test_no_file_names_a_package_registry() -> None:
    found = [
        f"{name}: {host}"
        for name, text in texts()
        for host in REGISTRY_HOSTS
        if host in text.lower()
    ]
    assert found == []


def test_no_script_of_somebody_else_is_committed() -> None:
    assert [name for name, _ in texts() if "node_modules/" in name or ".min." in name] == []
    minified = [
        name
        for name, text in texts()
        if name.endswith((".js", ".mjs", ".cjs", ".css"))
        and max(map(len, text.splitlines()), default=0) > LONGEST_SCRIPT_LINE
    ]
    assert minified == []


def relative_links(text: str) -> list[str]:
    """Return the targets of a Markdown text's links that lead to files beside it."""
    prose = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"`[^`\n]*`", "", prose)
    targets = re.findall(r"\]\(\s*<?([^)\s>]+)", prose)
    targets += re.findall(r"^\[[^\]]+\]:\s*<?([^\s>]+)", prose, flags=re.MULTILINE)
    return [target for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:|#", target)]


def test_relative_links_lead_to_files() -> None:
    broken = [
        f"{name}: {target}"
        for name, text in texts()
        if name.endswith(".md")
        for target in relative_links(text)
        if not (ROOT / name).parent.joinpath(target.partition("#")[0]).exists()
    ]
    assert broken == []


def test_links_are_found_in_prose_and_not_in_code() -> None:
    text = """
    [a](docs/a.md) and [b]( <docs/b.md#part> "title") and ![c](c.png)
    [web](https://example.net) [part](#part) `[code](no.md)`
```
[fenced](no.md)
```
[reference]: docs/d.md
"""
    assert relative_links(text) == ["docs/a.md", "docs/b.md#part", "c.png", "docs/d.md"]


def npm_folder(tmp_path: Path, pinned: str, installed: str) -> Path:
    """Make a checkout with one version of the client in package.json and one in node_modules."""
    package = {"devDependencies": {hatch_build.PACKAGE: pinned}}
    (tmp_path / "package.json").write_text(json.dumps(package))
    folder = tmp_path / "node_modules" / hatch_build.PACKAGE
    (folder / hatch_build.SCRIPT).parent.mkdir(parents=True)
    (folder / hatch_build.SCRIPT).write_text("script();")
    (folder / "package.json").write_text(json.dumps({"version": installed}))
    return tmp_path


def test_a_build_packages_the_browser_client_of_node_modules_with_its_licence(
    tmp_path: Path,
) -> None:
    root = npm_folder(tmp_path, pinned="1.2.3", installed="1.2.3")

    script = hatch_build.copy_browser_client(root)

    notice, code = script.read_text().split("\n")
    assert script == root / "src/hubbub/service/static/signalr.js"
    assert "1.2.3" in notice
    assert "MIT" in notice
    assert code == "script();"


def test_a_build_without_npm_says_that_the_client_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = npm_folder(tmp_path, pinned="1.2.4", installed="1.2.3")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(hatch_build.ClientMissingError, match="npm is not installed"):
        hatch_build.copy_browser_client(root)
