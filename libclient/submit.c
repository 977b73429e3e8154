/* SPDX-License-Identifier: MIT */
/*
 * submit.c - prompts in: arena room, an entry, the tail, the bell.
 *
 * Arena room is a ring in order of submission: an entry's room is free once
 * the engine has passed the entry.  gens count up a slot, from 1.
 *
 * The device may refuse an entry (a quota, a full queue of the kernel's): it
 * is taken out of the ring again and the call fails, as if it had not been.
 * It is not left there for the next bell: nobody else would ring one.
 */
#include "libclient/internal.h"
#include "include/llm_shm.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* Take back the room of entries that the engine has passed. */
static void reclaim(struct llmc *s)
{
	uint32_t head = s->carrier->head(s);

	for (; (int32_t)(head - s->freed) > 0 && s->freed != s->tail;
	     s->freed++)
		s->arena_tail = s->entry[s->freed % s->su.sq_entries].arena_end;
	/* nothing is in flight: begin anew, so that a large prompt fits whole */
	if (s->freed == s->tail)
		s->arena_head = s->arena_tail = 0;
}

/*
 * @size bytes, 8-aligned, in one piece: 0 and their place, counted as
 * arena_head is; -EAGAIN.  Room that would cross the end begins anew at 0.
 */
static int find_room(const struct llmc *s, uint64_t size, uint64_t *ret_at)
{
	uint64_t arena = s->su.arena_size;
	uint64_t at = (s->arena_head + 7) & ~7ull;

	if (at % arena + size > arena)
		at += arena - at % arena;
	if (at + size - s->arena_tail > arena)
		return -EAGAIN;
	*ret_at = at;
	return 0;
}

static struct llmc_stream *find_slot(struct llmc *s)
{
	uint32_t i;

	for (i = 0; i < s->su.nr_streams; i++) {
		struct llmc_stream *st =
			&s->streams[(s->next_slot + i) % s->su.nr_streams];

		if (st->held || !llmc_stream_idle(st))
			continue;
		s->next_slot = (st->slot + 1) % s->su.nr_streams;
		return st;
	}
	return NULL;
}

/* Everything that can be told without the service. */
static int check(const struct llmc *s, const struct llmc_request *req)
{
	static const uint32_t own = LLM_SQE_F_TEXT | LLM_SQE_F_DEFAULT_MAX;

	if (s->gone)
		return llmc_fail(-EPIPE, "the service is gone");
	if (shm_load(&s->host->daemon) == LLM_DAEMON_FAILED)
		return llmc_fail(-EPIPE, "the engine failed for good, or the "
					 "session was ended");
	if (req->flags & own)
		return llmc_fail(-EINVAL, "flags 0x%x are the library's own",
				 req->flags & own);
	if (req->op != LLM_OP_PING && !req->text && !req->ids)
		return llmc_fail(-EINVAL, "neither text nor ids");
	if (req->nr_ids > LLM_MAX_ARENA_BYTES / 4 ||
	    req->text_len > LLM_MAX_ARENA_BYTES)
		return llmc_fail(-EMSGSIZE, "a prompt over %u bytes",
				 LLM_MAX_ARENA_BYTES);
	return llmc_params_check(req);
}

static uint64_t deadline(uint32_t ms)
{
	struct timespec t;

	if (!ms)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec +
	       ms * 1000000ull;
}

/* The entry for @st, its prompt and params at @room. */
static struct llm_sqe entry(const struct llmc_stream *st,
			    const struct llmc_request *req, uint64_t room,
			    size_t params, size_t prompt)
{
	bool makes = !req->op || req->op == LLM_OP_GENERATE;

	return (struct llm_sqe){
		.op = (uint8_t)(req->op ? req->op : LLM_OP_GENERATE),
		.class_ = (uint8_t)req->class_,
		.stream = (uint16_t)st->slot,
		.gen = st->gen,
		.user_data = req->user_data,
		.flags =
			req->flags | (req->text ? LLM_SQE_F_TEXT : 0) |
			(makes && !req->max_tokens ? LLM_SQE_F_DEFAULT_MAX : 0),
		.max_tokens = req->max_tokens,
		.off = prompt ? (uint32_t)(room + ((params + 7) & ~7ul)) : 0,
		.len = (uint32_t)prompt,
		.params_off = params ? (uint32_t)room : 0,
		.params_len = (uint32_t)params,
		.deadline_ns = deadline(req->deadline_ms),
	};
}

/* @params and @prompt bytes of @req into the arena, at @room. */
static void fill_arena(struct llmc *s, const struct llmc_request *req,
		       uint64_t room, size_t params, size_t prompt)
{
	if (params)
		llmc_params_write(req, s->arena + room, params);
	if (prompt)
		memcpy(s->arena + room + ((params + 7) & ~7ul),
		       req->text ? (const void *)req->text : req->ids, prompt);
}

/* A new use of @st begins. */
static void begin_gen(struct llmc_stream *st, uint64_t user_data)
{
	if (!++st->gen)
		st->gen = 1;
	st->read = st->text_read = 0;
	st->seen = st->bound = false;
	st->held = true;
	st->user_data = user_data;
}

/*
 * Entry, place and gen are set; ring it in.  Where that is refused nothing of
 * it remains: @before is the stream as it was.
 */
static int ring_in(struct llmc *s, struct llmc_stream *st,
		   const struct llmc_stream *before, uint64_t arena_head)
{
	struct llmc_entry *e = &s->entry[s->tail % s->su.sq_entries];
	uint64_t old_head = s->arena_head;
	int ret;

	s->arena_head = arena_head;
	*e = (struct llmc_entry){ arena_head, st->slot, st->gen };
	st->ring_pos = ++s->tail;
	/* entry, prompt and params before it; who takes it acquires it */
	shm_publish(&s->ctl->sq_tail, s->tail);
	ret = s->carrier->submit(s);
	if (!ret)
		return 0;
	shm_publish(&s->ctl->sq_tail, --s->tail);
	s->arena_head = old_head;
	*st = *before;
	return ret;
}

int llmc_submit(struct llmc *s, const struct llmc_request *request,
		struct llmc_stream **ret_stream)
{
	struct llmc_request req;
	size_t prompt, params, size;
	struct llmc_stream *st, before;
	uint64_t at = 0, room;
	int ret;

	ret = llmc_take_struct(&req, sizeof(req), request, "llmc_request");
	if (!ret)
		ret = check(s, &req);
	if (ret)
		return ret;
	prompt = req.text ? (req.text_len ? req.text_len : strlen(req.text))
			  : req.nr_ids * 4;
	params = req.op == LLM_OP_PING ? 0 : llmc_params_size(&req);
	size = ((params + 7) & ~7ul) + ((prompt + 7) & ~7ul);
	if (size > s->su.arena_size)
		return llmc_fail(-EMSGSIZE,
				 "a prompt of %zu bytes, the arena has %llu",
				 prompt, (unsigned long long)s->su.arena_size);
	reclaim(s);
	if (s->tail - s->freed >= s->su.sq_entries)
		return llmc_fail(-EAGAIN, "%u submissions wait to be taken",
				 s->su.sq_entries);
	if (size && find_room(s, size, &at))
		return llmc_fail(-EAGAIN, "the arena is full");
	st = find_slot(s);
	if (!st)
		return llmc_fail(-EAGAIN, "all %u streams are in use",
				 s->su.nr_streams);
	room = at % s->su.arena_size;
	fill_arena(s, &req, room, params, prompt);
	before = *st;
	begin_gen(st, req.user_data);
	s->sqe[s->tail % s->su.sq_entries] =
		entry(st, &req, room, params, prompt);
	ret = ring_in(s, st, &before, size ? at + size : s->arena_head);
	if (!ret)
		*ret_stream = st;
	return ret;
}
