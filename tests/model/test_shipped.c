/* SPDX-License-Identifier: MIT */
/*
 * The models that ship: they answer as their card (models/README.md) says.
 * The card's figures were measured with transformers, so this is one more
 * independent reference for text, forward and sampling together.
 */
#include "tests/model/drive.h"

#include "base/json.h"
#include "base/map.h"
#include "text/chat.h"
#include "text/decode.h"
#include "text/encode.h"
#include "text/vec.h"
#include "text/vocab.h"

#define MODEL	   "models/manpages-2m"
#define DRAFT	   "models/manpages-0.7m-draft"
#define NR_EACH	   48u /* questions of a kind, run side by side */
#define MAX_ANSWER 90u

static const struct sampling greedy = { .top_p = 1, .repetition_penalty = 1 };
static struct seq seqs[NR_EACH];
static char want[NR_EACH][512];
static uint32_t eos;

/* The first NR_EACH held-out questions of @kind into seqs and want. */
static uint32_t read_questions(struct encode *e, const char *kind)
{
	struct map map;
	const char *line, *end;
	uint32_t n = 0;

	CHECK_EQ(map_open(&map, "models/eval.jsonl", NULL), 0);
	line = map.data;
	end = line + map.size;
	while (line < end && n < NR_EACH) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));
		json_t *j = json_parse("eval.jsonl", line,
				       (size_t)(stop - line), NULL);
		const char *k = json_string_value(json_object_get(j, "kind"));
		const char *q = json_string_value(json_object_get(j, "q"));
		const char *a = json_string_value(json_object_get(j, "a"));

		CHECK(k && q && a && strlen(a) < sizeof(want[0]));
		if (!strcmp(k, kind)) {
			struct ids ids = { 0 };

			CHECK_EQ(chat_encode(e, q, strlen(q), 0, &ids, NULL),
				 0);
			seq_init(&seqs[n], ids.v, (uint32_t)ids.nr);
			strcpy(want[n++], a);
			ids_free(&ids);
		}
		json_decref(j);
		line = stop + 1;
	}
	map_close(&map);
	return n;
}

/* Greedy answers to all @n at once, until each has ended. */
static void answer(struct drive *d, uint32_t n)
{
	for (uint32_t turn = 0; turn < MAX_ANSWER; turn++) {
		uint32_t who[NR_EACH], nr = 0;

		drive_begin(d);
		for (uint32_t i = 0; i < n; i++) {
			struct seq *s = &seqs[i];
			uint32_t left = s->known - s->computed;

			if (turn && s->ids[s->known - 1] == eos)
				continue;
			if (d->batch.nr_tokens + left > DRIVE_ROWS)
				continue; /* its prompt has to wait */
			drive_span(d, s, left, OUT_LAST, &greedy, true);
			who[nr++] = i;
		}
		if (!nr)
			return;
		drive_run(d);
		for (uint32_t k = 0; k < nr; k++) {
			struct seq *s = &seqs[who[k]];

			s->ids[s->known++] = d->batch.out[k].token;
		}
	}
}

static bool right(const struct vocab *v, const struct seq *s, const char *a)
{
	char text[2048];
	struct decode dec;
	size_t n = 0;

	decode_init(&dec, 0);
	for (uint32_t i = s->prompt_len; i < s->known; i++) {
		long k = decode_feed(&dec, v, s->ids[i], (uint8_t *)text + n,
				     sizeof(text) - 1 - n);

		CHECK(k >= 0);
		n += (size_t)k;
	}
	text[n] = 0;
	return !strcmp(text, a);
}

TEST(held_out_questions_are_answered_as_the_card_says)
{
	static const struct {
		const char *kind;
		uint32_t percent; /* the card's */
	} kinds[] = { { "whatis", 94 }, { "apropos", 96 }, { "option", 90 } };
	struct vocab *v;
	struct encode *e;
	struct drive d;

	CHECK_EQ(vocab_open(&v, MODEL, NULL), 0);
	CHECK_EQ(encode_open(&e, v), 0);
	drive_open(&d, MODEL, NULL, 0);
	eos = d.be->info.eos[0];
	CHECK_EQ(d.be->info.parameters, 1967424);
	CHECK_EQ(d.be->info.max_new_tokens, 256);
	for (size_t i = 0; i < 3; i++) {
		uint32_t n = read_questions(e, kinds[i].kind), good = 0;

		ROW(kinds[i].kind);
		CHECK_EQ(n, NR_EACH);
		answer(&d, n);
		for (uint32_t k = 0; k < n; k++)
			good += right(v, &seqs[k], want[k]);
		printf("# %s: %u of %u right\n", kinds[i].kind, good, n);
		/* another sample than the card's: three deviations of it */
		CHECK(good * 100 >= (kinds[i].percent - 12) * n);
	}
	drive_close(&d);
	encode_close(e);
	vocab_close(v);
}

TEST(the_draft_would_be_accepted_as_often_as_the_card_says)
{
	static struct seq main_seqs[NR_EACH];
	uint32_t n, same = 0, all = 0;
	struct vocab *v;
	struct encode *e;
	struct drive d;

	CHECK_EQ(vocab_open(&v, MODEL, NULL), 0);
	CHECK_EQ(encode_open(&e, v), 0);
	drive_open(&d, MODEL, NULL, 0);
	eos = d.be->info.eos[0];
	n = read_questions(e, "whatis");
	answer(&d, n);
	memcpy(main_seqs, seqs, sizeof(seqs));
	drive_close(&d);
	drive_open(&d, DRAFT, NULL, 0);
	CHECK_EQ(d.vocab, 4096);
	for (uint32_t i = 0; i < n; i++) {
		struct seq *s = &main_seqs[i];
		const struct batch_out *o;

		seq_preempt(s);
		drive_begin(&d);
		o = drive_span(&d, s, s->known, OUT_SCORE, NULL, true);
		for (uint32_t k = 0; k < s->known; k++)
			d.batch.out[k].nr_alt = 1;
		drive_run(&d);
		for (uint32_t k = s->prompt_len - 1; k + 1 < s->known; k++) {
			same += o[k].alt->token[0] == s->ids[k + 1];
			all++;
		}
	}
	printf("# draft agrees on %u of %u tokens\n", same, all);
	CHECK(all > 300 && same * 100 >= all * 93); /* the card: 97.6 % */
	drive_close(&d);
	encode_close(e);
	vocab_close(v);
}
