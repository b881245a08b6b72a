"""`hubbub qr`: a QR code in the terminal, for a phone to open."""

import click
import segno

from hubbub.errors import ConfigError

__all__ = ["qr"]


@click.command()
@click.argument("url")
def qr(url: str) -> None:
    """Show URL as a QR code in the terminal.

    \b
      hubbub qr http://192.168.1.5:7071/api/ping
    """
    try:
        code = segno.make(url, error="m")
    except segno.DataOverflowError:
        raise ConfigError(
            f"A QR code holds some 2,300 bytes; this text has {len(url.encode())}. Shorten it."
        ) from None
    code.terminal(compact=True)
    click.echo(url)
