"""Becomes a command that ends when the process that started it does; to be run as a file, not imported.

    python launch.py PID COMMAND…

Killed, a runner can end nothing; so the system sends its commands SIGTERM then (``prctl(2)``, Linux), on
which a training saves a checkpoint. This is a program of its own because Python code is not safe between the
fork and the exec of a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Take SIGINT, which a shell's background jobs ignore, end with ``parent``, and become ``command``."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it has ended already
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
