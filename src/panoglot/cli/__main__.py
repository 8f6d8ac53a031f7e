"""`python -m panoglot.cli`."""

from panoglot.cli import main

main()
