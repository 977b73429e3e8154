/* SPDX-License-Identifier: MIT */
#include "tools/quantize.h"
#include "base/err.h"
#include "base/gguf_out.h"
#include "checkpoint/arch_out.h"
#include "checkpoint/checkpoint.h"
#include "tools/rows.h"
#include "tools/vocab_out.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A tensor to write. */
struct job {
	const struct tensor *src; /* NULL: the divisors of the rope */
	const struct gguf_type *type;
	struct rows_how how;
	bool raw; /* bytes as they are */
	uint64_t offset;
};

struct work {
	const struct quantize_options *opt;
	const struct checkpoint *c;
	struct gguf_out out;
	struct job *job;	    /* owned: [nr] */
	struct quantize_line *line; /* owned: [nr] */
	uint32_t nr;
	float divisor[ROPE_MAX_DIM / 2];
	struct rows rows;
	int fd;
	uint64_t head_size, done;
	struct err *err;
};

/* ---- which type */

/* The types that stand in where @cols is no multiple of a block. */
static enum weight_type fit(enum weight_type type, uint64_t cols)
{
	static const enum weight_type next[NR_WEIGHT_TYPES] = {
		[WEIGHT_Q2_K] = WEIGHT_IQ4_NL, [WEIGHT_Q3_K] = WEIGHT_IQ4_NL,
		[WEIGHT_Q4_K] = WEIGHT_Q5_0,   [WEIGHT_Q5_K] = WEIGHT_Q5_1,
		[WEIGHT_Q6_K] = WEIGHT_Q8_0,
	};

	if (cols % weight_formats[type].block && next[type])
		type = next[type];
	return cols % weight_formats[type].block ? WEIGHT_F16 : type;
}

static bool is_head(const struct checkpoint *c, const char *name)
{
	return !strcmp(name, c->arch.tied ? "model.embed_tokens.weight"
					  : "lm_head.weight");
}

static enum weight_type type_for(const struct work *w, const struct tensor *t)
{
	enum weight_type type = w->opt->type;

	if (!w->opt->pure && weight_is_packed(type) && type != WEIGHT_Q8_0 &&
	    is_head(w->c, t->name))
		type = WEIGHT_Q6_K;
	return fit(type, t->shape[1]);
}

/* ---- what is to be written, in which order */

/* Embedding, layers by number, then the rest. */
static uint64_t rank(const struct tensor *t)
{
	unsigned layer;

	if (!strcmp(t->name, "model.embed_tokens.weight"))
		return 0;
	if (sscanf(t->name, "model.layers.%u.", &layer) == 1)
		return 1 + (uint64_t)layer;
	return UINT64_MAX;
}

static int by_rank(const void *a, const void *b)
{
	const struct tensor *s = *(const struct tensor *const *)a;
	const struct tensor *t = *(const struct tensor *const *)b;
	uint64_t i = rank(s), j = rank(t);

	return i < j ? -1 : i > j ? 1 : strcmp(s->name, t->name);
}

/* Not needed: what everyone computes, and a tied head's second copy. */
static bool is_dropped(const struct checkpoint *c, const struct tensor *t)
{
	return strstr(t->name, "rotary_emb.inv_freq") ||
	       (c->arch.tied && !strcmp(t->name, "lm_head.weight"));
}

/* Rows that a directory keeps half by half and a llama file pair by pair. */
static bool is_paired(const struct checkpoint *c, const struct tensor *t)
{
	return !c->tensors.gguf && strncmp(c->arch.family, "Qwen", 4) &&
	       (strstr(t->name, "self_attn.q_proj.") ||
		strstr(t->name, "self_attn.k_proj."));
}

static int add_job(struct work *w, const struct tensor *t)
{
	struct job *j = &w->job[w->nr];
	struct quantize_line *l = &w->line[w->nr];
	uint64_t dims[TENSORS_MAX_DIMS];
	enum weight_type from;

	j->src = t;
	names_to_gguf(t->name, l->name);
	l->from = t->type;
	l->numbers = 1;
	for (uint32_t i = 0; i < t->nr_dims; i++) {
		dims[i] = t->shape[t->nr_dims - 1 - i];
		l->numbers *= dims[i];
	}
	if (!l->numbers)
		return err_set(w->err, -ENOTSUP,
			       "%s: %s is empty, which a GGUF file cannot hold",
			       w->c->tensors.path, t->name);
	j->raw = weight_type_of_name(t->type, &from) || t->nr_dims > 2 ||
		 t->nr_dims < 1;
	if (!j->raw) {
		j->how.from = from;
		j->how.to = t->nr_dims == 2 ? type_for(w, t) : WEIGHT_F32;
		j->how.cols = dims[0];
		j->how.rows = t->nr_dims == 2 ? dims[1] : 1;
		j->how.src = t->data;
		if (is_paired(w->c, t))
			j->how.pair_rows = w->c->arch.head_dim;
		/* a bias is a column of rows of one */
		if (j->how.pair_rows && t->nr_dims == 1) {
			j->how.rows = dims[0];
			j->how.cols = 1;
		}
		if (t->nr_dims == 2)
			l->rows = dims[1];
		l->cols = dims[0];
	}
	j->type = gguf_type_named(j->raw ? t->type
					 : weight_formats[j->how.to].name);
	if (!j->type || t->nr_dims < 1 || t->nr_dims > GGUF_MAX_DIMS)
		return err_set(w->err, -ENOTSUP,
			       "%s: %s is %s of %u dimensions, which a GGUF "
			       "file cannot hold",
			       w->c->tensors.path, t->name, t->type,
			       t->nr_dims);
	l->to = j->type->name;
	l->bytes = l->numbers / j->type->block * j->type->block_bytes;
	j->offset =
		gguf_out_tensor(&w->out, l->name, t->nr_dims, dims, j->type);
	w->nr++;
	return 0;
}

static void add_divisors(struct work *w)
{
	uint64_t n = w->c->tensors.gguf
			     ? 0
			     : arch_out_divisors(&w->c->arch, w->divisor);
	struct job *j = &w->job[w->nr];
	struct quantize_line *l = &w->line[w->nr];

	if (!n)
		return;
	j->type = gguf_type_named("F32");
	*l = (struct quantize_line){ .from = "F32",
				     .to = "F32",
				     .cols = n,
				     .numbers = n,
				     .bytes = 4 * n };
	strcpy(l->name, "rope_freqs.weight");
	j->offset = gguf_out_tensor(&w->out, l->name, 1, &n, j->type);
	w->nr++;
}

static int add_jobs(struct work *w)
{
	const struct tensors *t = &w->c->tensors;
	const struct tensor **order = calloc(t->nr + 1, sizeof(*order));
	int ret = 0;

	w->job = calloc(t->nr + 1, sizeof(*w->job));
	w->line = calloc(t->nr + 1, sizeof(*w->line));
	if (!order || !w->job || !w->line)
		ret = err_set(w->err, -ENOMEM, "%s: no memory", t->path);
	else
		add_divisors(w);
	for (uint32_t i = 0; i < t->nr && !ret; i++)
		order[i] = &t->v[i];
	if (!ret)
		qsort(order, t->nr, sizeof(*order), by_rank);
	for (uint32_t i = 0; i < t->nr && !ret; i++)
		if (!is_dropped(w->c, order[i]))
			ret = add_job(w, order[i]);
	free(order);
	return ret;
}

/* ---- the head */

static uint32_t file_type(enum weight_type type)
{
	/* llama.cpp's llama_ftype; of K types the small ("S") mixture */
	static const uint32_t of[NR_WEIGHT_TYPES] = {
		[WEIGHT_F32] = 0,   [WEIGHT_F16] = 1,	  [WEIGHT_BF16] = 32,
		[WEIGHT_Q8_0] = 7,  [WEIGHT_Q4_0] = 2,	  [WEIGHT_Q4_1] = 3,
		[WEIGHT_Q5_0] = 8,  [WEIGHT_Q5_1] = 9,	  [WEIGHT_Q2_K] = 10,
		[WEIGHT_Q3_K] = 11, [WEIGHT_Q4_K] = 14,	  [WEIGHT_Q5_K] = 16,
		[WEIGHT_Q6_K] = 18, [WEIGHT_IQ4_NL] = 25, [WEIGHT_MXFP4] = 38,
	};

	return of[type];
}

/* "d/Qwen3-0.6B/" is "Qwen3-0.6B". */
static void put_name(struct gguf_out *out, const char *in)
{
	char *real = realpath(in, NULL);
	const char *slash = real ? strrchr(real, '/') : NULL;

	gguf_out_str(out, "general.name",
		     slash && slash[1] ? slash + 1 : "model");
	free(real);
}

static int put_values(struct work *w, const char *in, char no_text[240])
{
	const struct checkpoint *c = w->c;
	const struct gguf *g = c->tensors.gguf;
	struct err local = { 0 };
	int ret = 0;

	if (g) {
		/* all it says, but for what is about this file's form */
		for (uint32_t i = 0; i < g->nr_values; i++) {
			const char *k = g->values[i].key;

			if (strcmp(k, "general.alignment") &&
			    strcmp(k, "general.file_type") &&
			    strcmp(k, "general.quantization_version") &&
			    strncmp(k, "split.", 6))
				gguf_out_copy(&w->out, &g->values[i]);
		}
	} else {
		ret = arch_out(&w->out, &c->arch, &c->generation, w->err);
		if (ret)
			return ret;
		put_name(&w->out, in);
		ret = vocab_out(&w->out, in, c->arch.vocab, &local);
		if (ret == -ENOTSUP)
			snprintf(no_text, 240, "%s", local.text);
		else if (ret)
			return err_set(w->err, ret, "%s", local.text);
	}
	gguf_out_u32(&w->out, "general.file_type", file_type(w->opt->type));
	gguf_out_u32(&w->out, "general.quantization_version", 2);
	return 0;
}

/* ---- the data */

static int write_at(struct work *w, uint64_t at, const void *data, size_t size)
{
	const uint8_t *p = data;

	while (size) {
		ssize_t n = pwrite(w->fd, p, size, (off_t)at);
		int ret = -errno;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(w->err, n ? ret : -EIO, "writing: %s",
				       n ? strerror(-ret) : "no progress");
		p += n;
		at += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

static void tell(struct work *w, uint64_t bytes, const char *name)
{
	w->done += bytes;
	if (w->opt->progress)
		w->opt->progress(w->opt->progress_arg, w->done,
				 w->c->tensors.size, name);
}

static int write_rows(struct work *w, const struct job *j,
		      struct quantize_line *l)
{
	size_t from = weight_row_bytes(j->how.from, (uint32_t)j->how.cols);
	size_t to = weight_row_bytes(j->how.to, (uint32_t)j->how.cols);
	struct rows_error e = { 0 };
	uint64_t n;
	int ret;

	for (uint64_t row = 0; row < j->how.rows; row += n) {
		const void *made;

		n = rows_fit(&w->rows, &j->how);
		if (n > j->how.rows - row)
			n = j->how.rows - row;
		ret = rows_convert(&w->rows, &j->how, row, n, &made, &e);
		if (ret)
			return err_set(w->err, ret, "%s: %s has %s as %s",
				       w->c->tensors.path, j->src->name,
				       ret == -EDOM
					       ? "a number that is not finite"
					       : "rows over 2^20 numbers",
				       l->to);
		ret = write_at(w, w->head_size + j->offset + row * to, made,
			       n * to);
		if (ret)
			return ret;
		tell(w, n * from, l->name);
	}
	l->rms = rows_rms(&e);
	l->worst = e.worst;
	return 0;
}

static int write_all(struct work *w)
{
	uint8_t *head;
	size_t size;
	int ret = gguf_out_head(&w->out, &head, &size, w->err);

	if (ret)
		return ret;
	w->head_size = size;
	ret = write_at(w, 0, head, size);
	free(head);
	for (uint32_t i = 0; i < w->nr && !ret; i++) {
		const struct job *j = &w->job[i];
		uint64_t at = w->head_size + j->offset;

		if (!j->src) {
			ret = write_at(w, at, w->divisor, w->line[i].bytes);
		} else if (j->raw) {
			ret = write_at(w, at, j->src->data, j->src->size);
			tell(w, j->src->size, w->line[i].name);
		} else {
			ret = write_rows(w, j, &w->line[i]);
		}
		if (j->src)
			tensors_done(j->src);
	}
	/* the padding behind the last tensor too */
	if (!ret && ftruncate(w->fd, (off_t)(w->head_size + w->out.data_size)))
		ret = err_set(w->err, -errno, "writing: %s", strerror(errno));
	if (!ret && fsync(w->fd) && errno != EINVAL && errno != EROFS)
		ret = err_set(w->err, -errno, "writing: %s", strerror(errno));
	return ret;
}

/* Write beside @out, then let it appear. */
static int write_file(struct work *w, const char *out)
{
	struct err why = { 0 }, *err = w->err;
	char *part;
	int ret;

	if (asprintf(&part, "%s.part-%d", out, (int)getpid()) < 0)
		return err_set(err, -ENOMEM, "%s: no memory", out);
	w->fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (w->fd < 0) {
		ret = err_set(err, -errno, "%s: %s", part, strerror(errno));
		free(part);
		return ret;
	}
	w->err = &why;
	ret = write_all(w);
	if (ret)
		/* with the file's name where writing failed */
		err_set(err, ret, "%s%s%s",
			!strncmp(why.text, "writing", 7) ? out : "",
			!strncmp(why.text, "writing", 7) ? ": " : "", why.text);
	close(w->fd);
	if (!ret && rename(part, out))
		ret = err_set(err, -errno, "%s: %s", out, strerror(errno));
	if (ret)
		unlink(part);
	free(part);
	return ret;
}

int quantize(const struct quantize_options *opt, const struct checkpoint *c,
	     const char *in, const char *out,
	     struct quantize_report *ret_report, struct err *err)
{
	struct work w = { .opt = opt, .c = c, .err = err };
	struct quantize_report r = { 0 };
	char text[64];
	int ret;

	if (c->arch.quant.form != QUANT_NONE)
		return err_set(err, -ENOTSUP,
			       "%s: its weights are quantized already (%s)", in,
			       quant_text(&c->arch.quant, text));
	if ((ret = rows_init(&w.rows, opt->threads, err)))
		return ret;
	if (!(ret = add_jobs(&w)) && !(ret = put_values(&w, in, r.no_text)))
		ret = write_file(&w, out);
	r.line = w.line;
	r.nr = w.nr;
	r.file_bytes = w.head_size + w.out.data_size;
	if (ret)
		quantize_free(&r);
	else
		*ret_report = r;
	rows_deinit(&w.rows);
	gguf_out_deinit(&w.out);
	free(w.job);
	return ret;
}

void quantize_free(struct quantize_report *r)
{
	free(r->line);
	memset(r, 0, sizeof(*r));
}
