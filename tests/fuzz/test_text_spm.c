/* SPDX-License-Identifier: MIT */
/*
 * A SentencePiece model that somebody changed: reading it ends, with a
 * vocabulary that can be used or with one line, and never otherwise.  The
 * reader alone, on few pieces, for many rounds; and all of it, through a file.
 * The seed is fixed; LLM_FUZZ_ROUNDS makes it longer, LLM_FUZZ_SEED another.
 * Best run with SAN=address.
 */
#include "tests/test.h"
#include "tests/unit/text_golden.h"
#include "text/decode.h"
#include "text/encode.h"
#include "text/spm.h"
#include "text/vocab.h"
#include "base/err.h"
#include "base/map.h"

#include <stdint.h>
#include <unistd.h>

static uint64_t seed;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13; /* Marsaglia's xorshift64 */
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 11) % n;
}

static unsigned rounds(unsigned usual)
{
	const char *n = getenv("LLM_FUZZ_ROUNDS"), *s = getenv("LLM_FUZZ_SEED");

	seed = s ? strtoull(s, NULL, 0) : 88172645463325252u;
	return n ? (unsigned)atoi(n) : usual;
}

static const char *const models[] = { "spm-bpe", "spm-unigram-map",
				      "spm-bpe-map" };
#define NR_MODELS 3

/*
 * Model @k without most of its pieces; the specifications that stand behind
 * them stay.  Returns the size; *ret is borrowed.
 */
static size_t base(unsigned k, size_t pieces, const uint8_t **ret)
{
	static uint8_t kept[NR_MODELS][2][16384];
	static size_t size[NR_MODELS][2];
	uint8_t *out = kept[k][pieces > 100];
	const uint8_t *p;
	struct map map;
	size_t i = 0, nr = 0, n, *got = &size[k][pieces > 100];

	*ret = out;
	if (*got)
		return *got;
	CHECK(!map_open(&map, golden_path(models[k], "tokenizer.model"), NULL));
	p = map.data;
	while (i < map.size) {
		/* all pieces are shorter than 128 bytes, tag 0x0a */
		n = p[i] == 0x0a ? 2 + (size_t)p[i + 1] : map.size - i;
		if (p[i] != 0x0a || nr++ < pieces) {
			CHECK(*got + n <= sizeof(kept[0][0]));
			memcpy(out + *got, p + i, n);
			*got += n;
		}
		i += n;
	}
	map_close(&map);
	return *got;
}

/* A few changes: bytes, a run taken out, a run put in twice, a cut. */
static size_t change(uint8_t *t, size_t size, size_t cap)
{
	unsigned k;
	size_t at, n;

	for (k = rnd(4); k < 5; k++) {
		at = rnd((unsigned)size);
		n = 1 + rnd(20);
		if (n > size - at)
			n = size - at;
		switch (rnd(8)) {
		case 0:
			memmove(t + at, t + at + n, size - at - n);
			size -= n;
			break;
		case 1:
			if (size + n > cap)
				break;
			memmove(t + at + n, t + at, size - at);
			size += n;
			break;
		case 2:
			size = at + 1;
			break;
		case 3:
			t[at] = (uint8_t)rnd(256);
			break;
		case 4:
			t[at] ^= (uint8_t)(1u << rnd(8));
			break;
		default: /* towards the specifications at the end */
			at = size - 1 - rnd(size < 600 ? (unsigned)size : 600);
			t[at] = "\x00\x01\x02\x03\x04\x7f\x80\xff"[rnd(8)];
		}
		if (!size)
			size = 1;
	}
	return size;
}

TEST(changed_models_are_read_or_refused)
{
	unsigned n = rounds(20000), i, good = 0;
	uint8_t *t = malloc(4096), *exact;
	const uint8_t *from;
	struct spm m;
	struct err err;
	size_t size;
	uint32_t k;

	for (i = 0; i < n; i++) {
		size = base(i % NR_MODELS, 12, &from);
		CHECK(size < 3500);
		memcpy(t, from, size);
		size = change(t, size, 4096);
		exact = malloc(size); /* what reads on is seen */
		memcpy(exact, t, size);
		err = (struct err){ 0 };
		if (spm_read(&m, "m", exact, size, &err)) {
			CHECK(err.code < 0 && !strchr(err.text, '\n'));
		} else {
			for (k = 0; k < m.nr; k++)
				CHECK(m.piece[k].size &&
				      m.piece[k].s >= exact &&
				      m.piece[k].s + m.piece[k].size <=
					      exact + size);
			CHECK(!m.charsmap_size ||
			      m.charsmap + m.charsmap_size <= exact + size);
			spm_deinit(&m);
			good++;
		}
		free(exact);
	}
	free(t);
	CHECK(good > n / 20 && good < n);
}

/* Whatever opened must work. */
static void use(struct vocab *v)
{
	static const char text[] = "Hi  <s>word \xe2\x96\x81 e\xcc\x81\xff "
				   "\xef\xbc\xa1 12ab\n";
	struct encode *e = NULL;
	struct ids ids = { 0 };
	struct decode d;
	uint8_t *out = malloc(DECODE_CAP(v->token_max));
	struct err err;
	size_t i;

	CHECK(out && !encode_open(&e, v));
	if (!encode(e, text, sizeof(text) - 1, 7, &ids, &err))
		for (i = 0; i < ids.nr; i++)
			CHECK(ids.v[i] < v->nr);
	decode_init(&d, 0);
	for (i = 0; i < ids.nr; i++)
		CHECK(decode_feed(&d, v, ids.v[i], out,
				  DECODE_CAP(v->token_max)) >= 0);
	decode_end(&d, out);
	free(out);
	ids_free(&ids);
	encode_close(e);
}

TEST(vocabularies_of_changed_models_can_be_used_or_get_one_line)
{
	unsigned n = rounds(1500), i, good = 0;
	char file[64];
	uint8_t *t = malloc(20000);
	const uint8_t *from;
	struct vocab *v;
	struct err err;
	size_t size;
	FILE *f;

	strcpy(file, access("/dev/shm", W_OK) ? "/tmp/fuzz_spm.XXXXXX"
					      : "/dev/shm/fuzz_spm.XXXXXX");
	close(mkstemp(file));
	for (i = 0; i < n; i++) {
		size = base(i % NR_MODELS, rnd(2) ? 1000 : 12, &from);
		memcpy(t, from, size);
		size = change(t, size, 20000);
		f = fopen(file, "w");
		CHECK(f && fwrite(t, 1, size, f) == size && !fclose(f));
		v = NULL;
		err = (struct err){ 0 };
		if (vocab_open(&v, file, &err)) {
			CHECK(!v && err.text[0] && !strchr(err.text, '\n'));
			continue;
		}
		use(v);
		vocab_close(v);
		good++;
	}
	unlink(file);
	free(t);
	CHECK(good > n / 20 && good < n);
}
