from tests.cli.programs import run


def test_a_url_is_shown_as_a_qr_code_with_its_text_below() -> None:
    ended = run("qr", "http://192.168.1.5:7071/api/ping")

    *code, text = ended.stdout.splitlines()
    assert ended.returncode == 0
    assert text == "http://192.168.1.5:7071/api/ping"
    assert len(code) > 10
    assert "█" in ended.stdout


def test_a_text_that_no_qr_code_holds_is_one_sentence() -> None:
    ended = run("qr", "x" * 5000)

    assert ended.returncode == 2
    assert ended.stderr == (
        "hubbub: A QR code holds some 2,300 bytes; this text has 5000. Shorten it.\n"
    )
