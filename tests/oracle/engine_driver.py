"""Starts tetrad-engine for one command as `host` does (core/cli/protocol), for tests of what only host asks for."""
import json
import os
import socket
import struct
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TETRAD_BUILD", ROOT / "build"))
HOST = BUILD / "bin" / "host"


def resolved(config, sets, plugin_path=()):
    """The resolved config and the plugins it names, as host sends them."""
    paths = [word for folder in plugin_path for word in ("--plugin-path", str(folder))]
    words = [HOST, "config", "show", config, "--json", *paths]
    for key, value in sets.items():
        words += ["--set", f"{key}={value}"]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout)
    plugins = []
    for kind in ("linear", "kv_cache", "optimizer"):
        plugin = config[kind]["plugin"]
        if plugin is None:
            continue
        seen = subprocess.run([str(HOST), "plugins", "inspect", plugin, "--json", *paths], capture_output=True,
                              text=True, cwd=ROOT)
        assert seen.returncode == 0, seen.stderr
        found = json.loads(seen.stdout)
        plugins.append({"kind": kind, "id": plugin, "file": found["file"], "version": found["version"],
                        "metadata": found["plugin"]})
    return config, plugins


def frame(message):
    payload = json.dumps(message).encode()
    return struct.pack("<I", len(payload)) + payload


def frames(stream):
    while True:
        head = stream.read(4)
        if len(head) < 4:
            return
        yield json.loads(stream.read(struct.unpack("<I", head)[0]))


def run(command, config, args, sets, plugin_path=()):
    """(status message, stderr) of the engine."""
    ours, theirs = socket.socketpair()
    config, plugins = resolved(config, sets, plugin_path)
    environment = os.environ | {"TETRAD_CONTROL_FD": str(theirs.fileno())}
    engine = subprocess.Popen([str(BUILD / "bin" / "tetrad-engine")], pass_fds=[theirs.fileno()], env=environment,
                              stderr=subprocess.PIPE, text=True, cwd=ROOT)
    theirs.close()
    ours.sendall(frame({"v": 1, "type": "run", "command": command, "config": config, "config_file": "test.yaml",
                        "config_hash": "0" * 64, "plugins": plugins, "args": args, "run_dir": None,
                        "guard": {"limit_bytes": None}}))
    stderr = engine.stderr.read()
    status = [m for m in frames(ours.makefile("rb")) if m["type"] == "status"]
    engine.wait()
    return (status[-1] if status else {"exit_code": engine.returncode, "message": "no status"}), stderr


def parity_arm(folder, config, sets=None, script=None, plugin_path=(), expect=0):
    """Runs one arm into `folder`; its arm.json. `config`: a name in configs/."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sets = {"model.device": "cpu", "run.dir": "null"} | (sets or {})
    file = ROOT / "configs" / f"{config}.yaml"
    settings = resolved(file, sets, plugin_path)[0]["parity"]
    status, stderr = run("parity", file, {"arm_dir": str(folder), "script": script and str(script),
                                          "settings": settings}, sets, plugin_path)
    assert status["exit_code"] == expect, stderr[-3000:]
    return json.loads((folder / "arm.json").read_text())
