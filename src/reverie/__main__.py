"""`python -m reverie`, and the module that torchrun starts."""

from reverie.cli import main

main()
