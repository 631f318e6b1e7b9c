"""`python`: hands its command to the warm interpreter beside it, and ends as the command ends.

What the warm interpreter does not take is run here, from cold. Few imports, as every command waits for them.
"""

import json
import os
import signal
import socket
import struct
import sys


def main() -> None:
    """Run the command; never returns."""
    folder = os.path.dirname(os.path.abspath(__file__))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever ends this process ends the command
    request = {"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ), "python": __file__}
    sent = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as warm:
        try:
            warm.connect(os.path.join(folder, "socket"))
            socket.send_fds(warm, [struct.pack("I", len(sent))], [0, 1, 2])
            warm.sendall(sent)
            answer = warm.recv(4, socket.MSG_WAITALL)
        except OSError:
            answer = b""
    if len(answer) < 4:
        sys.exit("the warm interpreter has ended")
    (status,) = struct.unpack("i", answer)
    if status < 0:  # not taken
        os.execv(sys.executable, [__file__, *sys.argv[1:]])  # its sys.executable is this file
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


main()
