"""What these tests say of bits, threads and processes is said of a CPU."""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""
