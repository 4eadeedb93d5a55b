"""`python -m adaptinf`: the command line, where the script is not on the path."""

from adaptinf.cli import main

main()
