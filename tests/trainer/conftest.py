"""The trainer runs from a checkout: the repository's root is where it is imported from."""

import os
import sys
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # what these tests say of bits, threads and processes is said of a CPU
sys.path.insert(0, str(Path(__file__).parents[2]))
