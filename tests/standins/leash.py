"""Become another program, tied to the life of the process that asked for it.

Run as a script, with no imports from this repository: `leash.py SIGNAL PARENT UID GID PROGRAM ARG…`. It asks the kernel
for SIGNAL when its parent dies, gives up its privileges where UID is not -1, and turns into PROGRAM. It exists, instead
of a `preexec_fn`, because that is unsafe in a process with threads. It must not stay running itself.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Exit 125 with a sentence on stderr if the tie cannot be made; otherwise never return."""
    death_signal, parent, uid, gid = (int(text) for text in sys.argv[1:5])
    program = sys.argv[5:]
    if uid != -1:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After setuid: a change of credentials makes the kernel forget the signal.
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0):
        sys.exit(125)
    if os.getppid() != parent:
        # The parent died before the tie was made, so its death will never be reported to us.
        print("leash: the parent is gone already", file=sys.stderr)
        sys.exit(125)
    os.execv(program[0], program)


main()
