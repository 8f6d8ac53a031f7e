"""`python -m panoglot`."""

from panoglot.cli import main

main()
