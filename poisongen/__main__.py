"""``python -m poisongen``."""

from poisongen.cli.commands import main

if __name__ == "__main__":
    main()
