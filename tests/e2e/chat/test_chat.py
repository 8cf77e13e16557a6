"""Chat through `host` with the real engine and a small random model: commands, stored conversations, the
predecessor's command lines, and a person at a terminal."""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(ROOT / "tests" / "oracle"))
import dat_format  # noqa: E402
import make_random_model  # noqa: E402
from terminal import Terminal, plain  # noqa: E402

BUILD = pathlib.Path(os.environ["TETRAD_BUILD"])
HOST = str(BUILD / "bin" / "host")
TOKENIZER = ROOT / "models" / "default"

pytestmark = [
    pytest.mark.skipif(not (BUILD / "bin" / "tetrad-engine").exists(), reason="the engine is not built"),
    pytest.mark.skipif(not (TOKENIZER / "tokenizer.json").exists(), reason="models/default is not there"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    for name, seed, positions in [("model", 3, 512), ("other", 4, 512), ("long", 3, 1 << 20)]:
        make_random_model.make_model(folder / name, arch="llama", heads=4, kv_heads=2, hidden=64, layers=2,
                                     tokenizer=TOKENIZER, max_positions=positions, seed=seed)
        for file in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]:
            if (TOKENIZER / file).exists() and not (folder / name / file).exists():
                (folder / name / file).write_bytes((TOKENIZER / file).read_bytes())
    return folder


def command(place, *more, model="model", config="bf16.yaml"):
    return [HOST, "--config", str(ROOT / "configs" / config), "--set", f"model.path={place / model}",
            "model.device=cpu", "run.dir=null", "chat.max_tokens=6", "chat.collapse=flag", *more]


def chat(place, text, *more, code=0, **what):
    result = subprocess.run(command(place, *more, **what), input=text.encode(), capture_output=True, timeout=300,
                            cwd=place)
    assert result.returncode == code, result.stderr.decode()
    return result.stdout.decode(), result.stderr.decode()



def kvc(err):
    return [tuple(map(int, m)) for m in re.findall(r"\[kvc\] turn=(\d+) seqLen=(\d+) contextTokens=(\d+)", err)]


def test_undo_and_regen_lead_back_to_the_same_conversation(place):
    straight, err = chat(place, "one\ntwo\n")
    first = kvc(err)
    assert [turn for turn, _, _ in first] == [1, 2] and all(a == b for _, a, b in first)
    detour, err = chat(place, "one\nsomething else\n/undo\ntwo\n/regen\n/stats\n")
    lines, plain_lines = detour.split("\n"), straight.split("\n")
    assert lines[0] == plain_lines[0] and lines[2] == lines[3] == plain_lines[1]
    assert kvc(err)[0] == first[0] and kvc(err)[2] == kvc(err)[3] == first[1]
    assert "[stats] turns=2" in err and "[stats] weights: " in err and "[weights] held: " in err


def test_reset_and_system_begin_anew(place):
    alone, _ = chat(place, "two\n")
    after, err = chat(place, "one\n/reset\ntwo\n/system answer in French\ntwo\n/system\n")
    lines = after.split("\n")
    assert lines[1] == alone.split("\n")[0]
    assert [turn for turn, _, _ in kvc(err)] == [1, 1, 1] and kvc(err)[2][2] > 0
    french, _ = chat(place, "two\n", "chat.system=answer in French")
    assert lines[2] == french.split("\n")[0]
    assert "system message: answer in French" in err


def test_undo_without_a_kv_cache_and_clear_cache(place):
    with_cache, _ = chat(place, "one\nx\n/undo\ntwo\n", config="fp2-model.yaml")
    without, err = chat(place, "one\nx\n/undo\n/clear-cache\ntwo\n", "kv_cache.plugin=kvc-none", config="fp2-model.yaml")
    assert without == with_cache
    freed = float(re.search(r"cleared: ([0-9.]+) MiB freed", err)[1])
    assert freed > 0


def test_a_stored_conversation_goes_on_where_it_was(place):
    through, err_through = chat(place, "one\ntwo\nthree\n", "chat.system=be kind")
    chat(place, "one\ntwo\n/save talk.json\n", "chat.system=be kind")
    resumed, err = chat(place, "before\n/load talk.json\nthree\n/undo\n/undo\n/stats\n/system\n")
    assert resumed.split("\n")[1] == through.split("\n")[2]
    assert kvc(err)[1] == kvc(err_through)[2]
    assert "loaded talk.json: 2 turns" in err and "[stats] turns=1" in err and "system message: be kind" in err
    stored = json.loads((place / "talk.json").read_text())
    assert stored["format"] == "tetrad-chat" and [turn["user"] for turn in stored["turns"]] == ["one", "two"]
    bridged, _ = chat(place, "/load talk.json\nthree\n", config="bridge.yaml")
    assert bridged.count("\n") == 1, "the same weights on another path: the ledger is fed again"


def test_a_conversation_of_another_model_is_refused_naming_the_field(place):
    chat(place, "one\n/save talk.json\n")
    _, err = chat(place, "/load talk.json\n", model="other", code=2)
    assert "identity.weights is sampled-sha256:" in err and "belongs to another model" in err
    good = json.loads((place / "talk.json").read_text())

    def refused(change):
        bad = json.loads(json.dumps(good))
        change(bad)
        (place / "bad.json").write_text(json.dumps(bad))
        return chat(place, "/load bad.json\n", code=2)[1]

    for field in ["model_config_sha256", "tokenizer_sha256", "chat_template_sha256", "weights"]:
        assert f"identity.{field} is " in refused(lambda d, f=field: d["identity"].update({f: "0"}))
        assert f"'identity.{field}' is missing" in refused(lambda d, f=field: d["identity"].pop(f))
    assert "'ledger[0]' is -1" in refused(lambda d: d["ledger"].__setitem__(0, -1))
    assert "'ledger[1]' is 49152" in refused(lambda d: d["ledger"].__setitem__(1, 49152))
    assert "the turns cover" in refused(lambda d: d["ledger"].append(1))
    assert "'turns[0].prompt_end'" in refused(lambda d: d["turns"][0].update(prompt_end=10**9))
    assert "'version' is 2" in refused(lambda d: d.update(version=2))
    assert "no saved conversation" in refused(lambda d: d.update(format="x"))
    (place / "bad.json").write_text('{"format": ')
    assert "[load]" in chat(place, "/load bad.json\n", code=2)[1]
    assert "[load]" in chat(place, "/load nowhere.json\n", code=2)[1]
    assert "limit is 8" in chat(place, "/load talk.json\n", "model.max_context=8", code=2)[1]


def test_an_impossible_place_to_save_leaves_nothing(place):
    _, err = chat(place, "one\n/save /dev/null\n", code=1)
    assert "/dev/null" in err
    chat(place, "one\n/save nowhere/talk.json\n", code=1)
    assert not (place / "nowhere").exists()


def test_commands_are_not_messages_and_messages_may_begin_with_a_slash(place):
    out, err = chat(place, "//etc\n/help\n/exit\nnever\n")
    assert len(kvc(err)) == 1 and "/clear-cache" in err and out.count("\n") == 1
    _, err = chat(place, "/etc/passwd\n", code=2)
    assert "[chat] no command '/etc/passwd'" in err


def test_probe_logits(place):
    _, err = chat(place, "", "chat.prompt=hi", "chat.probe_logits=true")
    assert err.index("[info] logits ok: nan=false inf=false") < err.index("[kvc] turn=1")
    plain_out, _ = chat(place, "", "chat.prompt=hi")
    probed, _ = chat(place, "", "chat.prompt=hi", "chat.probe_logits=true")
    assert probed == plain_out
    broken = place / "broken"
    if not broken.exists():
        import numpy
        from safetensors.torch import load_file, save_file
        shutil.copytree(place / "model", broken)
        tensors = load_file(broken / "model.safetensors")
        tensors["model.layers.1.mlp.down_proj.weight"][3, 5] = float(numpy.nan)
        save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    for more in ([], ["chat.check_logits=false"]):
        out, err = chat(place, "", "chat.prompt=hi", "chat.probe_logits=true", *more, model="broken", code=4)
        assert out == "" and "error: [numerics]" in err, "no token before the verdict"


def test_a_time_limit_ends_the_answer_and_closes_the_turn(place):
    out, err = chat(place, "one\ntwo\n", "chat.max_tokens=100", "chat.timeout_secs=0.000001", "chat.ignore_eos=true")
    assert "the answer took longer than chat.timeout_secs" in err
    assert len(kvc(err)) == 2 and all(a == b for _, a, b in kvc(err))


# The predecessor's own command lines, from its notes and readme, after the program's name; FOLDER and FILE stand where
# they name its model. What the random model makes of them does not matter, only that they do what they say.
LINES = [
    '--turns 2 --prompt "hi" --followup-prompt "continue" --max-tokens 2 --timing false --check-logits false --stop-here false',
    "--gpu-limit-gb 110 --gpu-over-secs 0 --gpu-poll-secs 0.5 script run-training-fp2.fsx --max-tokens=8 --timing=true "
    "--check-logits=false --stop-here=false",
    "--gpu-limit-gb 108 --gpu-over-secs 0 --gpu-poll-secs 0.5 script run-training-fp2.fsx --turns=3 --max-tokens=8 "
    "--timing=true --check-logits=false --stop-here=false",
    '--gpu-limit-gb 108 --gpu-over-secs 0 --gpu-poll-secs 0.5 script run-training-fp2.fsx --turns=2 --max-tokens=12 '
    '--prompt="Write one short sentence about UFO and you." --followup-prompt="continue the previous sentence in one clause." '
    "--timing=true --check-logits=false --stop-here=false",
    "--use-kvc=true --kvc-backend=fp2-model --max-tokens=6 --timing=true --check-logits=false --stop-here=false",
    "--gpu-limit-gb 108 --gpu-over-secs 0 --gpu-poll-secs 0.5 script run-training-fp2.fsx --model-dir FOLDER --weight FILE "
    "--use-kvc true --kvc-backend fp2-model --turns 1 --prompt 你是誰 --max-tokens 24 --temp 0 --top-p 1 "
    "--check-logits false --ifInteractive false --stop-here false",
    "--gpu-limit-gb 108 --gpu-over-secs 0 --gpu-poll-secs 0.5 script run-training-fp2.fsx --model-dir FOLDER --weight FILE "
    "--use-kvc true --kvc-backend fp2-model --turns 1 --prompt 你是誰 --max-tokens 24 --temp 0 --top-p 1 "
    "--check-logits false --ifInteractive true --stop-here false",
    "--gpu-limit-gb 108 --gpu-over-secs 0 --gpu-poll-secs 0.5 script run-training2.fsx --weight FILE --prompt 你是誰 "
    "--max-tokens 24 --temp 0 --top-p 1 --check-logits false --timing true --stop-here true --KVCacheOut true "
    "--kvc-input-mode pbp",
    "--weight FILE --prompt 談談UFO --max-tokens 24 --check-logits true --timing false --stop-here true --KVCacheOut false "
    "--no-kvc-mode full-replay",
    "--model-dir FOLDER --device cpu --dtype float16 --quant fp4 --weight FILE --use-kvc true --kvc-backend fp2-model "
    "--turns 1 --prompt 你是誰 --followup-prompt continue. --max-tokens 24 --temp 0.7 --topp 0.9 --seed 123 "
    "--check-logits true --timing true --ifInteractive false --ignore-eos false --stop-here false --timeout-ms 60000 "
    "--tee-object-chat-session log/a.txt --tee-object-chat-session-json log/a.jsonl",
]


def spelt(words, separate):
    """The same flags all as `--name value`, or all as `--name=value`."""
    out = []
    for word in words:
        if separate and word.startswith("--") and "=" in word:
            out += word.split("=", 1)
        elif not separate and out and out[-1].startswith("--") and "=" not in out[-1] and not word.startswith("--"):
            out[-1] += "=" + word
        else:
            out.append(word)
    return out


@pytest.fixture(scope="module")
def dat(place):
    dat_format.write_dat(place / "model", place / "model" / "Qwen3-nvfp4.dat")
    return place / "model" / "Qwen3-nvfp4.dat"


def test_the_predecessors_command_lines_are_spelt_both_ways():
    assert spelt(["--a=b c", "script", "x", "--d", "e"], True) == ["--a", "b c", "script", "x", "--d", "e"]
    assert spelt(["--a=b c", "script", "x", "--d", "e"], False) == ["--a=b c", "script", "x", "--d=e"]


@pytest.mark.parametrize("separate", [True, False], ids=["value", "equals"])
@pytest.mark.parametrize("number", [i for i, line in enumerate(LINES) if "FILE" in line])
def test_the_predecessors_command_lines_on_its_own_weights(place, dat, number, separate):
    """With the .dat that they name; beside --model-dir by its bare name, which is looked for in that folder."""
    line = LINES[number].replace("FILE", dat.name if "FOLDER" in LINES[number] else str(dat))
    words = spelt(shlex.split(line.replace("FOLDER", str(place / "model"))), separate)
    base = ["model.device=cpu", "run.dir=null", "chat.collapse=flag"]
    if "FOLDER" not in LINES[number]:
        base.append(f"model.path={place / 'model'}")
    result = subprocess.run([HOST, *words, "--set", *base], input=b"and then?\n", capture_output=True, timeout=300, cwd=place)
    err = result.stderr.decode()
    assert result.returncode == 0, err
    assert f"weights={dat} [dat] " in err
    turns = kvc(err)
    assert len(turns) == 1 + ("--ifInteractive true" in LINES[number])
    assert "--KVCacheOut false" in LINES[number] or all(a == b for _, a, b in turns)
    assert result.stdout.strip()


@pytest.mark.parametrize("number", range(len(LINES)))
def test_the_predecessors_command_lines(place, number):
    line = LINES[number]
    words = shlex.split(line.replace("FOLDER", str(place / "model")).replace("FILE", str(place / "model" / "model.safetensors")))
    shutil.rmtree(place / "log", ignore_errors=True)
    # The machine's rest: this model instead of the default one, and no record.
    base = ["--set", f"model.path={place / 'model'}", "model.device=cpu", "run.dir=null", "chat.collapse=flag"]
    result = subprocess.run([HOST, *words, *base], input="and then?\n".encode(), capture_output=True, timeout=300,
                            cwd=place)
    err = result.stderr.decode()
    assert result.returncode == 0, err
    options = dict(re.findall(r"--([A-Za-z-]+)[ =](\"[^\"]*\"|\S+)", line))
    turns = int(options.get("turns", 1)) + (options.get("ifInteractive") == "true")
    assert len(kvc(err)) == turns
    config = "bridge" if "run-training2" in line else "fp2-model"
    assert f"configs/{config}.yaml (" in err.split("[run]")[0]
    assert f"path={'bridge' if config == 'bridge' else 'training'} " in err
    prompt = options.get("prompt", "Write one short sentence about UFO and you.").strip('"')
    assert f"> {prompt}\n" in err
    assert ("[info] logits ok: nan=false inf=false" in err) == (options.get("check-logits") == "true")
    assert ("decode=" in err) == (options.get("timing", "true") == "true")
    assert ("kv=kvc-none" in err) == (options.get("KVCacheOut") == "false")
    if "--tee" in line:
        text = (place / "log" / "a.txt").read_text()
        entry = json.loads((place / "log" / "a.jsonl").read_text().splitlines()[-1])
        answer = result.stdout.decode().rstrip("\n")
        assert entry["messages"] == [{"role": "user", "text": prompt}] and entry["output"].rstrip("\n") == answer
        assert f"[user] {prompt}\n[assistant] " in text and text.startswith("==== 2")


def test_a_tee_that_cannot_be_written_is_refused(place):
    _, err = chat(place, "", "chat.prompt=hi", "chat.tee_text=/proc/nowhere/a.txt", code=2)
    assert "turns cannot be appended to '/proc/nowhere/a.txt'" in err
    _, err = chat(place, "", "chat.prompt=hi", "chat.tee_jsonl=/dev/full", code=1)
    assert "could not be appended to '/dev/full'" in err


@pytest.mark.parametrize("lang", ["C", "C.UTF-8"])
def test_a_person_types_chinese(place, lang):
    with Terminal(command(place), env={"LANG": lang, "TETRAD_HISTORY": ""}) as t:
        t.wait_for("/help lists the commands")
        t.wait_for("> ")
        t.type("你是誰" + "\x7f" + "什麼人")
        t.wait_for("人")
        t.type("\r")
        t.wait_for("[kvc] turn=1")
        t.wait_for("> ")
        t.type(f"/save {place}/typed.json\r")
        t.wait_for("[chat] saved to ")
        t.wait_for("> ")
        t.type("\x04")
        assert t.finish() == 0
        assert t.sane()
    assert json.loads((place / "typed.json").read_text())["turns"][0]["user"] == "你是什麼人"


def test_ctrl_c_ends_an_answer_then_twice_the_program(place):
    # The answer does not end by itself: a machine may take its time between the keys of a test.
    with Terminal(command(place, "chat.max_tokens=1000000", "chat.ignore_eos=true", model="long")) as t:
        t.wait_for("/help lists the commands")
        t.wait_for("> ")
        t.type("tell me\r")
        t.wait_for("\r\n")
        t.wait_for_bytes(500)  # the answer is being printed: the terminal is no longer the line editor's
        t.type("\x03")
        t.wait_for("[kvc] turn=1")
        t.wait_for("> ")
        t.type("half")
        t.type("\x03")
        t.wait_for("Ctrl-C again")
        t.wait_for("> ")
        t.type("x\x7f")  # a key in between: the next one is a first one again
        t.wait_for("x")
        t.type("\x03")
        t.wait_for("Ctrl-C again")
        t.wait_for("> ")
        t.type("/stats\r")
        t.wait_for("[stats] turns=1")
        t.wait_for("> ")
        t.type("\x03")
        t.wait_for("Ctrl-C again")
        t.wait_for("> ")
        assert not t.sane()
        t.type("\x03")
        assert t.finish() == 130
        assert t.sane()
        assert t.raw.rfind(b"\x1b[?2004l") > t.raw.rfind(b"\x1b[?2004h"), "bracketed paste is off again"
        assert "turn=2" not in plain(t.raw)
