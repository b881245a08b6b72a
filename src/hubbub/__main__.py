"""`python -m hubbub` is the command `hubbub`."""

from hubbub.cli.entry import main

main()
