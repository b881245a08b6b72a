"""Which template takes an event, what its URL becomes, and what is wrong with one."""

import pytest

from hubbub.errors import ConfigError
from hubbub.protocol.upstreamtemplate import Template, check_absolute, check_url, choose, mismatch

URL = "http://localhost:7071/runtime/webhooks/signalr"
EVENT = ("chat", "messages", "hello")


def template(**patterns: str) -> Template:
    return Template(url_template=URL, **patterns)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pattern", ["*", "hello", "a,hello,b", " a , hello ", "a,*", "*,a", "hello,,"]
)
def test_a_pattern_holds_a_star_a_name_or_names_with_commas(pattern: str) -> None:
    assert template(event_pattern=pattern).matches(*EVENT)


@pytest.mark.parametrize("pattern", ["", "a", "Hello", "hell", "hello b", "a;hello", "hel*", ","])
def test_a_pattern_holds_nothing_else(pattern: str) -> None:
    assert not template(event_pattern=pattern).matches(*EVENT)


def test_hubs_are_the_same_in_any_case_as_everywhere_in_the_service() -> None:
    assert template(hub_pattern="Chat").matches("chAT", "messages", "hello")


def test_the_first_template_that_matches_is_taken() -> None:
    templates = (
        template(hub_pattern="other"),
        template(category_pattern="connections"),
        template(event_pattern="hello"),
        template(),
    )

    assert choose(templates, *EVENT) is templates[2]
    assert choose(templates[:2], *EVENT) is None


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        ({"hub_pattern": "a,b"}, "its hub pattern 'a,b' does not hold 'chat'"),
        ({"event_pattern": "Hello"}, "does not hold 'hello': they differ in case"),
        ({"category_pattern": ""}, "its category pattern is empty and matches nothing; write *"),
        ({"hub_pattern": "a", "event_pattern": "b"}, "'chat' and its event pattern"),
    ],
)
def test_a_mismatch_is_explained(patterns: dict[str, str], words: str) -> None:
    assert words in str(mismatch(template(**patterns), *EVENT))


def test_a_match_needs_no_explanation() -> None:
    assert mismatch(template(), *EVENT) is None


def test_placeholders_become_percent_encoded_names() -> None:
    filled = Template(url_template="http://host/{hub}/{category}?e={event}&e={event}").url(
        "a.b[]", "messages", "a/b ?#{hub}é\ud800"
    )

    name = "a%2Fb%20%3F%23%7Bhub%7D%C3%A9%3F"
    assert filled == f"http://host/a.b%5B%5D/messages?e={name}&e={name}"


def test_a_url_without_placeholders_stays_as_it_is() -> None:
    assert template().url(*EVENT) == URL


def test_references_to_secrets_stay_for_others_to_fill_in() -> None:
    url = "http://host/{hub}?code={@Microsoft.KeyVault(SecretUri=https://v.example/secrets/c)}"
    check_url(url, "here")

    assert Template(url_template=url).url("chat", "m", "e") == url.replace("{hub}", "chat")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:pass@host:1/a/{hub}?code=secret#x", "http://host:1/a/{hub}"),
        ("https://host/{@Hubbub.File(Path=/a)}/b", "https://host/{secret}/b"),
        ("{@Hubbub.File(Path=/a)}", "{secret}"),
    ],
)
def test_what_is_shown_of_a_url_holds_no_secret(url: str, shown: str) -> None:
    assert Template(url_template=url).shown == shown


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://LocalHost:7071/{hub}", "localhost"),
        ("http://[::1]/", "::1"),
        ("http://{hub}.example/", None),
        ("http://a{@Hubbub.File(Path=/a)}/", None),
        ("{@Hubbub.File(Path=/a)}", None),
    ],
)
def test_a_host_is_literal_where_the_operator_has_written_all_of_it(
    url: str, host: str | None
) -> None:
    assert Template(url_template=url).literal_host == host


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://host/{Hub}", r"\{Hub\} is no placeholder; .* Did you mean \{hub\}\?"),
        ("http://host/{user}", r"\{user\} is no placeholder; \{hub\}, \{category\}, \{event\} are"),
        ("http://host/{hub", r"\{hub is no placeholder"),
        ("http://host/hub}", r"\} is no placeholder"),
        ("http://host/{}", r"\{\} is no placeholder"),
        ("http://host/?c={@Microsoft.KeyVault(SecretUri=https://v", "is not complete"),
        ("http://host/?c={@Microsoft.KeyVault()}", "is not complete"),
        ("http://host/?c={@Microsoft.KeyVault(Name=x)}", "is no reference to a secret"),
        ("http://host/?c={@Vault(SecretUri=https://v)}", "is no reference to a secret"),
        ("http://host/?c=@Microsoft.KeyVault(SecretUri=https://v)", "stands in braces"),
        ("@Microsoft.KeyVault(SecretUri=https://v)", "stands in braces"),
        ("/runtime/webhooks", "not a valid absolute URI"),
        ("localhost:7071/api", "not a valid absolute URI"),
        ("ftp://host/", "not a valid absolute URI"),
        ("http:///path", "not a valid absolute URI"),
        ("http://host:99999/", "not a valid absolute URI"),
        ("http://[::1/", "not a valid absolute URI"),
        ("http://ho st/", "not a valid absolute URI"),
        ("http://host/a b", "not a valid absolute URI"),
        ("http://host/é", "percent-encoded"),
        ("http://host/\r\nX-Evil: 1", "not a valid absolute URI"),
    ],
)
def test_a_wrong_url_is_refused_with_what_to_write(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s)template 3.*{words}"):
        check_url(url, "template 3")


def test_a_url_can_be_a_secret_as_a_whole() -> None:
    check_url("{@Hubbub.Environment(Name=UPSTREAM)}", "here")


def test_a_wrong_url_that_holds_a_secret_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        check_absolute("http://host/ secret", "here", "http://host/{secret}")

    assert "http://host/{secret}" in str(caught.value)
    assert " secret" not in str(caught.value)
