#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# llm show, plan and quantize: models by their own files.
set -u
. "$(dirname "$0")/lib.sh"
[[ -x $LLM ]] || skip_all "no llm in $B"
unset LLM_MODEL
gguf=tests/data/gguf/llama3-gqa-bf16.bf16.gguf dir=tests/data/models/llama3-gqa-bf16

# ---- show ---------------------------------------------------------------
ask show $gguf
like "show: the family" "$OUT" 'family +LlamaForCausalLM'
like "show: the form" "$OUT" 'form +GGUF version 3, 1 file'
like "show: types" "$OUT" 'BF16: [0-9,]+ numbers in 22 tensors'
like "show: heads" "$OUT" 'heads +4 of 16, 2 KV heads'
like "show: context" "$OUT" 'context +512 tokens'
like "show: vocabulary" "$OUT" 'vocabulary +512, the head is the embedding'
is "show ends with 0" "$RC" 0
ask show --format json $gguf
from_gguf=$(field parameters)
is "show: a twin has its directory's parameters" "$from_gguf" \
	"$(ask show --format json $dir; field parameters)"
ask show --tensors --format json $dir
is "show --tensors lists names" "$(field tensors.0.name)" model.embed_tokens.weight
is "show --tensors lists shapes" "$(field tensors.0.shape)" "[512, 64]"
OUT=$(LLM_MODEL=$dir "$LLM" show)
like "LLM_MODEL names the model" "$OUT" 'form +safetensors'

# ---- plan: 80 layers, 64 heads of 128 -----------------------------------
cat >"$TMP/config.json" <<-'END'
	{"architectures": ["LlamaForCausalLM"], "hidden_size": 8192, "intermediate_size": 22016,
	 "num_attention_heads": 64, "num_hidden_layers": 80, "vocab_size": 32000,
	 "max_position_embeddings": 4096}
END
for m in "$TMP/config.json" "$TMP"; do
	ask plan --memory 256G "$m"
	like "plan of ${m##*/}: 2.5 MiB a token and 10 GiB in FP16" "$OUT" 'f16 +2\.5 MiB +10 GiB'
	is "plan ends with 0" "$RC" 0
done
like "plan: parameters" "$OUT" '65\.3 billion parameters'
ask plan --memory 256G --context 1000 --format json "$TMP"
is "plan: bytes a token" "$(field kv_token_bytes.f16)" 2621440
# (256 GiB - 2 bytes x 65285660672 - 60 MiB) / (1008 tokens x 2.5 MiB), rounded down
is "plan: requests of whole blocks" "$(field requests.1.f16)" 54
ask plan --memory 64G "$TMP"
like "plan: weights that do not fit" "$OUT" 'need 121\.7 GiB: 57\.[0-9]+ GiB are missing'
ask plan --context 8192 "$TMP"
like "plan: a context past the model's" "$OUT" "past the model's 4,096"
ask plan $gguf
like "plan without --memory: this machine" "$OUT" 'available here'

# ---- quantize -----------------------------------------------------------
ask quantize --type q8_0 --pure $dir "$TMP/q8.gguf"
is "quantize ends with 0" "$RC" 0
is "quantize says nothing on standard error" "$ERR" ""
like "quantize: an error per tensor" "$OUT" \
	'blk\.2\.ffn_up\.weight +BF16 > Q8_0 +128 x 64 +0\.5[0-9]+ +0\.00[0-9]+'
like "quantize: vectors are as they were" "$OUT" 'output_norm\.weight +BF16 > F32 +64 +0\.0000 +0'
like "quantize: what it came to" "$OUT" 'q8\.gguf: [0-9.]+ KiB, 143,[0-9]+ numbers, [0-9.]+ bits each'
ask show --format json "$TMP/q8.gguf"
is "quantize: the file is a model" "$(field parameters)" "$from_gguf"
is "quantize: of that type" "$(field types.0.type)" Q8_0
ask quantize --type q4_0 --format json "$TMP/q8.gguf" "$TMP/q4.gguf"
is "quantize --format json: types" "$(field tensors.4.from) $(field tensors.4.to)" "Q8_0 Q4_0"
is "quantize leaves nothing beside" "$(cd "$TMP" && echo q*)" "q4.gguf q8.gguf"

# ---- packed weights: a faster form behind the service, or the file ------
ids=()
for w in fast file; do
	serve --model "$TMP/q4.gguf" --threads 1 --weights $w || not_ok "llmd --weights $w serves"
	for seed in 1 2 3; do
		ask run --socket "$SOCK" --format ids -n 60 --ignore-eos --temperature 1 --seed $seed --ids "5 6 7"
		ids+=("$OUT")
	done
	stop
done
like "--weights fast: it serves" "${ids[0]}" '^[0-9]+( [0-9]+){59}$'
is "--weights file gives the same ids" "${ids[*]:3}" "${ids[*]:0:3}"
ERR=$("$B/llmd" --model "$TMP/q4.gguf" --weights slow 2>&1)
is "--weights slow: one line" "$ERR" "llmd: weights: 'slow' is none of fast|file|int8|fp8|int4 (llmd --help lists all)"

# ---- plain weights rounded ----------------------------------------------
ids=() arith=()
for w in fast int8 int8; do
	serve --model $dir --threads 1 --weights $w || not_ok "llmd --weights $w serves"
	ask run --socket "$SOCK" --format ids -n 60 --ignore-eos --temperature 1 --seed 4 --ids "5 6 7"
	ids+=("$OUT")
	arith+=("$(ask info --socket "$SOCK" --format json; field model.arith)")
	stop
done
like "--weights int8: it serves" "${ids[1]}" '^[0-9]+( [0-9]+){59}$'
is "--weights int8 gives the same ids again" "${ids[2]}" "${ids[1]}"
like "info names the arithmetic" "${arith[1]}" '^[0-9a-f]{16}$'
is "--weights int8 has one of its own" "$(printf '%s\n' "${arith[@]}" | uniq | wc -l)" 2
ERR=$("$B/llmd" --model $dir --weights fp8 2>&1)
is "--weights fp8 without a GPU: one line" "$ERR" "llmd: weights fp8 or int4 is for --backend cuda"

# ---- the model that ships, as one file ----------------------------------
if model=$(shipped_model) && [[ -x $B/llmd ]]; then
	ask quantize --type f16 "$model" "$TMP/one.gguf"
	is "quantize: the shipped model has its tokenizer" "$RC$ERR" 0
	text=() words=("man ls" "how do I copy a file?")
	for m in "$model" "$TMP/one.gguf"; do
		serve --model "$m" --threads 1 || not_ok "llmd serves ${m##*/}" "$(tail -n 1 "$LOG")"
		for w in "${words[@]}"; do
			ask run --socket "$SOCK" --chat -n 40 "$w"
			text+=("$OUT")
		done
		stop
	done
	is "a GGUF file answers as its directory" "${text[2]}${text[3]}" "${text[0]}${text[1]}"
	like "and it says something" "${text[2]}" 'ls - list'
else
	skip "a GGUF file answers as its directory" "no model with a tokenizer"
fi

# ---- what is refused: one line, one code --------------------------------
refused() { # WHAT CODE PART ARGS...
	local what=$1 code=$2 part=$3
	shift 3
	ask "$@"
	is "$what: exit code" "$RC" "$code"
	is "$what: one line" "$(wc -l <<<"$ERR")" 1
	like "$what: says why" "$ERR" "$part"
}
refused "no model" 2 'one model is wanted' show
refused "two models" 2 'one model is wanted' plan a b
refused "no such file" 1 'none: No such file' show none
refused "a file of something else" 1 'not JSON' plan tests/test.h
refused "a size that is none" 2 '\-\-memory: found "16X", allowed a size' plan --memory 16X "$TMP"
refused "a size of nothing" 2 'allowed a size from 1' plan --memory 0 "$TMP"
refused "a size past 64 bits" 2 'allowed a size' plan --memory 99999999999T "$TMP"
refused "no type" 2 'type is wanted, one of F32, F16' quantize $dir "$TMP/o"
refused "a type unknown" 2 'found "q9", allowed F32, F16' quantize --type q9 $dir "$TMP/o"
refused "no place to write" 1 'none/o' quantize --type q8_0 $dir "$TMP/none/o"
head -c 3000 $gguf >"$TMP/cut.gguf"
refused "a GGUF that is cut" 1 'bytes are left' show "$TMP/cut.gguf"
finish
