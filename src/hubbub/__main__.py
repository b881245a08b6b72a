"""`python -m hubbub` is the command `hubbub`."""

from hubbub.cli.main import main

main()
