/* SPDX-License-Identifier: MIT */
/*
 * stream.c - tokens out: read, sleep, end.
 *
 * The reader's order: load-acquire the commit word, then read record, log and
 * text up to its tail, plainly; nothing before the tail changes under the
 * same gen.  The sleeper's order: store the wish, fence, look at the word
 * again, sleep, drain, fence, look (llm.h has the writer's side).
 */
#include "libclient/internal.h"
#include "include/llm_shm.h"

#include <errno.h>
#include <string.h>
#include <time.h>

uint64_t llmc_stream_word(const struct llmc_stream *st)
{
	/* pairs with the engine's store-release of the word */
	uint64_t w = shm_acquire(&st->s->commit[st->slot]);

	return LLM_COMMIT_GEN(w) == st->gen ? w : 0;
}

/* The engine has passed the entry, and the word is not of its gen. */
static bool stream_dropped(const struct llmc_stream *st)
{
	uint32_t head = st->s->carrier->head(st->s);

	return (int32_t)(head - st->ring_pos) >= 0 && !llmc_stream_word(st);
}

bool llmc_stream_idle(const struct llmc_stream *st)
{
	return !st->gen ||
	       LLM_COMMIT_STATE(llmc_stream_word(st)) == LLM_ST_END ||
	       stream_dropped(st);
}

static bool inside(const struct llmc *s, uint64_t off, uint64_t size,
		   uint32_t align)
{
	return off % align == 0 && off <= s->engine_size &&
	       size <= s->engine_size - off;
}

/* The record is there: check once that what it names lies in our mapping. */
static int bind_record(struct llmc_stream *st)
{
	const struct llmc *s = st->s;
	const struct llm_record *r =
		(const void *)(s->base + s->su.off_record +
			       (size_t)st->slot * s->su.record_stride);

	if (st->bound)
		return 0;
	if (!inside(s, r->log_off, (uint64_t)r->log_len * sizeof(*st->log),
		    4) ||
	    !inside(s, r->text_off, r->text_size, 1) ||
	    r->alt_k > LLM_MAX_ALT ||
	    !inside(s, r->alt_off,
		    (uint64_t)r->log_len * r->alt_k * sizeof(*st->alt), 4))
		return llmc_fail(-EPROTO, "a record that points outside");
	st->rec = r;
	st->log = (const void *)(s->base + r->log_off);
	st->text = (const char *)s->base + r->text_off;
	st->alt = r->alt_k ? (const void *)(s->base + r->alt_off) : NULL;
	st->bound = true;
	return 0;
}

/* -EPIPE where nothing more will come, else -EAGAIN. */
static int not_now(const struct llmc *s)
{
	if (s->gone)
		return llmc_fail(-EPIPE, "the service is gone");
	if (shm_load(&s->host->daemon) == LLM_DAEMON_FAILED)
		return llmc_fail(-EPIPE, "the engine failed for good, or the "
					 "session was ended");
	if (shm_load(&s->engine->broken))
		return llmc_fail(-EPIPE, "the service has given this session "
					 "up");
	return -EAGAIN;
}

/*
 * The word as it stands, the record bound.  0; -EAGAIN: not admitted yet;
 * -EINVAL: dropped; -EPIPE: and it never will be.
 */
static int look(struct llmc_stream *st, uint64_t *ret_word)
{
	uint64_t w = llmc_stream_word(st);

	if (!w && stream_dropped(st))
		return llmc_fail(-EINVAL, "the submission was dropped");
	if (!w)
		return not_now(st->s);
	*ret_word = w;
	return bind_record(st);
}

static bool ended(uint64_t w)
{
	return LLM_COMMIT_STATE(w) == LLM_ST_END;
}

static uint32_t tail_of(const struct llmc_stream *st, uint64_t w)
{
	uint32_t tail = LLM_COMMIT_TAIL(w);

	return tail < st->rec->log_len ? tail : st->rec->log_len;
}

/* Text that belongs to the first @tail tokens, bytes. */
static uint32_t text_of(const struct llmc_stream *st, uint32_t tail)
{
	uint32_t n = tail ? st->log[tail - 1].text_end : 0;

	return n < st->rec->text_size ? n : st->rec->text_size;
}

/* Nothing to give: 0 at the end, else as not_now(). */
static int nothing(const struct llmc_stream *st, uint64_t w)
{
	return ended(w) ? 0 : not_now(st->s);
}

ssize_t llmc_read(struct llmc_stream *st, struct llmc_token *tok, size_t nr)
{
	uint32_t tail, from, to, t;
	uint64_t w;
	size_t i;
	int ret = look(st, &w);

	if (ret)
		return ret;
	tail = tail_of(st, w);
	if (st->read >= tail)
		return nothing(st, w);
	for (i = 0; i < nr && st->read < tail; i++) {
		t = st->read++;
		from = text_of(st, t);
		to = text_of(st, t + 1);
		tok[i] = (struct llmc_token){
			.token = st->log[t].token,
			.flags = st->log[t].flags,
			.text = st->text + from,
			.text_len = to > from ? to - from : 0,
			.alt = st->alt ? st->alt + (size_t)t * st->rec->alt_k
				       : NULL,
			.nr_alt = st->alt ? LLM_TOK_NR_ALT(st->log[t].flags)
					  : 0,
		};
		memcpy(&tok[i].logprob, &st->log[t].logprob_bits, 4);
		if (tok[i].nr_alt > st->rec->alt_k)
			tok[i].nr_alt = st->rec->alt_k;
	}
	return (ssize_t)i;
}

ssize_t llmc_prompt(struct llmc_stream *st, const uint32_t **ret_ids)
{
	uint64_t w;
	int ret = look(st, &w);

	if (ret)
		return ret;
	/* a text's ids are stored before RUNNING, the count with them */
	if (LLM_COMMIT_STATE(w) == LLM_ST_QUEUED &&
	    (st->rec->flags & LLM_SQE_F_TEXT))
		return not_now(st->s);
	if (!inside(st->s, st->rec->prompt_off, 4ull * st->rec->prompt_len, 4))
		return llmc_fail(-EPROTO, "a record that points outside");
	*ret_ids = (const void *)(st->s->base + st->rec->prompt_off);
	return st->rec->prompt_len;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* @want tokens are there, or no more will come. */
static bool enough(const struct llmc_stream *st, uint32_t want)
{
	uint64_t w = llmc_stream_word(st);

	return (w && (ended(w) || LLM_COMMIT_TAIL(w) >= want)) ||
	       stream_dropped(st);
}

static uint32_t want_of(const struct llmc_stream *st, uint32_t more)
{
	uint32_t top = LLM_MAX_LOG_TOKENS;

	return more > top - st->read ? top : st->read + more;
}

/* The next arming of @st; a fence must follow, then another look. */
static void store_wish(struct llmc_stream *st, uint32_t want, uint32_t delay_us)
{
	struct llm_wish *h = &st->s->wish[st->slot];

	if (!++st->arm)
		st->arm = 1;
	shm_store(&h->delay_us, delay_us);
	shm_publish(&h->arm_want, (uint64_t)st->arm << 32 | want);
}

int llmc_arm(struct llmc_stream *st, uint32_t more, uint32_t delay_us)
{
	uint32_t want = want_of(st, more);

	store_wish(st, want, delay_us);
	/*
	 * The wish is out before the word is read again; pairs with the fence
	 * between the engine's commits and its look at the wishes.
	 */
	shm_fence();
	return enough(st, want);
}

int llmc_arm_all(struct llmc *s, uint32_t more, uint32_t delay_us)
{
	struct llmc_stream *st, *end = s->streams + s->su.nr_streams;

	for (st = s->streams; st < end; st++)
		if (st->held && !st->seen)
			store_wish(st, want_of(st, more), delay_us);
	shm_fence(); /* as in llmc_arm(), once for all of them */
	for (st = s->streams; st < end; st++)
		if (st->held && !st->seen && enough(st, want_of(st, more)))
			return 1;
	return 0;
}

/*
 * A dropped submission is told by no wake: until it is admitted, look again
 * now and then, ever less often (a model may be loading).
 */
#define LOOK_AGAIN_MS	  20
#define LOOK_AGAIN_MAX_MS 1000

int llmc_wait(struct llmc_stream *st, uint32_t more, int timeout_ms)
{
	uint32_t want = want_of(st, more);
	uint64_t begin = now_ns();
	int again = LOOK_AGAIN_MS;

	for (;;) {
		int left = timeout_ms;
		uint64_t w;
		int ret = look(st, &w);

		if (ret && ret != -EAGAIN)
			return ret;
		if (enough(st, want))
			return 1;
		ret = nothing(st, 0);
		if (ret != -EAGAIN)
			return ret;
		if (timeout_ms >= 0) {
			uint64_t ms = (now_ns() - begin) / 1000000;

			if (ms >= (uint64_t)timeout_ms)
				return 0;
			left = timeout_ms - (int)ms;
		}
		if (llmc_arm(st, more, 0))
			continue;
		if (!llmc_stream_word(st) && (left < 0 || left > again)) {
			left = again;
			again = again < LOOK_AGAIN_MAX_MS ? 2 * again : again;
		}
		/* a failing service closes the connection: -EPIPE next time */
		st->s->carrier->sleep(st->s, left);
	}
}

ssize_t llmc_read_text(struct llmc_stream *st, char *buf, size_t size,
		       int timeout_ms)
{
	uint64_t begin = now_ns();

	if (!size)
		return llmc_fail(-EINVAL, "a buffer of 0 bytes");
	for (;;) {
		uint32_t n, end = 0;
		uint64_t w;
		int left = timeout_ms, ret = look(st, &w);

		if (ret && ret != -EAGAIN)
			return ret;
		if (!ret) {
			st->read = tail_of(st, w);
			end = text_of(st, st->read);
		}
		if (end > st->text_read) {
			n = end - st->text_read;
			if (n > size) {
				n = (uint32_t)size;
				while (n && (st->text[st->text_read + n] &
					     0xc0) == 0x80)
					n--;
				if (!n)
					n = (uint32_t)size;
			}
			memcpy(buf, st->text + st->text_read, n);
			st->text_read += n;
			return n;
		}
		if (!ret) {
			ret = nothing(st, w);
			if (ret != -EAGAIN)
				return ret;
		}
		if (timeout_ms >= 0) {
			uint64_t ms = (now_ns() - begin) / 1000000;

			if (ms >= (uint64_t)timeout_ms)
				return -EAGAIN;
			left = timeout_ms - (int)ms;
		}
		ret = llmc_wait(st, 1, left);
		if (ret < 0)
			return ret;
	}
}

int llmc_result(struct llmc_stream *st, struct llmc_result *ret)
{
	const struct llm_record *r;
	uint64_t w;
	int e = look(st, &w);

	if (e)
		return e;
	if (!ended(w)) {
		e = nothing(st, w);
		return e;
	}
	r = st->rec;
	*ret = (struct llmc_result){
		.size = LLMC_RESULT_SIZE,
		.end = LLM_COMMIT_END(w),
		.detail = r->detail,
		.stop_index = r->stop_index,
		.error = r->error,
		.prompt_tokens = r->prompt_len,
		.cached_tokens = r->cached_tokens,
		.completion_tokens = LLM_COMMIT_TAIL(w),
		.seed = r->seed,
	};
	if (ret->end == LLM_END_REFUSED || ret->end == LLM_END_ERROR)
		memcpy(ret->why, r->why, sizeof(ret->why) - 1);
	st->seen = true;
	return 0;
}

const char *llmc_end_name(uint32_t end)
{
	static const char *const name[] = {
		[LLM_END_NONE] = "none",
		[LLM_END_STOP] = "stop",
		[LLM_END_LENGTH] = "length",
		[LLM_END_CANCELLED] = "cancelled",
		[LLM_END_REFUSED] = "refused",
		[LLM_END_ERROR] = "error",
		[LLM_END_DEADLINE] = "deadline",
	};

	return end < sizeof(name) / sizeof(*name) ? name[end] : "unknown";
}

void llmc_cancel(struct llmc_stream *st)
{
	/* idempotent, and still there to be read after a crash */
	shm_store(&st->s->wish[st->slot].cancel_gen, (uint64_t)st->gen);
	st->s->carrier->cancel(st->s);
}

void llmc_release(struct llmc_stream *st)
{
	if (!st || !st->held)
		return;
	if (!llmc_stream_idle(st))
		llmc_cancel(st);
	st->held = false;
}

uint64_t llmc_user_data(const struct llmc_stream *st)
{
	return st->user_data;
}

struct llmc_stream *llmc_next(struct llmc *s, struct llmc_stream *prev)
{
	uint32_t i = prev ? prev->slot + 1 : 0;

	for (; i < s->su.nr_streams; i++) {
		struct llmc_stream *st = &s->streams[i];
		uint64_t w;

		if (!st->held || st->seen)
			continue;
		w = llmc_stream_word(st);
		if ((w && (ended(w) || LLM_COMMIT_TAIL(w) > st->read)) ||
		    stream_dropped(st))
			return st;
	}
	return NULL;
}
