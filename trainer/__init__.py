"""Train a segmentation network on a dataset folder, and measure what a backdoor in the folder does to it.

The folder's format is ``manifests/FORMAT.md``; nothing else is shared with the program that wrote it. Read
``train.py`` first.
"""

__version__ = "0.1.0"
DISTRIBUTION = "poisongen"
"""Whose trainer this is: the command poisongen-trainer looks for this line before it imports the package."""
