#!/usr/bin/env python3
"""Makes tests/data/jinja.json: templates written for this test, each about one construct, with what jinja2 makes of
them in the environment of transformers, or that it refuses.

usage: make_jinja_fixtures.py      needs transformers and jinja2
"""
import datetime
import json
import os
import time

import transformers.utils.chat_template_utils as utils

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
NOW = 1_700_000_000  # 2023-11-14 22:13:20 UTC; the test runs with TZ=UTC

VARS = {
    "messages": [
        {"role": "user", "content": "  Grüße, 'you' & \"me\"\n\t<b>  "},
        {"role": "assistant", "content": "<think>\nso\n</think>\n\nDone.\n"},
        {"role": "user", "content": "ÄÖ ß x.y.z"},
    ],
    "n": 7, "neg": -7, "f": 2.5, "none_": None, "yes": True, "no": False, "empty": "", "word": "abcABC",
    "list": [3, 1, 2, 1], "words": ["pear", "Apple", "fig", "apple"], "nested": [[1, [2, "x"]], {"k": [None, True, 1.5]}],
    "d": {"b": 1, "a": {"x": "y"}, "items_": [1, 2]}, "people": [{"n": "Bo", "a": 3}, {"n": "Al", "a": 1}, {"n": "Cy"}],
    "bos_token": "<s>", "add_generation_prompt": True,
}

# Each is rendered with VARS; a name in front of a text of several lines helps nobody, so they are a plain list.
TEMPLATES = """
{{ 'a' }}{{ "b" }}{{ 'a' "b" 'c' }}
{{ 'line\\nline\\ttab\\\\ \\'q\\' "d" \\x41 \\u00e9 \\U0001F600 \\101 \\q' }}
{{ 1 }} {{ 1_000 }} {{ 1.5 }} {{ 1e3 }} {{ 2.5e-7 }} {{ 1e22 }} {{ 123456789.125 }} {{ 0.1 + 0.2 }} {{ -3 }} {{ +3 }}
{{ 1 + 2 * 3 ** 2 - 4 // 3 % 5 }} {{ 7 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 2 ** -1 }} {{ 2 ** 3 ** 2 }}
{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1] }} {{ 'a' + 'b' * 3 }} {{ [1] + [2] * 2 }} {{ 1 ~ 2 * 3 }}
{{ 1 ~ 2 + 3 }}
{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ 1 == 1.0 }} {{ 1 == true }} {{ '1' == 1 }} {{ [1, 2] == [1, 2] }} {{ (1,) == [1] }} {{ {'a': 1} == {'a': 1} }} {{ none == none }} {{ [1, 2] < [1, 3] }}
{{ 1 in list }} {{ 9 not in list }} {{ 'b' in d }} {{ 'bc' in word }} {{ 'x' in undefined_ }} {{ not 1 in list }} {{ 'a' in ['a'] and not false }}
{{ 0 or 'x' }} {{ 0 and 'x' }} {{ '' or none or 'last' }} {{ not '' }} {{ 1 and 2 and 3 }} {{ not not 1 }}
{{ 'y' if yes else 'n' }}{{ 'y' if no else 'n' }}[{{ 'y' if no }}]{{ 'a' if no else 'b' if no else 'c' }}
{{ true }} {{ True }} {{ false }} {{ None }} {{ none }} {{ [] }} {{ {} }} {{ () }} {{ (1,) }} {{ (1, 2) }} {{ [1, 'a', "it's", 'q"q', none] }} {{ {'a': 1, 2: [3]} }} {{ nested }}
{{ 1, 2 }} {{ ('x' 'y', 3) }}
{{ undefined_ }}|{{ undefined_ is defined }}|{{ undefined_ is undefined }}|{{ d.missing }}|{{ d['missing'] is defined }}|{{ list[99] is defined }}|{{ undefined_ | length }}
{{ d.a.x }} {{ d['a']['x'] }} {{ d.b }} {{ d.items_ }} {{ messages[0].role }} {{ messages[-1]['role'] }} {{ list[0] }} {{ list[-1] }} {{ word[1] }} {{ word[-1] }} {{ list.0 }}
{{ list[1:] }} {{ list[:2] }} {{ list[::-1] }} {{ list[1:3] }} {{ list[-2:] }} {{ list[::2] }} {{ list[10:] }} {{ word[1:3] }} {{ word[::-1] }} {{ messages[2].content[:4] }} {{ word[-3:-1] }} {{ word[5:1:-2] }} {{ list[:-1] }} {{ (1,2,3)[1:] }}
{% for x in list %}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}
{% for x in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}
{% for x in list %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {{ loop.cycle('odd', 'even') }} {{ loop.changed(x > 1) }};{% endfor %}
{% for x in list if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}none{% endfor %}
{% for x in list if x > 9 %}{{ x }}{% else %}none of {{ list | length }}{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for c in 'äb' %}<{{ c }}>{% endfor %}
{% for a, b in [(1, 2), [3, 4]] %}{{ a }}-{{ b }} {% endfor %}{% for x in 1, 2 %}{{ x }}{% endfor %}
{% for x in list %}{% for y in list %}{{ loop.depth }}{{ x * y }} {% endfor %}{{ loop.index }}{% endfor %}
{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}
{{ range(3) | list }} {{ range(2, 5) | list }} {{ range(9, 2, -3) | list }} {{ range(0) | list }}
{% for m in messages %}{% if m.role == 'user' %}U{% elif m.role == 'assistant' %}A{% else %}?{% endif %}{% endfor %}
{% if no %}a{% elif none_ %}b{% elif n %}c{% else %}d{% endif %}{% if empty %}x{% else %}y{% endif %}{% if yes %}{% endif %}
{% set x = 1 %}{% for i in list %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}
{% set ns = namespace(x=1, y='a') %}{% for i in list %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}{% set ns.z = [1] %}{{ ns.z }}{{ ns.q }}
{% set x %}a{{ n }}b{% endset %}[{{ x }}]{% set y | trim | upper %}  in  {% endset %}[{{ y }}]
{% set a, b = 1, 'two' %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}
{% macro greet(name, mark='!', other=none) %}Hi {{ name }}{{ mark }}{{ other }}{% endmacro %}{{ greet('Bo') }}{{ greet('Al', '?') }}{{ greet(name='Cy', other=1) }}{{ greet() }}
{% macro a(x) %}{% if x > 0 %}{{ x }}{{ a(x - 1) }}{% endif %}{% endmacro %}{{ a(5) }}{% set r = a(3) %}{{ r | length }}{{ r is string }}
{% set top = 'T' %}{% macro m() %}{{ top }}{{ inner }}{% endmacro %}{% set inner = 'late' %}{{ m() }}{% for x in [1] %}{% set top = 'L' %}{{ m() }}{% endfor %}
{% macro show(m) -%}   <{{ m.role }}>   {%- endmacro %}{% for m in messages %}{{ show(m) }}{% endfor %}
{% with a = 1, b = n %}{{ a }}{{ b }}{% set a = 5 %}{{ a }}{% endwith %}{{ a is defined }}
{% filter upper %}abc {{ word }}{% endfilter %}{% filter replace('a', 'b') | trim %} aXa {% endfilter %}
{% generation %}{{ word }}{% set q = 1 %}{% endgeneration %}{{ q is defined }}
{# a comment #}a{#- another -#}  b  {#- {{ not this }} -#} c
{% raw %}{{ not }} {% this %}{% endraw %}|{%- raw -%}  {{ x }}  {%- endraw -%}  |
{{ ' a ' | trim }}|{{ ' a ' | length }}|{{ 'xxaxx' | trim('x') }}|{{ 'aB c-d' | title }}|{{ 'aB' | capitalize }}|{{ 'straße' | upper }}|{{ 'ÄÖ' | lower }}|{{ 5 | string + '5' }}|{{ 'a' | safe }}
{{ list | length }} {{ list | count }} {{ list | first }} {{ list | last }} {{ list | sum }} {{ list | min }} {{ list | max }} {{ list | sort }} {{ list | sort(reverse=true) }} {{ list | reverse | list }} {{ list | unique | list }} {{ 'abc' | reverse }} {{ 'abc' | list }} {{ 'abc' | first }}
{{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ words | unique | list }} {{ words | join(', ') }} {{ words | join }} {{ list | join('-') }} {{ people | join('/', attribute='n') }} {{ words | max }}
{{ people | map(attribute='n') | list }} {{ people | map(attribute='a', default=0) | list }} {{ words | map('upper') | list }} {{ words | map('replace', 'p', 'P') | join(' ') }} {{ nested | map(attribute='0') | list }}
{{ people | selectattr('a') | map(attribute='n') | list }} {{ people | selectattr('a', 'defined') | list | length }} {{ people | selectattr('a', 'equalto', 3) | list }} {{ people | rejectattr('a', 'defined') | list }} {{ people | selectattr('n', 'in', ['Bo', 'Cy']) | map(attribute='n') | list }}
{{ list | select('odd') | list }} {{ list | reject('odd') | list }} {{ list | select('gt', 1) | list }} {{ [0, 1, '', 'a'] | select | list }} {{ list | select('==', 1) | list }} {{ none_ | select | list }}
{{ d | dictsort }} {{ {'b': 1, 'A': 2} | dictsort }} {{ {'b': 1, 'A': 2} | dictsort(by='value', reverse=true) }} {{ d | items | list }} {{ d | list }} {{ d | length }} {{ d.keys() | list }} {{ d.values() | list }}
{{ none_ | default('x') }}|{{ undefined_ | default('x') }}|{{ '' | default('x', true) }}|{{ '' | d('x', boolean=true) }}|{{ undefined_ | default }}|{{ 0 | default(1) }}
{{ '42' | int + 1 }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ 3.9 | int }} {{ '3.9' | int }} {{ ' 12 ' | int }} {{ '1.5' | float }} {{ 'x' | float(2) }} {{ -5 | abs }} {{ -2.5 | abs }} {{ 2.567 | round(2) }} {{ 2.5 | round }} {{ 3.5 | round }} {{ 2.1 | round(method='ceil') }} {{ 2.9 | round(0, 'floor') }}
{{ 'a-b-c' | replace('-', '+') }} {{ 'a-b-c' | replace('-', '+', 1) }} {{ 'ab' | replace('', '.') }} {{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}|{{ 'a\\n\\nb' | indent(2, blank=true) }}|{{ 'a\\nb\\n' | indent(1) }}|{{ 'a\\nb' | indent('> ') }}
{{ messages | tojson }}
{{ nested | tojson }} {{ d | tojson(indent=2) }} {{ [] | tojson(indent=1) }} {{ {} | tojson }} {{ 'é\\x01\\n"\\\\' | tojson }} {{ 'é😀' | tojson(ensure_ascii=true) }} {{ d | tojson(sort_keys=true) }} {{ d | tojson(separators=(',', ':')) }} {{ 1.0 | tojson }} {{ {1: none, true: 2} | tojson }} {{ d | tojson(indent=0) }}
{{ n is number }}{{ n is integer }}{{ f is float }}{{ f is integer }}{{ yes is boolean }}{{ yes is number }}{{ yes is integer }}{{ yes is true }}{{ n is true }}{{ no is false }}{{ none_ is none }}{{ word is string }}{{ d is mapping }}{{ list is mapping }}
{{ list is iterable }}{{ list is sequence }}{{ word is sequence }}{{ word is iterable }}{{ d is sequence }}{{ n is iterable }}{{ n is sequence }}{{ none_ is iterable }}{{ undefined_ is iterable }}{{ undefined_ is none }}{{ undefined_ is string }}{{ undefined_ is sequence }}
{{ 3 is odd }}{{ 4 is even }}{{ 9 is divisibleby 3 }}{{ 9 is divisibleby(4) }}{{ 1 is eq 1 }}{{ 1 is ne 2 }}{{ 1 is lt 2 }}{{ 1 is ge(2) }}{{ 1 is in [1] }}{{ 1 is not in [1] }}{{ 'a' is sameas 'a' }}{{ 1 is sameas true }}{{ 'AB' is upper }}{{ 'ab1' is lower }}{{ '1' is lower }}{{ range is callable }}{{ n is not string }}{{ n is not none and yes }}
{{ n is defined and n is number or no }} {{ 'a' if x is defined else 'b' }} {{ (n is string) == false }} {{ not n is string }} {{ n + 1 is number }}
{{ '  x y '.strip() }}|{{ 'xxyxx'.strip('x') }}|{{ ' a'.lstrip() }}|{{ 'a\\n\\n'.rstrip('\\n') }}|{{ 'abcab'.lstrip('ab') }}|{{ 'éaé'.strip('é') }}|{{ '\\u00a0\\u2003 a\\u3000'.strip() }}|
{{ 'a,b,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a b c d'.split(none, 2) }} {{ 'a b c d '.rsplit(none, 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ 'abc'.split('</think>')[-1] }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a\\nb\\r\\nc\\n'.splitlines() }} {{ 'a\\nb'.splitlines(true) }}
{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith('bc') }}{{ 'abc'.startswith(('x', 'a')) }}{{ 'abc'.endswith('') }} {{ 'Ab'.upper() }}{{ 'Ab'.lower() }}{{ 'aB'.capitalize() }} {{ 'a.b'.replace('.', '-') }} {{ 'aXbX'.replace('X', '', 1) }} {{ 'abcabc'.find('c') }} {{ 'abcabc'.rfind('c') }} {{ 'äbc'.find('c') }} {{ 'abc'.find('z') }} {{ 'abab'.count('ab') }}
{{ '-'.join(['a', 'b']) }} {{ '12'.isdigit() }}{{ '1a'.isdigit() }}{{ 'ab'.isalpha() }}{{ 'a1'.isalnum() }}{{ ' \\n'.isspace() }}{{ ''.isspace() }} {{ 'pre-x'.removeprefix('pre-') }} {{ 'x.c'.removesuffix('.c') }} {{ 'x'.removesuffix('y') }}
{{ d.get('b') }} {{ d.get('zz') }} {{ d.get('zz', 'no') }} {{ d.items() | list }} {{ list.index(2) }} {{ list.count(1) }} {{ dict(a=1, b=2) }} {{ dict(d, c=3) | length }} {{ d.items is defined }} {{ 'a'.strip is defined }} {{ 'a'.foo is defined }}
{{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%d %B %Y, %H:%M:%S %A %b %a %j %y') }} [{{ strftime_now('') }}]
{{ raise_exception('No, ' ~ n) }}
{% if messages[0].role != 'system' %}{{ raise_exception('a system message comes first') }}{% endif %}
{{ undefined_.attribute }}
{{ undefined_ + 1 }}
{{ 1 + 'a' }}
{{ 1 < 'a' }}
{{ 1 / 0 }}
{{ 'a' | nosuchfilter }}
{{ 1 is nosuchtest }}
{{ 'a'.nosuchmethod() }}
{{ nosuchfunction() }}
{% if no %}{{ 'a' | nosuchfilter }}{{ nosuchfunction() }}{{ 'a'.nosuch() }}{% endif %}fine
{{ none_ | length }}
{% for x in none_ %}{% endfor %}
{% for x in 5 %}{% endfor %}
{% set d.x = 1 %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{{ list.append(1) }}
{{ d.update({'a': 1}) }}
{{ d.__class__ }}|{{ ''.__class__.__mro__ }}
{{ 5 in none_ }}
{{ 1 in 'abc' }}
{{ range(1000000) }}
{% break %}
{% endif %}
{% if yes %}
{% for x in list %}{% endif %}
{{ 1 + }}
{{ (1 }}
{{ 'a }}
{{ a b }}
{{ }}
{% nosuchtag %}
{# never ends
{{ [1, 2 }}
{% set 5 = 1 %}
{{ 'x' if }}
{% macro %}{% endmacro %}
{{ x[ }}
{{ d.'x' }}
{{ list | join(nosuch=1) }}
""".strip("\n").split("\n")

# White space: what the tags leave of it.
BLOCKS = [
    "a\n  {% if yes %}\n    b\n  {% endif %}\nc\n",
    "a\n  {%- if yes %}\n    b\n  {%- endif %}\nc\n\n",
    "a\n  {% if yes -%}\n    b\n  {% endif -%}\n\n  c",
    "a \t {%- if yes -%} \n b \n {%- endif -%} \n c",
    "a\n  {%+ if yes %}\n b\n  {%+ endif %}\nc",
    "a\n  {% if yes +%}\n b\n  {% endif +%}\nc",
    "x {% if yes %} y {% endif %} z",
    "  {% if yes %}  \n  y{% endif %}\n",
    "{{ n }}\n{{ n }}\n\n",
    "  {{ n }}\n  {{- n }}\n  {{ n -}}\n  a",
    "a\r\nb\r{% if yes %}\r\nc{% endif %}\r\n",
    "{# c #}\n  {# d #}\n\na  {# e #}\nb",
    "  {#- c -#}  \n a {#+ d +#}\n b",
    "{% raw %}\n a\n{% endraw %}\nb",
    "a\n  {% raw %}\n  b\n  {% endraw %}\nc",
    "\n\n{% set x = 1 %}\n\n{{ x }}\n",
    "\u00a0 {%- if yes %}\u2003 a \u3000{%- endif %}",
    "a\n\t \u00a0{% if yes %}b{% endif %}",
    "{% for x in list %}\n- {{ x }}\n{% endfor %}\nend",
    "{%- for x in list -%}\n  {{- x }} \n{%- endfor -%}",
    "{% for x in [1, 2] %}\n    {% if x == 1 %}\n        one\n    {% else %}\n        two\n    {% endif %}\n{% endfor %}",
    "{{ {'a': {'b': 1}} }} {{ {'a': {'b': [1]}}['a']['b'] }}",
    "{{ '}}' }} {{ '%}' }} {% set x = '{{ n }}' %}{{ x }} { { % } #}",
    "{{-n-}} {{- -3 }} {{ 3 -}} ",
    "",
    "\n",
    "plain, {no tags} { at all",
]


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.utcfromtimestamp(NOW)


def main():
    os.environ["TZ"] = "UTC"
    time.tzset()
    utils.datetime = Clock
    out = []
    for template in TEMPLATES + BLOCKS:
        item = {"template": template}
        try:
            item["text"] = utils._compile_jinja_template(template).render(**VARS)
        except Exception:  # any of Python's errors is a refusal
            item["text"] = None
        out.append(item)
    with open(os.path.join(ROOT, "tests", "data", "jinja.json"), "w", encoding="utf-8") as f:
        json.dump({"now": NOW, "vars": VARS, "cases": out}, f, ensure_ascii=False, indent=0)
    print(len(out), "templates,", sum(i["text"] is None for i in out), "refused")


if __name__ == "__main__":
    main()
