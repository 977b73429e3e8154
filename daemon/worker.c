/* SPDX-License-Identifier: MIT */
#include "daemon/worker.h"
#include "text/chat.h"
#include "text/encode.h"
#include "text/vocab.h"

#include <assert.h>
#include <errno.h>
#include <linux/llm.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum job_state {
	JOB_NONE,
	JOB_QUEUED,  /* in the queue */
	JOB_RUNNING, /* the worker makes its ids, in its own memory */
	JOB_DONE,    /* in the list of the done */
	JOB_TAKEN,   /* the engine reads the result */
};

/* What came of a job; the thread's own until it is put into the table. */
struct outcome {
	int error;
	struct err why;
	struct ids ids; /* owned; kept for the next one */
};

/* All guarded by the lock, but for the outcome of one that is TAKEN. */
struct job {
	enum job_state state;
	uint32_t prev, next; /* in one of the two lists */
	const void *text;
	uint32_t size, flags;
	struct outcome out;
};

#define JOB_NOBODY UINT32_MAX
/* Ids that an array may keep for the next job. */
#define KEEP_IDS 8192u

struct worker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work; /* the queue is not empty, or stop */
	bool stop;	     /* guarded by: lock */
	uint32_t running;    /* guarded by: lock; NOBODY also once dropped */
	uint32_t nr_jobs;
	struct job *jobs; /* owned: [nr_jobs + 2]; the last two head lists */
	void (*kick)(void *arg);
	void *arg;
	/* the thread's own */
	struct encode *encode;
	struct bytes text;
	struct outcome out;
};

/* Heads of the two circular lists. */
static uint32_t queue(const struct worker *w)
{
	return w->nr_jobs;
}

static uint32_t done(const struct worker *w)
{
	return w->nr_jobs + 1;
}

static void list_add(struct worker *w, uint32_t head, uint32_t i)
{
	struct job *j = w->jobs;

	j[i].next = head;
	j[i].prev = j[head].prev;
	j[j[head].prev].next = i;
	j[head].prev = i;
}

static void list_del(struct worker *w, uint32_t i)
{
	struct job *j = w->jobs;

	j[j[i].prev].next = j[i].next;
	j[j[i].next].prev = j[i].prev;
}

/* Under the lock, see worker.h: the worker's copy of the text. */
static int copy_text(struct worker *w, const struct job *j)
{
	int ret;

	if (w->out.ids.cap > KEEP_IDS)
		ids_free(&w->out.ids);
	w->out.ids.nr = 0;
	w->text.nr = 0;
	ret = bytes_add(&w->text, j->text, j->size);
	if (ret)
		err_set(&w->out.why, ret, "no memory for a prompt of %u bytes",
			j->size);
	return ret;
}

/* Without the lock, on the thread's own memory. */
static int tokenize(struct worker *w, uint32_t sqe_flags)
{
	unsigned flags = 0;

	if (sqe_flags & LLM_SQE_F_SPECIAL)
		flags |= ENCODE_SPECIAL;
	if (!(sqe_flags & LLM_SQE_F_NO_BOS))
		flags |= ENCODE_BOS;
	if (sqe_flags & LLM_SQE_F_CHAT)
		return chat_encode(w->encode, w->text.v, w->text.nr, flags,
				   &w->out.ids, &w->out.why);
	return encode(w->encode, w->text.v, w->text.nr, flags, &w->out.ids,
		      &w->out.why);
}

/* Under the lock: the outcome of @i into the table, if it is still wanted. */
static bool put_outcome(struct worker *w, uint32_t i)
{
	struct job *j = &w->jobs[i];
	struct outcome old = j->out;

	if (w->running != i)
		return false;
	w->running = JOB_NOBODY;
	j->out = w->out;
	w->out = old;
	j->state = JOB_DONE;
	list_add(w, done(w), i);
	return true;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	uint32_t i, flags;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		i = w->jobs[queue(w)].next;
		if (i == queue(w)) {
			pthread_cond_wait(&w->work, &w->lock);
			continue;
		}
		list_del(w, i);
		w->jobs[i].state = JOB_RUNNING;
		w->running = i;
		flags = w->jobs[i].flags;
		w->out.error = copy_text(w, &w->jobs[i]);
		pthread_mutex_unlock(&w->lock);
		if (!w->out.error)
			w->out.error = tokenize(w, flags);
		pthread_mutex_lock(&w->lock);
		if (!put_outcome(w, i))
			continue;
		pthread_mutex_unlock(&w->lock);
		w->kick(w->arg);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* No signal is handled here: the engine's thread gets them. */
static int start(struct worker *w)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -ret;
}

int worker_open(struct worker **ret, const struct vocab *v, uint32_t nr_jobs,
		void (*kick)(void *arg), void *arg, struct err *err)
{
	struct worker *w = calloc(1, sizeof(*w));
	uint32_t i;
	int r;

	if (!w)
		goto no_memory;
	w->nr_jobs = nr_jobs;
	w->running = JOB_NOBODY;
	w->kick = kick;
	w->arg = arg;
	w->jobs = calloc((size_t)nr_jobs + 2, sizeof(*w->jobs));
	if (!w->jobs || encode_open(&w->encode, v))
		goto no_memory;
	for (i = nr_jobs; i < nr_jobs + 2; i++)
		w->jobs[i].prev = w->jobs[i].next = i;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->work, NULL);
	r = start(w);
	if (r) {
		encode_close(w->encode);
		free(w->jobs);
		free(w);
		return err_set(err, r, "text worker: %s", strerror(-r));
	}
	*ret = w;
	return 0;
no_memory:
	if (w)
		free(w->jobs);
	free(w);
	return err_set(err, -ENOMEM, "text worker: no memory");
}

void worker_close(struct worker *w)
{
	uint32_t i;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->work);
	pthread_mutex_destroy(&w->lock);
	for (i = 0; i < w->nr_jobs; i++)
		ids_free(&w->jobs[i].out.ids);
	ids_free(&w->out.ids);
	bytes_free(&w->text);
	encode_close(w->encode);
	free(w->jobs);
	free(w);
}

void worker_give(struct worker *w, uint32_t job, const void *text,
		 uint32_t size, uint32_t flags)
{
	struct job *j = &w->jobs[job];

	pthread_mutex_lock(&w->lock);
	assert(j->state == JOB_NONE);
	j->state = JOB_QUEUED;
	j->text = text;
	j->size = size;
	j->flags = flags;
	list_add(w, queue(w), job);
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
}

void worker_drop(struct worker *w, uint32_t job)
{
	struct job *j = &w->jobs[job];

	pthread_mutex_lock(&w->lock);
	if (j->state == JOB_QUEUED || j->state == JOB_DONE)
		list_del(w, job);
	if (w->running == job)
		w->running = JOB_NOBODY;
	j->state = JOB_NONE;
	pthread_mutex_unlock(&w->lock);
}

bool worker_take(struct worker *w, struct worker_result *ret)
{
	uint32_t i;

	pthread_mutex_lock(&w->lock);
	i = w->jobs[done(w)].next;
	if (i == done(w)) {
		pthread_mutex_unlock(&w->lock);
		return false;
	}
	list_del(w, i);
	w->jobs[i].state = JOB_TAKEN;
	pthread_mutex_unlock(&w->lock);
	*ret = (struct worker_result){
		.job = i,
		.error = w->jobs[i].out.error,
		.why = w->jobs[i].out.why,
		.ids = w->jobs[i].out.ids.v,
		.nr = (uint32_t)w->jobs[i].out.ids.nr,
	};
	return true;
}

void worker_thank(struct worker *w, uint32_t job)
{
	pthread_mutex_lock(&w->lock);
	assert(w->jobs[job].state == JOB_TAKEN);
	w->jobs[job].state = JOB_NONE;
	pthread_mutex_unlock(&w->lock);
}
