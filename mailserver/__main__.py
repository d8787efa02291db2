"""`python -m mailserver` is the command `mailserver`."""

from mailserver.cli import main

if __name__ == "__main__":
    main()
