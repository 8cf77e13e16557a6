"""A program on a pseudo-terminal, and the screen as a person sees it (pyte is the terminal emulator)."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

import pyte

PATIENCE = float(os.environ.get("TETRAD_TEST_PATIENCE", 60))


class Terminal:
    def __init__(self, command, env=None, columns=80, rows=24):
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.mark = 0
        full = {key: value for key, value in os.environ.items() if not key.startswith("LC_")}
        full.update({"TERM": "xterm", "LANG": "C.UTF-8", "TETRAD_HISTORY": ""})
        full.update(env or {})
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execve(command[0], command, full)
        self.resize(columns, rows)

    def resize(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def type(self, keys):
        data = keys if isinstance(keys, bytes) else keys.encode()
        while data:
            data = data[os.write(self.fd, data[:1024]):]
            self.read(0)

    def read(self, wait):
        if not select.select([self.fd], [], [], wait)[0]:
            return False
        try:
            got = os.read(self.fd, 65536)
        except OSError:
            return None
        if not got:
            return None
        self.raw += got
        self.stream.feed(got)
        return True

    def wait_for(self, text, since_mark=True):
        """Waits until `text` was printed after the last hit."""
        want = text.encode()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            at = self.raw.find(want, self.mark if since_mark else 0)
            if at >= 0:
                self.mark = at + len(want)
                return
            if self.read(0.2) is None:
                break
        raise AssertionError(f"no {text!r} in {self.raw[self.mark:]!r}\nscreen:\n{self.text()}")

    def wait_for_bytes(self, count):
        """Waits until `count` more bytes were printed after the last hit."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and len(self.raw) - self.mark < count:
            if self.read(0.2) is None:
                break
        assert len(self.raw) - self.mark >= count, self.text()
        self.mark = len(self.raw)

    def wait_screen(self, check):
        """Waits until check(screen lines) holds; the screen is complete when nothing more comes."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.read(0.1) is None or check(self.lines()):
                break
        assert check(self.lines()), self.text()

    def lines(self):
        # screen.display does not know half of a wide character that is just being overwritten.
        columns, rows = self.screen.columns, self.screen.lines
        return ["".join(self.screen.buffer[y][x].data for x in range(columns)).rstrip() for y in range(rows)]

    def text(self):
        return "\n".join(self.lines()).rstrip()

    def settings(self):
        return termios.tcgetattr(self.fd)

    def sane(self):
        local = self.settings()[3]
        return bool(local & termios.ECHO) and bool(local & termios.ICANON)

    def finish(self):
        """Exit code as a shell says it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                while self.read(0):
                    pass
                self.pid = 0
                return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
            self.read(0.05)
        raise AssertionError("it does not end:\n" + self.text())

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def hexed(text):
    return " ".join(f"{byte:02x}" for byte in text.encode())


def plain(raw):
    """What was printed, without escape sequences."""
    return re.sub(rb"\x1b\[[?0-9;]*[A-Za-z]", b"", raw).decode(errors="replace")
