"""The settings file while the service runs: taken when it changes, ignored when it is wrong."""

import json
from pathlib import Path

import pytest
from tests.service.upstream_app import result, running_app, running_service

from hubbub.errors import ConfigError
from hubbub.protocol.upstreamsettings import UpstreamSettings
from hubbub.protocol.upstreamtemplate import Template
from hubbub.service.upstream.source import SettingsSource

GIVEN = Template(url_template="http://given/")


def write(path: Path, *urls: str) -> None:
    """Save as editors do that write beside the file and rename."""
    document = {"UpstreamSettings": {"Templates": [{"UrlTemplate": url} for url in urls]}}
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(document))
    beside.rename(path)


def source(path: Path | None, *templates: Template) -> SettingsSource:
    return SettingsSource(templates, path, environment={})


async def test_a_change_takes_effect_without_dropping_a_connection(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    async with running_app() as first, running_app() as second:
        write(path, first.url)
        async with running_service(settings_file=path) as service:
            client = await service.connect()
            assert await result(client, "one") == []

            write(path, second.url)
            await service.node.upstream.source.look()

            assert await result(client, "two") == []
            write(path)
            await service.node.upstream.source.look()
            assert "no upstream configured" in await result(client, "three")
    assert [request.event for request in first.received] == ["connected", "one"]
    assert [request.event for request in second.received] == ["two"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"UpstreamSettings": {"Templates": [{"Url', "not valid JSON"),
        ("", "not valid JSON"),
        ('{"UpstreamSettings": {"Templates": [{"UrlTemplate": "http://h/{no}"}]}}', "placeholder"),
        ("\ud8ff", "not UTF-8"),
    ],
    ids=["half-way", "empty", "placeholder", "not text"],
)
async def test_a_file_saved_half_way_changes_nothing(
    tmp_path: Path, text: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "settings.json"
    write(path, "http://first/")
    settings = source(path)
    before = settings.current

    path.write_bytes(text.encode(errors="surrogatepass"))
    await settings.look()
    await settings.look()

    assert settings.current is before
    assert words in caplog.text
    assert caplog.text.count("stay in force") == 1

    write(path, "http://second/")
    await settings.look()
    assert settings.current.templates == (Template(url_template="http://second/"),)


async def test_a_file_that_is_gone_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "settings.json"
    write(path, "http://first/")
    settings = source(path)
    path.unlink()
    await settings.look()

    assert len(settings.current.templates) == 1
    assert "is gone" in caplog.text


async def test_who_is_told_of_changes_is_told_once_each(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    write(path, "http://first/")
    settings = source(path)
    told: list[UpstreamSettings] = []
    settings.changed = told.append
    await settings.look()
    assert told == []

    write(path, "http://second/")
    await settings.look()
    await settings.look()

    assert told == [settings.current]


async def test_what_was_given_counts_where_the_file_has_no_templates(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    write(path)
    settings = source(path, GIVEN)
    assert settings.current.templates == (GIVEN,)

    write(path, "http://file/")
    await settings.look()

    assert settings.current.templates == (Template(url_template="http://file/"),)


def test_without_a_file_the_given_ones_and_the_environment_count() -> None:
    environment = {"UpstreamSettings__Templates__0__UrlTemplate": "http://variable/"}

    assert source(None, GIVEN).current.templates == (GIVEN,)
    assert SettingsSource((GIVEN,), environment=environment).current.templates == (
        Template(url_template="http://variable/"),
    )


def test_at_the_start_a_wrong_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no file .*upstream init"):
        source(tmp_path / "settings.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        source(tmp_path)


def test_what_has_no_effect_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"UpstreamSettings": {"Templates": [{"UrlTemplate": "http://h/", "x": 1}]}}')
    source(path)

    assert "template 0: x is not known and has no effect" in caplog.text
