"""Typing at the chat prompt: Chinese, history, pastes, Ctrl-C. The conversation behind it has no model (chat_probe)."""
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from terminal import Terminal, hexed, plain  # noqa: E402

PROBE = str(pathlib.Path(os.environ["TETRAD_BUILD"]) / "tests" / "chat_probe")
BACKSPACE, ENTER, LEFT, RIGHT, UP, DOWN = "\x7f", "\r", "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[B"
CTRL_C, CTRL_D = "\x03", "\x04"
LANGS = ["C", "C.UTF-8", "zh_TW.Big5", "no_SUCH.locale"]


def probe(**more):
    terminal = Terminal([PROBE], **more)
    terminal.wait_for("> ")
    return terminal


def last_line(terminal):
    lines = [line for line in terminal.lines() if line]
    return lines[-1] if lines else ""


@pytest.mark.parametrize("lang", LANGS)
def test_one_backspace_takes_one_character_of_two_columns(lang):
    with probe(env={"LANG": lang}) as t:
        t.type("你是誰")
        t.wait_screen(lambda s: s[0].replace(" ", "") == ">你是誰")
        assert t.screen.cursor.x == 2 + 6
        t.type(BACKSPACE)
        t.wait_screen(lambda s: s[0].replace(" ", "") == ">你是")
        assert t.screen.cursor.x == 2 + 4
        t.type(BACKSPACE + "x" + ENTER)
        t.wait_for(f"turn 1: {hexed('你x')}.")


def test_editing_in_the_middle_of_wide_characters():
    with probe() as t:
        t.type("天地人" + LEFT + LEFT + "a" + BACKSPACE + "和")
        t.wait_screen(lambda s: s[0].replace(" ", "") == ">天和地人")
        t.type("\x01" + "始" + "\x05" + "終" + ENTER)
        t.wait_for(f"turn 1: {hexed('始天和地人終')}.")
        t.type("abc" + "\x1b[H" + "\x1b[3~" + "\x1b[F" + "d" + ENTER)
        t.wait_for(f"turn 2: {hexed('bcd')}.")


def test_wide_characters_at_the_right_margin():
    text = "一二三四五六七八九十" * 3
    with probe(columns=21) as t:
        t.type(text)
        t.wait_screen(lambda s: "".join(s).replace(" ", "") == ">" + text)
        for _ in range(25):
            t.type(BACKSPACE)
        t.wait_screen(lambda s: "".join(s).replace(" ", "") == ">一二三四五")
        t.type(ENTER)
        t.wait_for(f"turn 1: {hexed('一二三四五')}.")


def test_other_characters_reach_the_conversation_as_they_are():
    for text in ["naïve café", "🛸", "日本語かな", "한국어", "\u00e9"]:
        with probe() as t:
            t.type(text + ENTER)
            t.wait_for(f"turn 1: {hexed(text)}.")


def test_characters_that_come_in_pieces_and_bytes_that_are_none():
    with probe() as t:
        for byte in "誰".encode():
            t.type(bytes([byte]))
            time.sleep(0.02)
        t.type(b"\xff" + b"a" + ENTER.encode())
        t.wait_for(f"turn 1: {hexed('誰' + chr(0xfffd) + 'a')}.")


def test_history_within_a_session_and_across_sessions(tmp_path):
    history = tmp_path / "state" / "history"
    env = {"TETRAD_HISTORY": str(history)}
    with probe(env=env) as t:
        for text in ["第一句", "two"]:
            t.type(text + ENTER)
            t.wait_for(hexed(text) + ".")
        t.wait_for("> ")
        t.type(UP + UP)
        t.wait_screen(lambda s: last_line(t).replace(" ", "") == ">第一句")
        t.type("!" + ENTER)
        t.wait_for(f"turn 3: {hexed('第一句!')}.")
        t.wait_for("> ")
        t.type(CTRL_D)
        assert t.finish() == 0
    assert oct(history.stat().st_mode & 0o777) == "0o600"
    with probe(env=env) as t:
        t.type(UP + UP + ENTER)
        t.wait_for(f"turn 1: {hexed('two')}.")


def test_a_history_that_cannot_be_kept_harms_nobody(tmp_path):
    (tmp_path / "file").write_text("")
    with probe(env={"TETRAD_HISTORY": str(tmp_path / "file" / "history")}) as t:
        t.type("a" + ENTER)
        t.wait_for("the history cannot be kept")
        t.wait_for(f"turn 1: {hexed('a')}.")
        t.type(UP + ENTER)
        t.wait_for(f"turn 2: {hexed('a')}.")


def test_a_paste_of_several_lines_is_one_message():
    with probe() as t:
        assert b"\x1b[?2004h" in t.raw
        t.type("看: \x1b[200~第一行\r\nsecond\tline\r\n\nthird\n\x1b[201~")
        t.wait_screen(lambda s: "third" in "\n".join(s))
        assert "turn" not in plain(t.raw)
        t.type(" end" + ENTER)
        t.wait_for(f"turn 1: {hexed('看: 第一行' + chr(10) + 'second' + chr(9) + 'line' + chr(10) * 2 + 'third end')}.")
        t.wait_for("\x1b[?2004h")
        t.type(UP + ENTER)  # the history gives it back whole
        t.wait_for(f"turn 2: {hexed('看: 第一行' + chr(10) + 'second')}")


def test_a_paste_with_commands_and_control_characters_is_text():
    with probe() as t:
        t.type("x\x1b[200~/exit\n\x04\x1b[31m\x1b[201~" + ENTER)
        t.wait_for(f"turn 1: {hexed('x/exit' + chr(10) + '[31m')}.")


def test_a_large_paste():
    lines = "\n".join(f"行{i:05d}" for i in range(4000))
    with probe() as t:
        t.type("\x1b[200~" + lines + "\x1b[201~" + ENTER)
        t.wait_for(f"{hexed('行03999')}.")
        assert t.raw.count(b"0a e8 a1 8c") == 3999


def test_alt_enter_begins_a_new_line():
    with probe() as t:
        t.type("a\x1b\rb" + ENTER)
        t.wait_for(f"turn 1: {hexed('a' + chr(10) + 'b')}.")


def test_ctrl_c_gives_the_line_up_and_the_terminal_is_sane_at_the_end(tmp_path):
    activity = tmp_path / "activity"
    with probe(env={"PROBE_ACTIVITY": str(activity)}) as t:
        t.type("half a li")
        t.wait_screen(lambda s: "half a li" in s[0])
        t.type(CTRL_C)
        t.wait_for("Ctrl-C again")
        t.wait_for("> ")
        assert activity.read_text() == "a", "a prompt that follows a Ctrl-C is no activity: the next one ends the program"
        t.type("whole" + ENTER)
        t.wait_for(f"turn 1: {hexed('whole')}.")
        t.wait_for("> ")
        assert activity.read_text() == "aaa", "the first key after it is, and the next line"
        t.type(CTRL_D)
        assert t.finish() == 0
        assert t.raw.endswith(b"\n")
        assert t.raw.rfind(b"\x1b[?2004l") > t.raw.rfind(b"\x1b[?2004h")


def test_the_terminal_is_cooked_while_an_answer_is_made():
    with probe() as t:
        t.wait_screen(lambda s: not t.sane())
        t.type("/exit" + ENTER)
        assert t.finish() == 0


def test_a_stop_and_a_continue_bring_the_prompt_back():
    with probe() as t:
        t.type("kept")
        t.wait_screen(lambda s: "kept" in s[0])
        os.kill(t.pid, signal.SIGSTOP)
        time.sleep(0.1)
        settings = t.settings()
        settings[3] |= 0o10 | 0o2  # what a shell does meanwhile: ECHO, ICANON
        import termios
        termios.tcsetattr(t.fd, termios.TCSANOW, settings)
        assert t.sane()
        os.kill(t.pid, signal.SIGCONT)
        t.wait_screen(lambda s: not t.sane())
        t.type("!" + ENTER)
        t.wait_for(f"turn 1: {hexed('kept!')}.")


def test_the_width_may_change():
    with probe() as t:
        t.type("字" * 12)
        t.wait_screen(lambda s: "字" * 12 in s[0])
        t.resize(20, 24)
        t.wait_screen(lambda s: "".join(s) == "> " + "字" * 12)
        t.type("x")
        t.wait_screen(lambda s: "".join(s) == "> " + "字" * 12 + "x")
        t.resize(60, 24)
        t.type("y")
        # A terminal that does not wrap its old lines anew, like this one, keeps what stood above.
        t.wait_screen(lambda s: last_line(t) == "> " + "字" * 12 + "xy")
        t.type(ENTER)
        t.wait_for(f"turn 1: {hexed('字' * 12 + 'xy')}.")


COMMANDS = ("/help\n/stats\nhello\n/stats\n/undo\n/undo\n/regen\nworld\n/regen\n/clear-cache\n/system\n/system be brief\n"
            "/system\n//slash\n/save a.json\n   \n/exit\nnever\n")


def check_commands(text):
    for wanted in ["/clear-cache", "[stats] turns=0", f"turn 1: {hexed('hello')}.", "[stats] turns=1",
                   "the last turn is taken back", "there is no turn to take back", "there is no turn to answer again",
                   "eval weight cache cleared: 3.0 MiB freed", "no system message of our own",
                   "begun anew with this system message", "system message: be brief", f"turn 1: {hexed('/slash')}.",
                   "[chat] saved a.json"]:
        assert wanted in text, wanted
    assert text.count(f"turn 1: {hexed('world')}.") == 2
    assert "never" not in text and hexed("never") not in text


def test_commands_through_a_pipe():
    result = subprocess.run([PROBE], input=COMMANDS.encode(), capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr
    check_commands((result.stdout + result.stderr).decode())
    assert b"> " not in result.stderr


def test_commands_on_a_terminal():
    with probe() as t:
        t.type(COMMANDS.split("/exit")[0].replace("\n", ENTER))
        t.wait_for("[chat] saved a.json")
        t.type("/exit" + ENTER)
        assert t.finish() == 0
        check_commands(plain(t.raw.replace(b"\r\n", b"\n")))


@pytest.mark.parametrize("line,code,message", [
    ("/regenn", 2, "[chat] no command '/regenn'; did you mean '/regen'?"),
    ("/etc/passwd", 2, "is written '//...'"),
    ("/save", 2, "[chat] /save needs an argument: /save FILE"),
    ("/undo now", 2, "[chat] /undo takes no argument"),
    ("/load x", 2, "[load] x: identity.weights"),
    ("fail", 2, "[context] too long"),
    ("break", 1, "[device] gone"),
])
def test_an_error_ends_a_pipe_but_costs_a_person_only_the_line(line, code, message):
    piped = subprocess.run([PROBE], input=f"{line}\nafter\n".encode(), capture_output=True, timeout=60)
    assert piped.returncode == code
    assert message in piped.stderr.decode() and b"turn" not in piped.stdout
    with probe() as t:
        t.type(line + ENTER)
        t.wait_for(message)
        if code == 1:
            assert t.finish() == 1
        else:
            t.type("after" + ENTER)
            t.wait_for(f"turn 1: {hexed('after')}.")


def test_a_collapse_ends_with_its_code():
    assert subprocess.run([PROBE], input=b"collapse\nx\n", capture_output=True, timeout=60).returncode == 4


def test_a_dumb_terminal_has_plain_lines():
    with probe(env={"TERM": "dumb"}) as t:
        t.type("你好\n")
        t.wait_for(f"turn 1: {hexed('你好')}.")
        assert b"\x1b" not in t.raw
