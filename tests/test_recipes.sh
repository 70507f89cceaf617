#!/bin/bash
# Recipes for other tools: of each the syntax, every matrix with the width that the plan has, the label, the refusals.
# usage: test_recipes.sh BUILD_DIR [LLAMA_QUANTIZE]     with a llama-quantize the script is run by it, else by a stand-in
set -u
cd "$(dirname "$0")/.." || exit 2
tq=$(realpath "${1:?build directory}")/tqexplore
exec python3 - "$tq" "${2:-}" <<'PYTHON'
import array, json, os, random, re, shutil, struct, subprocess, sys, tempfile

sys.path.insert(0, "tests")
import checks
from checks import check

program, quantizer = sys.argv[1:]
work = tempfile.mkdtemp()
fixtures = "tests/data/logits/"
WIDTH = {"keep": 0, "4": 4, "4t": 4, "4+2": 6, "4+4": 8}
HINT = "a hint on bit widths, not an equivalent"
PLAN = ["--set", "*=4:32", "--set", "*.down_proj=4+4:32", "--set", "1.*.up_proj=4+2:32", "--set", "0.self_attn.o_proj=keep"]


def run(*args, status=0):
    p = subprocess.run([program, *args], capture_output=True, text=True)
    check(p.returncode == status, f"{args}: status {p.returncode}: {p.stderr}")
    return p


def matrices(model, plan):
    return {m["name"]: m for m in json.loads(run("layers", model, *plan, "--json").stdout)["layers"]}


def recipe(model, plan, form):
    """The file's text; says that it is a hint, in the file and on stderr, and is not overwritten unasked."""
    path = os.path.join(work, "recipe")
    p = run("export", model, *plan, "--format", form, "--out", path, "--json", "--force")
    check(HINT in p.stderr and HINT in json.loads(p.stdout)["note"], f"{form}: said to be a hint")
    refused = run("export", model, *plan, "--format", form, "--out", path, status=1)
    check("exists" in refused.stderr, f"{form}: overwritten")
    with open(path) as f:
        text = f.read()
    check(HINT in text, f"{form}: labelled")
    return path, text


def refuse(model, plan, form, why):
    path = os.path.join(work, "refused")
    p = run("export", model, *plan, "--format", form, "--out", path, status=1)
    check(why in p.stderr and form in p.stderr and not os.path.exists(path), f"{form} {plan}: no '{why}' in {p.stderr}")


# --- llama.cpp ---

LLAMA = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def llama_arguments(path, *args):
    """What the script calls llama-quantize with."""
    stand_in = os.path.join(work, "bin")
    os.makedirs(stand_in, exist_ok=True)
    with open(os.path.join(stand_in, "llama-quantize"), "w") as f:
        f.write("#!/bin/sh\nfor a in \"$@\"; do printf '%s\\n' \"$a\"; done\n")
    os.chmod(os.path.join(stand_in, "llama-quantize"), 0o755)
    env = dict(os.environ, PATH=stand_in + os.pathsep + os.environ["PATH"])
    p = subprocess.run(["sh", path, *args], capture_output=True, text=True, env=env)
    check(p.returncode == 0 and not p.stderr, f"sh {path}: {p.stderr}")
    return p.stdout.split("\n")[:-1]


def check_llama(model, plan, stored):
    path, _ = recipe(model, plan, "llama.cpp")
    args = llama_arguments(path, "--dry-run", "in put.gguf", "out.gguf")
    check(args[-4:] == ["--dry-run", "in put.gguf", "out.gguf", "Q8_0"], f"llama.cpp: ends with {args[-4:]}")
    options = list(zip(args[:-4:2], args[1:-4:2]))
    rules = [v.rsplit("=", 1) for k, v in options if k == "--tensor-type"]
    check({k for k, _ in options} <= {"--tensor-type", "--token-embedding-type", "--output-tensor-type"}, "llama.cpp: options")
    check(dict(options)["--token-embedding-type"] == stored, "llama.cpp: the embedding stays as stored")
    for name, m in matrices(model, plan).items():
        _, _, block, part = name.split(".", 3)
        gguf = f"blk.{block}.{LLAMA[part]}.weight"
        # The first that is found counts, in the name in small letters; as GGUF has it.
        found = [t for pattern, t in rules if re.search(pattern, gguf)]
        whole = m["cols"] % 256 == 0
        want = {0: stored, 4: "q4_k" if whole else "iq4_nl", 6: "q6_k" if whole else "q5_1", 8: "q8_0"}[WIDTH[m["bits"]]]
        check(found == [want], f"llama.cpp: {gguf} is {found}, expected {want}")
    check(len(rules) == len(matrices(model, plan)), "llama.cpp: one rule a matrix")
    check(all(pattern == pattern.lower() for pattern, _ in rules), "llama.cpp: patterns are made small letters")
    return path


def wide_llama():
    """A Llama of two blocks and random weights, with rows of whole super-blocks."""
    hidden, middle, vocab = 256, 512, 64
    path = os.path.join(work, "wide")
    os.mkdir(path)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": hidden, "vocab_size": vocab,
              "intermediate_size": middle, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
              "rms_norm_eps": 1e-5, "rope_theta": 1e4, "max_position_embeddings": 64, "tie_word_embeddings": True,
              "hidden_act": "silu", "torch_dtype": "bfloat16"}
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(config, f)
    shapes = {"model.embed_tokens.weight": [vocab, hidden], "model.norm.weight": [hidden]}
    for b in range(2):
        at = f"model.layers.{b}."
        shapes.update({at + "input_layernorm.weight": [hidden], at + "post_attention_layernorm.weight": [hidden]})
        for name, rows, cols in (("self_attn.q_proj", hidden, hidden), ("self_attn.k_proj", hidden // 2, hidden),
                                 ("self_attn.v_proj", hidden // 2, hidden), ("self_attn.o_proj", hidden, hidden),
                                 ("mlp.gate_proj", middle, hidden), ("mlp.up_proj", middle, hidden),
                                 ("mlp.down_proj", hidden, middle)):
            shapes[at + name + ".weight"] = [rows, cols]
    rng, header, data = random.Random(1), {}, b""
    for name, shape in shapes.items():
        n = shape[0] * (shape[1] if len(shape) > 1 else 1)
        piece = array.array("H", (rng.choice((0x3d00, 0xbd80, 0x3c40, 0xbcc0)) for _ in range(n))).tobytes()
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(header).encode()
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
    return path


qwen3, llama, qwen2 = fixtures + "qwen3-tied", fixtures + "llama-untied", fixtures + "qwen2-small"
wide = wide_llama()
check_llama(wide, PLAN, "bf16")
check_llama(qwen2, ["--set", "*=4", "--set", "*.k_proj=4+4", "--set", "*.up_proj=4+2", "--set", "*.down_proj=keep"], "bf16")
check_llama(fixtures + "mistral-window-f32", ["--set", "*.down_proj=4+2", "--set", "*.o_proj=4", "--set", "0.*=keep"], "f32")
refuse("samples/tiny-qwen3.5", ["--set", "*=4"], "llama.cpp", "not known for qwen3_5_text")
refuse(llama, ["--set", "*=4:32"], "llama.cpp", "136 columns, llama.cpp's types have blocks of 32")
refuse(qwen2, [], "llama.cpp", "quantizes nothing")
if quantizer:
    model = os.path.join(work, "model.gguf")
    path = check_llama(wide, PLAN, "bf16")
    run("export", wide, "--format", "gguf", "--out", model)
    env = dict(os.environ, PATH=os.path.dirname(os.path.realpath(quantizer)) + os.pathsep + os.environ["PATH"])
    p = subprocess.run(["sh", path, model, os.path.join(work, "out.gguf")], capture_output=True, text=True, env=env)
    print(p.stdout + p.stderr)
    check(p.returncode == 0, "llama-quantize takes it")

# --- exllamav3 ---


def yaml(text):
    """The little of YAML that is used: lists of flat mappings under two keys."""
    root, here = {}, None
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        top, item = re.fullmatch(r"(\w+):", line), re.fullmatch(r"  ([- ]) (\w+): (\"[^\"\\]*\")", line)
        check(bool(top or item or line == "  []"), f"exllamav3: {line!r}")
        if top:
            here = root.setdefault(top[1], [])
        elif item:
            if item[1] == "-":
                here.append({})
            here[-1][item[2]] = json.loads(item[3])
    return root


def check_exllamav3(model, plan, common):
    y = yaml(recipe(model, plan, "exllamav3")[1])
    ids = {s["id"]: s["model_dir"] for s in y["sources"]}
    check(set(o["source"] for o in y["overrides"]) == set(ids) and all(ids.values()), f"exllamav3: sources {ids}")
    of = {8: "8bpw", 6: "6bpw", 4: "4bpw", 0: "stored"}
    for name, m in matrices(model, plan).items():
        found = [o["source"] for o in y["overrides"]
                 if re.fullmatch(".*".join(map(re.escape, o["key"].split("*"))), name + ".trellis")]
        want = [] if WIDTH[m["bits"]] == common else [of[WIDTH[m["bits"]]]]
        check(found == want, f"exllamav3: {name} from {found}, expected {want}")


check_exllamav3(llama, PLAN, 4)
check_exllamav3(llama, ["--set", "*=4+4"], 8)
check_exllamav3("samples/tiny-qwen3.5", ["--set", "*=4t", "--set", "0.*=keep"], 4)
refuse(fixtures + "olmo2-small", PLAN, "exllamav3", "OLMo 2")
refuse(llama, [], "exllamav3", "quantizes nothing")

# --- GPTQModel ---


def check_gptqmodel(model, plan):
    j = json.loads(recipe(model, plan, "gptqmodel")[1])
    check(set(j) == {"bits", "group_size", "dynamic", "meta"} and HINT in j["meta"]["note"], f"gptqmodel: {set(j)}")
    for name, m in matrices(model, plan).items():
        got = {"bits": j["bits"], "group_size": j["group_size"]}
        for pattern, value in j["dynamic"].items():
            if re.match(pattern[2:], name):
                got = dict(got, **value) if pattern.startswith("+:") else None
                break
        group = -1 if m["group"] == "row" else m["group"]
        want = None if m["bits"] == "keep" else {"bits": WIDTH[m["bits"]], "group_size": group}
        check(got == want, f"gptqmodel: {name} is {got}, expected {want}")
    check(len(j["dynamic"]) < len(matrices(model, plan)), "gptqmodel: what is common is not repeated")


check_gptqmodel(qwen3, ["--set", "*=4:row", "--set", "*.o_proj=4+2:32", "--set", "0.*=keep", "--set", "*.v_proj=4:64"])
check_gptqmodel("samples/tiny-qwen3.5", ["--set", "*=4t", "--set", "3.*=4+4:row"])
refuse(llama, PLAN, "gptqmodel", "136 columns, which groups of 32 do not divide")
refuse(fixtures + "qwen3_5-multimodal", ["--set", "*=4:row"], "gptqmodel", "tensors are named")

# --- mlx-lm ---


def check_mlx(model, plan):
    q = json.loads(recipe(model, plan, "mlx-lm")[1])["quantization"]
    common = {k: q[k] for k in ("group_size", "bits", "mode")}
    check(q["model.embed_tokens"] is False and q["lm_head"] is False, "mlx-lm: embedding and head stay")
    for name, m in matrices(model, plan).items():
        want = False if m["bits"] == "keep" else {"group_size": m["group"], "bits": WIDTH[m["bits"]], "mode": "affine"}
        check(q.get(name, common) == want, f"mlx-lm: {name} is {q.get(name, common)}, expected {want}")
    check(all(c["bits"] in (2, 3, 4, 5, 6, 8) and c["group_size"] in (32, 64, 128)
              for c in [common, *(v for v in q.values() if isinstance(v, dict))]), "mlx-lm: widths and groups")


check_mlx(qwen3, ["--set", "*=4:32", "--set", "*.down_proj=keep", "--set", "0.*.o_proj=4+4:32", "--set", "1.*.v_proj=4+2:64"])
refuse(qwen3, ["--set", "*=4:row"], "mlx-lm", "groups of row, mlx has 32, 64 and 128")
refuse(qwen3, ["--set", "*=4:256"], "mlx-lm", "groups of 256")
refuse(llama, ["--set", "*=4:32"], "mlx-lm", "do not divide")
refuse("samples/tiny-qwen3.5", ["--set", "*=4"], "mlx-lm", "multimodal")

shutil.rmtree(work)
print(f"{checks.done} checks, {checks.failed} failed")
sys.exit(1 if checks.failed else 0)
PYTHON
