"""Talks to build/tests/text_probe (tests/unit/text/text_probe.cpp): one JSON request, one JSON answer."""
import json
import os
import subprocess
from pathlib import Path

PROBE = Path(os.environ["TETRAD_BUILD"]) / "tests" / "text_probe"


class TextProbe:
    def __init__(self, model_dir):
        self.process = subprocess.Popen([PROBE, str(model_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        encoding="utf-8")

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "text_probe ended"
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0
        self.process.stdout.close()
