"""``python -m trainer``."""

from trainer.cli.main import main

if __name__ == "__main__":
    main(prog_name="python -m trainer")
