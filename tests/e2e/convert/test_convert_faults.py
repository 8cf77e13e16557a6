"""A conversion that cannot be finished leaves nothing that looks finished: the disk is full at any of its writes, the process is
killed before any of them, it is interrupted, or a file may not grow. A folder at the target is whole, always."""
import hashlib
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("TETRAD_BUILD", ROOT / "build"))
sys.path.insert(0, str(ROOT / "tests" / "oracle"))
import make_random_model  # noqa: E402

SHIM = BUILD / "tests" / "failing_calls.so"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("convert") / "model"
    make_random_model.make_model(folder, preset="qwen3-small", layers=1)
    return folder


def convert(model, target, *words, layout="tetrad", **how):
    command = [BUILD / "bin" / "host", "convert", "--from", model, "--to", target, "--format", layout, *words]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, **how)


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def environment(tmp_path, **values):
    return os.environ | {"LD_PRELOAD": str(SHIM), "FAIL_COUNT": str(tmp_path / "count")} | {k: str(v) for k, v in values.items()}


@pytest.fixture
def whole(model, tmp_path):
    """(the files of a conversion that went well, how many calls it made)"""
    done = convert(model, tmp_path / "whole", "--max-shard-gb", "0.00002", env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    calls = int((tmp_path / "count").read_text())
    assert calls > 20, "the calls are seen"
    return digests(tmp_path / "whole"), calls


def test_the_disk_is_full_at_any_write(model, tmp_path, whole):
    expected, calls = whole
    place = tmp_path / "place"
    refused = 0
    for number in range(1, calls + 1):
        place.mkdir()
        done = convert(model, place / "q", "--max-shard-gb", "0.00002",
                       env=environment(tmp_path, FAIL_AT=number, FAIL_HOW="full"))
        if (place / "q").exists():
            # The folder was in place already, or what failed was a hint that nothing depends on.
            assert digests(place / "q") == expected, number
        else:
            assert done.returncode == 1 and done.stderr.startswith("error: "), (number, done.stderr)
            assert os.listdir(place) == [], number
            refused += 1
        shutil.rmtree(place)
    assert refused > calls // 2


def test_killed_before_any_write(model, tmp_path, whole):
    expected, calls = whole
    place = tmp_path / "place"
    for number in range(1, calls + 1):
        place.mkdir()
        done = convert(model, place / "q", "--max-shard-gb", "0.00002",
                       env=environment(tmp_path, FAIL_AT=number, FAIL_HOW="kill"))
        assert done.returncode == -signal.SIGKILL
        if (place / "q").exists():
            assert digests(place / "q") == expected, number
        assert all(name == "q" or (name.startswith(".q.") and name.endswith(".tmp")) for name in os.listdir(place)), number
        # What was left behind does not keep the next attempt from working.
        if number % 7 == 0 and not (place / "q").exists():
            assert convert(model, place / "q", "--max-shard-gb", "0.00002").returncode == 0
            assert digests(place / "q") == expected
        shutil.rmtree(place)


@pytest.mark.parametrize("layout", ["tetrad", "compressed-tensors", "modelopt", "hf-bf16"])
def test_a_file_that_may_not_grow(model, tmp_path, layout):
    for limit in (0, 1, 1000, 20000):
        done = convert(model, tmp_path / "q", layout=layout,
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        assert done.returncode == 1 and done.stderr.startswith("error: "), done.stderr
        assert os.listdir(tmp_path) == []


def test_a_real_full_disk(model, tmp_path):
    """A file system of its own, as large as a fraction of the result; needs user namespaces."""
    place = tmp_path / "disk"
    place.mkdir()
    for size in ("16k", "64k", "128k"):
        script = ('mount -t tmpfs -o size=$1 tmpfs "$2" || exit 77; "$3" convert --from "$4" --to "$2/q" --format hf-bf16; '
                  'code=$?; [ -z "$(ls -A "$2")" ] || exit 99; exit $code')
        done = subprocess.run(["unshare", "-rm", "sh", "-c", script, "sh", size, place, BUILD / "bin" / "host", model],
                              capture_output=True, text=True, timeout=120)
        if done.returncode == 77 or "unshare" in done.stderr:
            pytest.skip("no file system can be mounted here")
        assert done.returncode == 1 and "error: [" in done.stderr, done.stderr


def test_interrupted(model, tmp_path):
    expected = None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for delay in (0.0, 0.003, 0.006, 0.01, 0.015, 0.02, 0.03, 0.05):
            shutil.rmtree(tmp_path / "q", ignore_errors=True)
            words = [BUILD / "bin" / "host", "convert", "--from", model, "--to", tmp_path / "q", "--format", "tetrad"]
            process = subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(number)
            code = process.wait(timeout=60)
            # Before the handler is there the signal itself ends it, and nothing was made yet.
            assert code in (0, -number, 128 + number)
            assert (code == 0) == (tmp_path / "q").exists()
            if code == 0:
                expected = expected or digests(tmp_path / "q")
                assert digests(tmp_path / "q") == expected
            assert os.listdir(tmp_path) in ([], ["q"])
