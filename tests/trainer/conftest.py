"""The trainer runs from a checkout: the repository's root is where it is imported from."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
