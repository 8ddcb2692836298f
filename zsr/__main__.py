"""`python -m zsr` is the command `zsr`."""

from zsr.cli import main

main()
