/* SPDX-License-Identifier: MIT */
/*
 * null.h - the function that the null backend is.
 *
 * No model, no weights, no KV: a token is a fixed function of the request's
 * seed, of its prompt and of the token's place in the output, so that a test
 * (the torture's checker, a client process) can recompute every token, its
 * text and its log probability without asking the engine.  It looks at no
 * other request and at nothing a step decides: what I4 asks of a model.
 *
 * Of the prompt the function sees the length and four ids (first, last, and
 * the ends of the thirds): enough to notice another stream's prompt, and a
 * constant few nanoseconds however long it is.
 */
#ifndef MODEL_NULL_H
#define MODEL_NULL_H

#include <stdint.h>
#include <string.h>

#define NULL_VOCAB     131072u
#define NULL_EOS       2u /* drawn from output position 4 on, one time in 4,096 */
#define NULL_MAX_PIECE 4u /* bytes of a piece */

/* splitmix64 (Steele, Lea, Flood 2014): a bijection that mixes well. */
static inline uint64_t null_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* What seed and prompt[@len] come to; the same for all tokens of a request. */
static inline uint64_t null_key(uint64_t seed, const uint32_t *prompt,
				uint32_t len)
{
	uint32_t third = len / 3;
	uint64_t k = seed;

	if (len)
		k = null_mix(k ^ ((uint64_t)prompt[0] << 32 | prompt[third])) ^
		    ((uint64_t)prompt[2 * third] << 32 | prompt[len - 1]);
	return null_mix(k ^ (uint64_t)len << 24);
}

/* The token at output position @position (0 is the first after the prompt). */
static inline uint32_t null_token(uint64_t key, uint32_t position)
{
	uint64_t r = null_mix(key + position);
	uint32_t token = (uint32_t)(r % NULL_VOCAB);

	if (position > 3 && r >> 52 == 0)
		return NULL_EOS;
	return token == NULL_EOS ? NULL_EOS + 1 : token;
}

/* Its log probability, in nats; of any token, at any place. */
static inline float null_logprob(uint32_t token)
{
	return -(float)(token & 1023) / 64.0f;
}

/*
 * Its text: 1 to 4 letters out of a to p; none for NULL_EOS.  Always writes
 * all of @buf.
 */
static inline uint32_t null_piece(uint32_t token, uint8_t buf[NULL_MAX_PIECE])
{
	/* four times four bits, each to a byte of its own */
	uint32_t x = token >> 2 & 0xffff;

	x = (x | x << 8) & 0x00ff00ff;
	x = (x | x << 4) & 0x0f0f0f0f;
	x += 0x61616161;
	memcpy(buf, &x, sizeof(x));
	return token == NULL_EOS ? 0 : 1 + (token & 3);
}

#endif
