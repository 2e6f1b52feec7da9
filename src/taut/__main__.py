"""`python -m taut`: the command line, where its program is not on the path."""

from taut.cli import main

if __name__ == "__main__":
    main()
