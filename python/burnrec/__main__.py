"""The program ``burnrec``, as ``pip install`` puts it on the PATH, and as ``python -m burnrec``."""

import signal
import sys

from burnrec import _native


def main() -> int:
    """Run the program with the words of the command line.

    Returns
    -------
    int
        0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    # Python's handler only notes that Ctrl-C was pressed. The program's commands that stop cleanly install their own; the
    # others end at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _native.main([sys.executable, "-m", "burnrec"], ["burnrec", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
