#!/usr/bin/env python3
"""Makes tests/data/chat.json: chat templates in the style of those in use, conversations, what jinja2 makes of them and
the ids that the reference tokenizer gives that text.

usage: make_chat_fixtures.py      needs jinja2 and tokenizers; run make_tokenizer_fixtures.py first

The environment is the one of transformers (trim_blocks, lstrip_blocks, raise_exception). The templates are written for
this test: each has the properties of the ones it stands for, and no more.
"""
import json
import os

from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

CHATML = """{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

# As Qwen2.5 and SmolLM2: a system message of the template's own when there is none.
CHATML_SYSTEM = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}{{- 'You have tools.' }}{{- '<|im_end|>\\n' }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a small model, and you don\\'t boast.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or message.role == 'assistant' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

# As Qwen3: earlier answers lose their thoughts; enable_thinking=false opens with an empty thought.
CHATML_THINK = """{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == 'assistant' and '</think>' in content %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

# As Qwen3.5: texts are stripped, and what follows the header by default stands after else.
CHATML_OPEN = """{%- for message in messages %}
    {%- set content = message.content|trim %}
    {%- if message.role == 'assistant' and '</think>' in content %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- else %}
        {{- '<think>\\n' }}
    {%- endif %}
{%- endif %}
"""

LLAMA3 = """{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' \
+ message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}\
{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}\
{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""

# As Llama 3.1: a system turn with dates, always.
LLAMA31 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

# As Mistral 7B v0.3: the system message goes before the last user message.
MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] + eos_token }}
    {%- endif %}
{%- endfor %}
"""

# As Mistral Nemo: no spaces.
NEMO = MISTRAL.replace('"[INST] "', '"[INST]"').replace('" " + message["content"]', 'message["content"]')

# As Mistral 7B v0.1: the marks are plain text to this tokenizer.
MISTRAL01 = """{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}\
{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}\
{{ message['content'] + eos_token + ' ' }}{% endif %}{% endfor %}"""

LLAMA2 = """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}\
{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}\
{% set system_message = false %}{% endif %}{% for message in loop_messages %}\
{% if loop.index0 == 0 and system_message != false %}\
{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}\
{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}\
{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}\
{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""

# As Gemma 3: the system message goes into the first user's turn, and roles must alternate.
GEMMA = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("roles must alternate") }}
    {%- endif -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<|im_start|>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- endif -%}
    {{ '<|im_end|>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<|im_start|>model\n' }}
{%- endif -%}
"""

# As Phi 3: roles become tokens.
PHI = """{% for message in messages %}{{ '<|im_' + ('start' if message.role == 'user' else 'end') + '|>' + '\n' + \
message.content + '<|endoftext|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_end|>\n' }}{% else %}\
{{ eos_token }}{% endif %}"""

CASES = [ # name, template, tokenizer, bos, eos, knows a system message
    ("chatml", CHATML, "qwen3.5", None, "<|im_end|>", True),
    ("chatml smollm2", CHATML, "smollm2", None, "<|im_end|>", True),
    ("chatml system", CHATML_SYSTEM, "qwen3.5", None, "<|im_end|>", True),
    ("chatml think", CHATML_THINK, "qwen3.5", None, "<|im_end|>", True),
    ("chatml open", CHATML_OPEN, "qwen3.5", None, "<|im_end|>", True),
    ("llama3", LLAMA3, "llama3", "<|begin_of_text|>", "<|eot_id|>", True),
    ("llama3.1", LLAMA31, "llama3", "<|begin_of_text|>", "<|eot_id|>", True),
    ("mistral", MISTRAL, "mistral", "<s>", "</s>", True),
    ("nemo", NEMO, "mistral", "<s>", "</s>", True),
    ("mistral v0.1", MISTRAL01, "llama2", "<s>", "</s>", False),
    ("llama2", LLAMA2, "llama2", "<s>", "</s>", True),
    ("gemma", GEMMA, "qwen3.5", "<|im_start|>", "<|im_end|>", True),
    ("phi", PHI, "qwen3.5", None, "<|endoftext|>", True),
]

CONVERSATIONS = [
    [("user", "Hello")],
    [("system", "Be brief."), ("user", "What is 2 + 2?")],
    [("user", "What is the memory?"), ("assistant", "It's 4 GB."), ("user", "And\nthe rest?\n\nSay it.")],
    [("system", "Answer in German."), ("user", "Gr\u00fc\u00dfe, \U0001F600!"), ("assistant", "Hallo"), ("user", "  two  spaces  ")],
    [("user", "think"), ("assistant", "<think>\nHm, well.\n</think>\n\nDone."), ("user", "\n\nnew line first")],
]


def render(template, conversation, bos, eos, **more):
    def raise_exception(message):
        raise ValueError(message)
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    env.globals["raise_exception"] = raise_exception
    messages = [{"role": r, "content": t} for r, t in conversation]
    tokens = {k: v for k, v in (("bos_token", bos), ("eos_token", eos)) if v is not None}
    return env.from_string(template).render(messages=messages, add_generation_prompt=True, **tokens, **more)


def main():
    out = []
    for name, template, style, bos, eos, system in CASES:
        t = Tokenizer.from_file(os.path.join(ROOT, "tests", "data", "tokenizers", style, "tokenizer.json"))
        runs = []
        for conversation in CONVERSATIONS:
            thoughts = any("<think>" in text for _, text in conversation)
            if (conversation[0][0] == "system" and not system) or (thoughts and "</think>" not in template):
                continue
            for think in (None, True, False) if "enable_thinking" in template else (None,):
                text = render(template, conversation, bos, eos, **({} if think is None else {"enable_thinking": think}))
                runs.append({"messages": conversation, "think": ("default" if think is None else "on" if think else "off"),
                             "text": text, "ids": t.encode(text, add_special_tokens=False).ids})
        out.append({"name": name, "tokenizer": style, "template": template, "bos": bos, "eos": eos,
                    "runs": runs})
    with open(os.path.join(ROOT, "tests", "data", "chat.json"), "w", encoding="utf-8") as f:
        json.dump(out, f, ensure_ascii=False, indent=0)
    print(sum(len(c["runs"]) for c in out), "conversations of", len(out), "templates")


if __name__ == "__main__":
    main()
