// SPDX-License-Identifier: GPL-2.0-only
/*
 * text.c - see text.h.
 *
 * The kernel is an ordinary client here: it stores a wish, has a full fence, looks
 * at the commit word, sleeps on the session's queue until WAKE.  Nothing in ENGINE
 * is believed: every offset is checked against the area before it is used.
 */
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/wait.h>

#include "area.h"
#include "ring.h"
#include "session.h"
#include "submit.h"
#include "text.h"

#define LLM_TEXT_PROMPT	65536u		/* bytes of a prompt, at most */
#define LLM_TEXT_LOG	(8ull << 20)	/* room for prompt, log and text; lazily there */

struct llm_text {
	spinlock_t lock;	/* below all others; guards what follows */
	u32 gen;		/* of the turn; 0 = nothing was asked */
	u32 pos;		/* bytes of its text that were read */
	u32 arm, want;		/* the wish as it stands */
};

/* Where the turn stands, as far as ENGINE can be believed. */
struct llm_answer {
	u32 gen;
	u32 tail;		/* tokens */
	u32 pos, end;		/* bytes: read, committed */
	u64 off;		/* of the text, in ENGINE */
	bool over;
	int error;		/* negative errno; counts once all was read */
};

static u64 llm_text_word(struct llm_session *s)
{
	/* pairs with the daemon's release: what is before tail was stored before */
	return smp_load_acquire((u64 *)llm_area_at(&s->area[LLM_AREA_ENGINE], s->lay.off_commit));
}

static bool llm_text_inside(const struct llm_session *s, u64 off, u64 size)
{
	u64 area = s->lay.area_size[LLM_AREA_ENGINE];

	return off <= area && size <= area - off;
}

static int llm_text_error(u32 end, u32 error)
{
	switch (end) {
	case LLM_END_STOP:
	case LLM_END_LENGTH:
		return 0;
	case LLM_END_CANCELLED:
		return -ECANCELED;
	case LLM_END_DEADLINE:
		return -ETIME;
	default:
		/* no code that means something to the kernel itself */
		return error && error <= EHWPOISON ? -(int)error : -EIO;
	}
}

/* Bytes of text behind token @tail - 1, into @turn; false: nonsense. */
static bool llm_text_end(struct llm_session *s, const struct llm_record *rec, struct llm_answer *turn)
{
	u64 log_off = READ_ONCE(rec->log_off), text_off = READ_ONCE(rec->text_off);
	u32 text_size = READ_ONCE(rec->text_size);
	const struct llm_tok *tok;

	if (!turn->tail)
		return true;
	if (log_off % sizeof(*tok) ||
	    !llm_text_inside(s, log_off, (u64)turn->tail * sizeof(*tok)) ||
	    !llm_text_inside(s, text_off, text_size))
		return false;
	tok = llm_area_at(&s->area[LLM_AREA_ENGINE], log_off + (turn->tail - 1) * sizeof(*tok));
	turn->off = text_off;
	turn->end = tok ? READ_ONCE(tok->text_end) : 0;
	return turn->end <= text_size;
}

/* text->lock */
static void llm_text_look(struct llm_session *s, struct llm_answer *turn)
{
	u64 word = llm_text_word(s);
	struct llm_record *rec;

	lockdep_assert_held(&s->text->lock);
	*turn = (struct llm_answer){ .gen = s->text->gen, .pos = s->text->pos };
	if (!turn->gen)
		turn->over = true;
	if (!turn->gen || LLM_COMMIT_GEN(word) != turn->gen)
		return;			/* nothing asked, or not admitted yet */
	rec = llm_area_at(&s->area[LLM_AREA_ENGINE], s->lay.off_record);
	turn->tail = LLM_COMMIT_TAIL(word);
	turn->over = LLM_COMMIT_STATE(word) == LLM_ST_END;
	if (!llm_text_end(s, rec, turn)) {
		turn->end = 0;
		turn->over = true;
		turn->error = -EIO;
	} else if (turn->over) {
		turn->error = llm_text_error(LLM_COMMIT_END(word), READ_ONCE(rec->error));
	}
	turn->end = max(turn->end, turn->pos);
}

/* text->lock.  Wish for the next token, then look again. */
static void llm_text_arm(struct llm_session *s, struct llm_answer *turn)
{
	struct llm_wish *wish = llm_area_at(&s->area[LLM_AREA_CLIENT], s->lay.off_wish);
	u32 want = turn->tail + 1;

	lockdep_assert_held(&s->text->lock);
	/* a wish that is replaced was met, by what we saw: who slept on it looks again */
	if (want > s->text->want)
		wake_up_interruptible(&s->wq);
	s->text->want = want;
	if (!++s->text->arm)
		s->text->arm = 1;
	WRITE_ONCE(wish->arm_want, (u64)s->text->arm << 32 | want);
	/* the wish before the word; pairs with the daemon's fence between the two */
	smp_mb();
	llm_text_look(s, turn);
}

static void llm_text_state(struct llm_session *s, struct llm_answer *turn)
{
	spin_lock(&s->text->lock);
	llm_text_look(s, turn);
	if (!turn->over && turn->end == turn->pos)
		llm_text_arm(s, turn);
	spin_unlock(&s->text->lock);
}

/* More than @seen: in tokens, or over, or another turn. */
static bool llm_text_moved(struct llm_session *s, const struct llm_answer *seen)
{
	u64 word = llm_text_word(s);

	if (READ_ONCE(s->killed) || READ_ONCE(s->text->gen) != seen->gen)
		return true;
	return LLM_COMMIT_GEN(word) == seen->gen &&
	       (LLM_COMMIT_TAIL(word) != seen->tail || LLM_COMMIT_STATE(word) == LLM_ST_END);
}

static int llm_text_sleep(struct llm_session *s, const struct llm_answer *seen, bool nonblock)
{
	if (nonblock)
		return -EAGAIN;
	return wait_event_interruptible(s->wq, llm_text_moved(s, seen));
}

/* ---- writing */

/* s->setup.  Make the session of a fresh descriptor. */
static int llm_text_begin(struct llm_session *s)
{
	struct llm_setup setup = {
		.abi = LLM_ABI_VERSION,
		.features = LLM_FEAT_READWRITE,
		.sq_entries = 2,
		.nr_streams = 1,
		.arena_size = LLM_TEXT_PROMPT,
		.log_size = LLM_TEXT_LOG,
	};
	int err;

	lockdep_assert_held(&s->setup);
	if (llm_session_ready(s))
		return s->text ? llm_session_usable(s) : -EINVAL;
	s->text = kzalloc(sizeof(*s->text), GFP_KERNEL_ACCOUNT);
	if (!s->text)
		return -ENOMEM;
	spin_lock_init(&s->text->lock);
	err = llm_session_setup(s, &setup);
	if (err) {
		kfree(s->text);
		s->text = NULL;
		return err;
	}
	llm_session_publish(s);
	llm_ring_opened(s);
	return 0;
}

static int llm_text_fill(struct llm_session *s, struct iov_iter *from, size_t len)
{
	size_t off, part;
	void *to;

	for (off = 0; off < len; off += part) {
		part = min_t(size_t, len - off, PAGE_SIZE);
		to = llm_area_make(&s->area[LLM_AREA_ARENA], off);
		if (!to)
			return -ENOMEM;
		if (!copy_from_iter_full(to, part, from))
			return -EFAULT;
	}
	return 0;
}

/* s->setup; the last turn is over, so slot and arena are free. */
static int llm_text_submit(struct llm_session *s, size_t len)
{
	u32 gen = s->text->gen + 1 ?: 1;
	struct llm_sqe sqe = {
		.op = LLM_OP_GENERATE,
		.flags = LLM_SQE_F_TEXT | LLM_SQE_F_CHAT | LLM_SQE_F_DEFAULT_MAX,
		.gen = gen,
		.len = len,
	};
	int err = llm_submit_one(s, &sqe);

	if (err < 0)
		return err;
	spin_lock(&s->text->lock);
	WRITE_ONCE(s->text->gen, gen);
	s->text->pos = 0;
	s->text->want = 0;
	spin_unlock(&s->text->lock);
	wake_up_interruptible(&s->wq);	/* who waited for the last turn */
	return 0;
}

/* s->setup.  Until the answer that is being made is complete. */
static int llm_text_turn_end(struct llm_session *s, bool nonblock)
{
	struct llm_answer turn;
	int err;

	for (;;) {
		spin_lock(&s->text->lock);
		llm_text_look(s, &turn);
		if (!turn.over)
			llm_text_arm(s, &turn);
		spin_unlock(&s->text->lock);
		if (turn.over)
			return 0;
		err = llm_text_sleep(s, &turn, nonblock);
		if (err)
			return err;
		if (READ_ONCE(s->killed))
			return -ESHUTDOWN;
	}
}

ssize_t llm_text_write(struct llm_session *s, struct iov_iter *from, bool nonblock)
{
	size_t len = iov_iter_count(from);
	int err;

	if (!len)
		return 0;
	if (len > LLM_TEXT_PROMPT)
		return -EMSGSIZE;
	if (nonblock) {
		if (!mutex_trylock(&s->setup))
			return -EAGAIN;
	} else if (mutex_lock_interruptible(&s->setup)) {
		return -ERESTARTSYS;
	}
	err = llm_text_begin(s);
	if (!err)
		err = llm_text_turn_end(s, nonblock);
	if (!err)
		err = llm_text_fill(s, from, len);
	if (!err)
		err = llm_text_submit(s, len);
	mutex_unlock(&s->setup);
	return err ?: len;
}

/* ---- reading */

/* Bytes [pos, pos + len) of the text at @off.  Pages nobody touched read as zeroes. */
static size_t llm_text_copy(struct llm_session *s, u64 off, size_t len, struct iov_iter *to)
{
	size_t done = 0, part, n;
	void *from;

	while (done < len) {
		part = min_t(size_t, len - done, PAGE_SIZE - offset_in_page(off + done));
		from = llm_area_at(&s->area[LLM_AREA_ENGINE], off + done);
		n = from ? copy_to_iter(from, part, to) : iov_iter_zero(part, to);
		done += n;
		if (n < part)
			break;
	}
	return done;
}

/* Claim up to @len bytes, copy them, give back what did not get out. */
static ssize_t llm_text_read_some(struct llm_session *s, struct llm_answer *turn,
				  struct iov_iter *to)
{
	size_t len, done;

	spin_lock(&s->text->lock);
	llm_text_look(s, turn);
	len = min_t(size_t, turn->end - turn->pos, iov_iter_count(to));
	s->text->pos += len;
	spin_unlock(&s->text->lock);
	if (!len)
		return 0;
	done = llm_text_copy(s, turn->off + turn->pos, len, to);
	if (done < len) {
		spin_lock(&s->text->lock);
		if (s->text->gen == turn->gen && s->text->pos == turn->pos + len)
			s->text->pos -= len - done;
		spin_unlock(&s->text->lock);
	}
	return done ?: -EFAULT;
}

ssize_t llm_text_read(struct llm_session *s, struct iov_iter *to, bool nonblock)
{
	struct llm_answer turn;
	ssize_t n;
	int err;

	if (!llm_session_ready(s))
		return 0;		/* nothing was asked */
	if (!s->text)
		return -EINVAL;
	if (!iov_iter_count(to))
		return 0;
	for (;;) {
		err = llm_session_usable(s);
		if (err)
			return err;
		llm_text_state(s, &turn);
		if (turn.end > turn.pos) {
			n = llm_text_read_some(s, &turn, to);
			if (n)		/* 0: another reader was faster */
				return n;
			continue;
		}
		if (turn.over)
			return turn.error;
		err = llm_text_sleep(s, &turn, nonblock);
		if (err)
			return err;
	}
}

__poll_t llm_text_poll(struct llm_session *s)
{
	struct llm_answer turn;
	__poll_t mask = 0;

	llm_text_state(s, &turn);
	if (turn.end > turn.pos || (turn.over && turn.gen))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (turn.over)
		mask |= EPOLLOUT | EPOLLWRNORM;
	return mask;
}
