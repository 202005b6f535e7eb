"""``python -m poisongen``."""

from poisongen.cli import main

if __name__ == "__main__":
    main()
