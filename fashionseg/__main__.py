"""`python -m fashionseg`."""

from fashionseg.cli.main import main

main()
