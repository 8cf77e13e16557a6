"""Chat templates against transformers' own rendering: whole templates, single constructs, and random white space."""
import random
from pathlib import Path

import pytest
from transformers.utils.chat_template_utils import _compile_jinja_template

from text_probe import TextProbe

TEMPLATES = Path(__file__).parent.parent / "data" / "text" / "templates"
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}

CONTENTS = ["Hello", "", "  two\n\nlines \n", "你好，世界 🙂", "a'b\"c\\d{{ x }}{% y %}", "e\u0301\u00a0\u2003x\u3000",
            "<think>\nbecause\n</think>\n\nso", "<|im_end|>\n<|im_start|>system\n", "<tool_response>1</tool_response>", "\x1c\x85 s "]


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    # The probe wants a tokenizer; the smallest byte-level one does.
    directory = tmp_path_factory.mktemp("tokenizer")
    (directory / "tokenizer.json").write_text(
        '{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},'
        '"post_processor":null,"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}')
    probe = TextProbe(directory)
    yield probe
    probe.close()


def expected(source, messages, generation, variables):
    scope = {**SPECIAL, "messages": messages, "tools": None, "documents": None, "add_generation_prompt": generation,
             **variables}
    try:
        return {"text": _compile_jinja_template(source).render(scope)}
    except Exception as error:  # what Python raises while compiling or running it
        return {"error": str(error)}


def check(probe, source, messages=(), generation=False, variables=None):
    variables = variables or {}
    want = expected(source, list(messages), generation, variables)
    got = probe.ask(template=source, messages=list(messages), add_generation_prompt=generation, variables=variables,
                    special_tokens=SPECIAL)
    if "error" in want:
        assert "error" in got, (source, want, got)
        assert got["error"].startswith("[text] given:"), got
    else:
        assert got == want, source
    return got


def conversations():
    rng = random.Random(3)
    roles = ["user", "assistant"]
    yield [{"role": "user", "content": "Hello"}]
    yield [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    yield [{"role": "system", "content": ""}, {"role": "user", "content": ""}]
    for content in CONTENTS:
        yield [{"role": r, "content": content} for r in ("system", "user", "assistant", "user")]
    for length in range(1, 9):
        for _ in range(6):
            yield [{"role": roles[i % 2], "content": rng.choice(CONTENTS)} for i in range(length)]
            yield [{"role": rng.choice(roles + ["system", "tool"]), "content": rng.choice(CONTENTS)} for _ in range(length)]
    yield [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "reasoning_content": "\nwhy\n"}]
    yield [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "reasoning_content": None}, {"role": "tool", "content": "t"}]
    call = {"function": {"name": "f", "arguments": {"x": 1, "名": [1.5, None, True, "é\n"]}}}
    yield [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "tool_calls": [call]},
           {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}, {"role": "user", "content": "q"}]
    yield [{"role": "assistant", "content": None}]
    yield []


@pytest.mark.parametrize("file", sorted(TEMPLATES.glob("*.jinja")), ids=lambda f: f.stem)
def test_templates(probe, file):
    source = file.read_text(encoding="utf-8")
    texts = 0
    for messages in conversations():
        for generation in (False, True):
            for variables in ({}, {"enable_thinking": False}, {"enable_thinking": True, "date_string": "1 May 2025"},
                              {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": [], "b": {}}}}]}):
                texts += "text" in check(probe, source, messages, generation, variables)
    assert texts > 100  # the rest are refusals, by both


SNIPPETS = r"""
{{ 1 + 2 * 3 - 4 // 3 }} {{ 7 // -2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 3 ** 2 }} {{ 7 / 2 }} {{ -3|abs }} {{ 1.0 }} {{ 2.50 }}
{{ 1.5 + 1 }} {{ 0.1 + 0.2 }} {{ 100000.0 * 1000000000000 }} {{ 1.0 / 30000 }} {{ 2 ** 0.5 }} {{ 5.0 // 2 }} {{ -5.5 % 2 }}
{{ true }} {{ none }} {{ None }} {{ False }} {{ missing }} [{{ missing ~ 1 ~ none }}] {{ not missing }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ "a" < "b" }} {{ 'x' in 'xyz' }} {{ 'x' not in 'xyz' }} {{ 2 in [1, 2] }}
{{ "a" "b" 'c' }} {{ 'it''s' }} {{ "tab\tnl\n\\ \x41\u00e9\U0001F642 \q \'" }}
{{ (1, 2)[1] }} {{ [1, 2, 3][-1] }} {{ [1, 2, 3][5] }} {{ [1,2,3][::-1]|tojson }} {{ [1,2,3,4][1:3]|tojson }} {{ [1,2,3,4][-2:]|tojson }} {{ [1,2,3,4,5][::2]|tojson }} {{ [1,2,3][5:]|tojson }} {{ [1,2,3,4][3:0:-2]|tojson }}
{{ "héllo"[1] }} {{ "héllo"[::-1] }} {{ "héllo"[1:3] }} {{ "héllo"|length }} {{ "héllo"[9] }}
{{ {"a": 1, "b": {"c": [1, "é", none, true, 1.5]}}|tojson }} {{ {}|tojson }} {{ [[], {}]|tojson(indent=2) }} {{ {"a": [1, {"b": 2}]}|tojson(indent=4) }}
{{ "quote\" back\\ nl\n \u0001 \u007f"|tojson }} {{ 1e|default }}
{{ {"a": 1}.a }} {{ {"a": 1}["a"] }} {{ {"a": 1}.b }} {{ {"a": 1}.get("a") }} {{ {"a": 1}.get("b") }} {{ {"a": 1}.get("b", 3) }} {{ "a" in {"a": 1} }}
{% for k, v in {"x": 1, "y": 2}.items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in {"x": 1}|items %}{{ k }}{{ v }}{% endfor %}{% for k in {"x": 1} %}{{ k }}{% endfor %}
{% for i in range(3) %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}[{{ loop.previtem }}|{{ loop.nextitem }}]{% endfor %}
{% for i in range(10) if i % 2 %}{{ i }}/{{ loop.length }}{% else %}none{% endfor %}{% for i in [] %}x{% else %}empty{% endfor %}{% for c in "aé" %}{{ c }}.{% endfor %}{% for x in missing %}x{% else %}none{% endfor %}
{% for i in range(2, 10, 3) %}{{ i }}{% if i == 5 %}{% break %}{% endif %}{% endfor %}{% for i in range(4) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}
{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = i + 5 %}{{ x }}{% endfor %}{{ x }}
{% set ns = namespace(a=1, b='x') %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}{{ ns.c is defined }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t = (1, 2) %}{{ t|length }}{% set y %} block {{ a }} {% endset %}[{{ y }}]{{ y|trim }}.
{% if false %}a{% elif 1 %}b{% else %}c{% endif %}{% if missing %}x{% endif %}{% if [] or {} or 0 or '' %}x{% else %}y{% endif %}
{{ 'a' if true }}[{{ 'a' if false }}]{{ 'a' if false else 'b' if false else 'c' }}
{{ 1 and 0 }} {{ 0 or 'x' }} {{ '' and 1 }} {{ not 1 == 2 }} {{ not (1 and 0) }}
{{ 'x' is string }} {{ 1 is string }} {{ 1 is number }} {{ true is number }} {{ true is integer }} {{ 1.0 is float }} {{ none is none }} {{ x is defined }} {{ x is undefined }} {{ x is not defined }} {{ [] is sequence }} {{ 'a' is sequence }} {{ 1 is sequence }} {{ {} is mapping }} {{ [] is mapping }} {{ [] is iterable }} {{ 1 is iterable }} {{ true is true }} {{ 1 is true }} {{ false is false }} {{ true is boolean }} {{ x is iterable }} {{ x is sequence }}
{{ 4 is even }} {{ 3 is odd }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 1 is eq 1 }} {{ 1 is equalto 2 }} {{ 1 is ne 2 }} {{ 1 is in [1, 2] }} {{ 2 is gt 1 }} {{ 2 is le 1 }} {{ 2 is ge(2) }} {{ 1 is lt 2 and 2 is lt 1 }}
{{ "  x ".strip() }}| {{ "  x ".lstrip() }}| {{ "  x ".rstrip() }}| {{ "xxaxx".strip("x") }} {{ "éaé".strip("é") }} {{ "  x "|trim }}| {{ "xay"|trim("xy") }} {{ none|trim }} {{ 5|trim }}
{{ "a,b,,c".split(",")|tojson }} {{ " a  b c ".split()|tojson }} {{ "a,b,c".split(",", 1)|tojson }} {{ " a b  c ".split(none, 1)|tojson }} {{ "abc".split("x")[-1] }} {{ "".split()|tojson }} {{ "".split(",")|tojson }} {{ " a b ".split(none, 0)|tojson }} {{ " a ".split(none, 5)|tojson }}
{{ "abc".startswith("ab") }} {{ "abc".endswith(("x", "bc")) }} {{ "abcabc".replace("b", "X") }} {{ "AbC".lower() }} {{ "AbC".upper() }} {{ "abc".find("c") }} {{ "éc".find("c") }} {{ ",".join(["a", "b"]) }}
{{ "abc"|upper }} {{ "ABC"|lower }} {{ "hELLO"|capitalize }} {{ [1, 2]|first }} {{ [1, 2]|last }} {{ []|first }} {{ "abc"|first }} {{ [1, 2]|join }} {{ [1, 'b', none]|join("-") }} {{ [{"a": 1}, {"a": 2}]|join(",", attribute="a") }}
{{ missing|default }} {{ missing|default("d") }} {{ missing|d("d") }} {{ ''|default('e', true) }} {{ ''|default('e') }} {{ none|default('n') }} {{ 0|default('z', boolean=true) }}
{{ [1, 2, 3]|length }} {{ {"a": 1}|count }} {{ missing|length }} {{ 5|string + 'x' }} {{ "3"|int + 1 }} {{ 3.9|int }} {{ true|int }} {{ "x"|int }} {{ "x"|int(7) }} {{ none|int(default=2) }}
{{ "aXbX"|replace("X", "y") }} {{ [1, 2]|reverse|list|tojson }} {{ "abc"|reverse }} {{ "abc"|list|tojson }} {{ range(3)|list|tojson }}
{{ [{"a": 1}, {"b": 2}]|map(attribute="a")|list|length }} {{ ["a", "b"]|map("upper")|join }} {{ [" a "]|map("trim")|list|tojson }} {{ [1, 2, 3, 4]|select("even")|list|tojson }} {{ [1, 2, 0]|select|list|tojson }} {{ [1, 2]|reject("equalto", 2)|list|tojson }}
{{ [{"r": "u", "n": 1}, {"r": "s", "n": 2}]|selectattr("r", "equalto", "u")|list|tojson }} {{ [{"r": 1}, {"r": 0}, {}]|rejectattr("r")|list|length }} {{ [{"r": 1}, {}]|selectattr("r", "defined")|list|length }}
{{ [1] + [2] == [1, 2] }} {{ {"a": 1} == {"a": 1.0} }} {{ "ab" * 2 }} {{ 3 * "x" }} {{ [1] == (1,) if false else 1 }}
{{ strftime_now is defined }} {{ raise_exception is defined }} {{ strftime_now("%Y") | length }} {{ namespace is defined }}
{% macro m(a, b=2) %}{{ a }}-{{ b }}-{{ g }}{% endmacro %}{% set g = 9 %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=5, a=4) }} {{ m() }}{% for i in [1] %}{% set g = 3 %}{{ m(i) }}{% endfor %}
{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% generation %}x{{ 1 }}{% endgeneration %} {# comment #} {#- comment -#} x
a{{- 1 -}} b {%- if true -%} c {%- endif -%} d
{{ messages|length }}{{ dict(a=1).a }} {{ -1|abs }} {{ (-1)|abs }} {{ +1 }} {{ - -1 }} {{ "a" ~ 1 + 2 ~ "b" }}
{{ "a" + 1 }}
{{ none + "a" }}
{{ missing.x }}
{{ missing["x"] }}
{{ missing() }}
{{ missing + 1 }}
{{ missing < 1 }}
{{ 1 < "a" }}
{{ 1 in 2 }}
{{ 1 in none }}
{{ none|length }}
{{ 1 / 0 }} {{ 1 % 0 }}
{% for a, b in [[1, 2, 3]] %}{% endfor %}
{% for x in none %}{% endfor %}
{% for x in 5 %}{% endfor %}
{{ raise_exception("no") }}
{{ missing|tojson }}
{% set x.y = 1 %}
{{ {"a": 1}.a.b.c }}
{{ messages[0].role }}
{% if x %}
{% endif
{{ "abc }}
{{ 1 + }}
{% endfor %}
{{ (1 }}
{% for %}{% endfor %}
{{ }}
{% if %}{% endif %}
{{ a b }}
{% break %}
{{ x is nosuchtest }}
{{ x|nosuchfilter }}
{# unclosed
{% else %}
{{ [1, 2 }}
{{ 1.2.3 }}
{{ 'a' is string is string }}
{% raw %}{% endraw
"""


def test_constructs(probe):
    lines = [line for line in SNIPPETS.splitlines() if line]
    assert len(lines) > 70
    answers, wrong = [], []
    for line in lines:
        try:
            answers.append(check(probe, line))
        except AssertionError as error:
            wrong.append(str(error))
    assert not wrong, "\n\n".join(wrong)
    assert sum("text" in answer for answer in answers) > 35


UNSUPPORTED = ["{% include 'x' %}", "{% raw %}x{% endraw %}", "{% filter upper %}x{% endfilter %}", "{% import 'x' as y %}",
               "{{ [1,2]|sum }}", "{{ 'a'|title }}", "{{ loop.cycle(1,2) }}", "{{ joiner() }}", "{{ cycler(1) }}", "{{ 'é'|upper }}",
               "{{ '%s' % 1 }}", "{{ [1] }}", "{{ {'a': 1} }}", "{% for x in [1] recursive %}{% endfor %}", "{{ 'a'.format(1) }}",
               "{{ x.__class__ }}", "{{ ''.__class__ }}", "{% call f() %}{% endcall %}", "{{ f(*[1]) }}", "{{ 1|tojson(sort_keys=true) }}",
               "{% with a = 1 %}{% endwith %}", "{{ 0x10 }}", "{{ 1_000 }}", "{{ 1e3 }}", "{% block x %}{% endblock %}", "{{ 99999999999999999999 }}",
               "{{ 9223372036854775807 + 1 }}", "{{ 'a'.isdigit() }}", "{{ {1: 2}|tojson }}", "{{ 'a'.split }}"]


def test_what_is_not_supported_is_an_error(probe):
    for source in UNSUPPORTED:
        got = probe.ask(template=source, messages=[])
        assert "error" in got and got["error"].startswith("[text] given:1: "), (source, got)


def test_hostile_templates_end(probe):
    bombs = ["{% for i in range(1000000) %}{% for j in range(1000000) %}{% endfor %}{% endfor %}",
             "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
             "{{ 'x' * 9999999999 }}", "{% for i in range(1000000) %}{{ 'x' * 1000000 }}{% endfor %}",
             "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% if 1 %}" * 5000, "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
             "{{ 1" + " + 1" * 50000 + " }}", "{{ " + "not " * 5000 + "1 }}", "{{ x" + "[0]" * 5000 + " }}", "{{ " + "-" * 5000 + "1 }}",
             "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}",
             "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson }}",
             "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
             "{% set ns = namespace() %}{% set ns.self = ns %}", "{% set ns = namespace() %}{% set ns.l = [ns] %}", "x" * (2 << 20)]
    for source in bombs:
        got = probe.ask(template=source, messages=[])
        assert "error" in got and got["error"].startswith("[text] given:"), (source[:80], got)


def test_random_white_space(probe):
    rng = random.Random(11)
    texts = [" ", "\n", "\t", "  \n", "a", "\n  ", "x\n", "\r\n", "\u00a0", "\u3000\n", ""]
    tags = ["{%SSET x = 1 END%}", "{%SIF true END%}", "{%SENDIF END%}", "{{S'v' END}}", "{#S c END#}", "{%SFOR i in [1, 2] END%}", "{%SENDFOR END%}"]
    for _ in range(3000):
        source, stack = "", []
        for _ in range(rng.randrange(1, 9)):
            source += "".join(rng.choice(texts) for _ in range(rng.randrange(3)))
            tag = rng.choice(tags)
            if "SENDIF" in tag or "SENDFOR" in tag:
                if not stack:
                    continue
                tag = tags[2] if stack.pop() == "if" else tags[6]
            elif "SIF" in tag:
                stack.append("if")
            elif "SFOR" in tag:
                stack.append("for")
            for word in ("SET", "IF", "ENDIF", "FOR", "ENDFOR"):
                tag = tag.replace("%S" + word + " ", "%S" + word.lower() + " ")
            ends = ["", "-", "+"] if "%" in tag else ["", "-"]
            source += tag.replace("S", rng.choice(["", "-", "+"]) + " ", 1).replace("END", rng.choice(ends))
        for kind in reversed(stack):
            source += "\n {% end" + kind + " %} \n"
        source += rng.choice(texts)
        assert "text" in check(probe, source), source
