/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/agree.h"

#include "kernels/cuda/agree_attention.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/pack.h"
#include "kernels/cuda/place.h"
#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

#define ROWS	40  /* no multiple of a tile */
#define COLS	256 /* two groups of int4 */
#define TOKENS	60
#define ANSWERS 3 /* of few; of many in tiles of 128 and of 256 tokens */

/* A sum of bf16, of f16, and one that is folded. */
static const struct agree_form {
	enum cuda_form form;
	int bits;
} forms[] = {
	{ CUDA_W_BF16, 16 },
	{ CUDA_W_F16, 16 },
	{ CUDA_W_INT4, 4 },
};

#define NR_FORMS (sizeof(forms) / sizeof(*forms))

/* What is multiplied, of each form. */
struct agree_inputs {
	char *w;
	float *scale;
	uint16_t *x;
};

typedef float agree_answer[TOKENS][ROWS];

/* Memory of agree()'s own stream on the device: pinned, and there. */
struct agree {
	struct device *device; /* borrowed */
	char *host, *dev;      /* of a walk (place.h) each */
	agree_answer (*host_y)[ANSWERS], (*dev_y)[ANSWERS];
};

#define ANSWER_BYTES (NR_FORMS * ANSWERS * sizeof(agree_answer))

/* How much room the walk takes; NULL counts. */
static size_t place(char *base, struct agree_inputs ret[NR_FORMS])
{
	struct place p = { .base = base };

	for (size_t i = 0; i < NR_FORMS; i++) {
		ret[i].w = place_take(&p, pack_bytes(CUDA_W_BF16, ROWS, COLS));
		ret[i].scale =
			place_take(&p, pack_scales(CUDA_W_INT4, ROWS, COLS) *
					       sizeof(*ret->scale));
		ret[i].x =
			place_take(&p, (size_t)TOKENS * COLS * sizeof(*ret->x));
	}
	return p.used;
}

/* ---- numbers ---- */

static uint32_t noise(uint32_t i)
{
	uint64_t z = i * 0x9e3779b97f4a7c15ull + 0x632be59bd9b4e019ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)(z >> 32);
}

/* A number of 16 bits, of any size from 2^-6 to 2^7. */
static uint16_t number(enum cuda_form form, uint32_t i)
{
	uint32_t u = noise(i), exponent = u >> 16 & 15, sign = u & 0x8000;

	exponent = exponent > 13 ? 7 : exponent;
	if (form == CUDA_W_F16)
		return (uint16_t)(sign | (9 + exponent) << 10 | (u & 1023));
	return (uint16_t)(sign | (121 + exponent) << 7 | (u & 127));
}

/*
 * The weights of each second stage are those of the one before, and tokens
 * there are nearly the same with the other sign.
 */
static void fill(const struct agree_form *f, const struct agree_inputs *at)
{
	size_t stage = (size_t)f->bits * 64; /* of 16 rows, in 16 bits */
	size_t n = pack_bytes(f->form, ROWS, COLS) / 2;
	uint16_t *w = (uint16_t *)(void *)at->w;

	for (size_t i = 0; i < n; i++) {
		uint16_t any = (uint16_t)noise((uint32_t)i);

		if (i / stage % 2)
			w[i] = w[i - stage];
		else
			w[i] = f->bits == 16 ? number(f->form, (uint32_t)i)
					     : any;
	}
	for (size_t i = 0; i < pack_scales(CUDA_W_INT4, ROWS, COLS); i++)
		at->scale[i] =
			0.01f + (float)(noise(~(uint32_t)i) % 1000) / 1e6f;
	for (size_t i = 0; i < (size_t)TOKENS * COLS; i++) {
		uint16_t v = number(f->form, 0x80000000u + (uint32_t)i);

		if (i / LAYOUT_STAGE % 2)
			v = at->x[i - LAYOUT_STAGE] ^ (i % 7 ? 0x8000 : 0x8001);
		at->x[i] = v;
	}
}

/* ---- asking ---- */

/* All answers to the @i-th form.  0 or -EIO */
static int multiply(struct agree *a, size_t i, const struct agree_inputs *at)
{
	struct cuda_gemm_args args = {
		.w = at->w,
		.scale = at->scale,
		.x = at->x,
		.n = ROWS,
		.k = COLS,
		.tokens = TOKENS,
		.form = forms[i].form,
		.out = CUDA_F32,
	};
	void *stream = a->device->stream;
	int ret = 0;

	for (int tile = 0; tile < ANSWERS && !ret; tile++) {
		args.y = a->dev_y[i][tile];
		ret = device_started(a->device,
				     tile ? cuda_gemm_sm90(&args, 128 * tile,
							   stream)
					  : cuda_gemm(&args, stream));
	}
	return ret;
}

/* All inputs there, all answers back. */
static int ask(struct agree *a)
{
	struct agree_inputs here[NR_FORMS], there[NR_FORMS];
	size_t size = place(a->host, here);
	int ret;

	place(a->dev, there);
	for (size_t i = 0; i < NR_FORMS; i++)
		fill(&forms[i], &here[i]);
	ret = device_send(a->device, a->dev, a->host, size);
	for (size_t i = 0; i < NR_FORMS && !ret; i++)
		ret = multiply(a, i, &there[i]);
	if (!ret)
		ret = device_fetch(a->device, a->host_y, a->dev_y,
				   ANSWER_BYTES);
	return ret ? ret : device_wait(a->device);
}

/* An answer that nobody wrote is zero, and not what was asked for. */
static int same(const struct agree *a)
{
	static const agree_answer none;

	for (size_t i = 0; i < NR_FORMS; i++) {
		const agree_answer *y = a->host_y[i];

		if (!memcmp(y[0], none, sizeof(none)))
			return 0;
		for (int tile = 1; tile < ANSWERS; tile++)
			if (memcmp(y[0], y[tile], sizeof(none)))
				return 0;
	}
	return 1;
}

static int take(struct agree *a, struct err *err)
{
	struct agree_inputs count[NR_FORMS];
	size_t size = place(NULL, count);

	a->host = device_take_pinned(a->device, size, err);
	a->host_y = device_take_pinned(a->device, ANSWER_BYTES, err);
	a->dev = device_take(a->device, size, err);
	a->dev_y = device_take(a->device, ANSWER_BYTES, err);
	return a->host && a->host_y && a->dev && a->dev_y ? 0 : -ENOMEM;
}

/* Products by all kernels. */
static int agree_products(struct device *d, int *ret_same, struct err *err)
{
	struct agree a = { .device = d };
	int ret = take(&a, err);

	if (!ret && ask(&a))
		ret = err_set(err, -EIO, "GPU %u: it failed, see the log",
			      d->number);
	if (!ret)
		*ret_same = same(&a);
	return ret;
}

int agree(const struct device *d, struct agreed *ret_agreed, struct err *err)
{
	int products = 0, attention = 0, ret;
	struct device mine;

	*ret_agreed = (struct agreed){ 0 };
	if (d->generation != 90)
		return 0;
	ret = device_open(&mine, d->number, err);
	if (ret)
		return ret;
	ret = agree_products(&mine, &products, err);
	if (!ret)
		ret = agree_attention(&mine, &attention, err);
	device_close(&mine);
	if (ret)
		return ret;
	if (!products || !attention)
		log_warn("GPU %u: wgmma does not give the bits of mma, so long "
			 "prompts do without it (%s)",
			 d->number,
			 products    ? "attention"
			 : attention ? "products"
				     : "products, attention");
	ret_agreed->many = products ? CUDA_GEMM_MANY : 0;
	ret_agreed->attention = attention;
	return 0;
}
