/* SPDX-License-Identifier: MIT */
#include "daemon/life.h"
#include "base/err.h"
#include "daemon/board.h"
#include "llm_shm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define MS	       1000000ull

#define BACKOFF_NS     (10 * MS)
#define BACKOFF_MAX_NS (5000 * MS)
#define LOOK_MIN_NS    (50 * MS)
#define LOOK_MAX_NS    (2000 * MS)

void life_begin(struct life *l, struct board *board)
{
	l->hung = l->ready = false;
	l->lives++;
	board->step_begin_ns = 0;
	board->commits = 0;
	board->first_commit_ns = 0;
	board->ready = 0;
	board->nr_rows = 0;
	board->failed[0] = 0;
}

static bool is_fault(int sig)
{
	return sig == SIGSEGV || sig == SIGBUS || sig == SIGABRT ||
	       sig == SIGFPE;
}

static void blame(const struct life *l, struct board *b, int status)
{
	uint32_t nr = b->nr_rows;

	b->nr_blamed = 0;
	if (!b->step_begin_ns ||
	    (!l->hung && !(WIFSIGNALED(status) && is_fault(WTERMSIG(status)))))
		return;
	/* the engine wrote it, and went mad: it is no index yet */
	if (nr > BOARD_MAX_ROWS)
		nr = BOARD_MAX_ROWS;
	memcpy(b->blamed, b->row, nr * sizeof(b->row[0]));
	b->nr_blamed = nr;
}

static void describe(const struct life *l, const struct board *b, int status,
		     char *text, size_t size)
{
	/* the engine's own line, if it could still write one */
	if (!l->ready && b->failed[0])
		snprintf(text, size, "%.*s", (int)sizeof(b->failed) - 1,
			 b->failed);
	else if (l->hung)
		snprintf(text, size,
			 "the engine hung in a step and was killed");
	else if (WIFSIGNALED(status))
		snprintf(text, size, "the engine died of signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(text, size, "the engine ended by itself, status %d",
			 WEXITSTATUS(status));
}

static uint64_t backoff(uint32_t fruitless)
{
	uint64_t ns = BACKOFF_NS;

	if (fruitless < 2)
		return 0;
	while (--fruitless > 1 && ns < BACKOFF_MAX_NS)
		ns *= 2;
	return ns < BACKOFF_MAX_NS ? ns : BACKOFF_MAX_NS;
}

enum life_verdict life_end(struct life *l, struct board *b, int status,
			   bool told_to_end, uint64_t now_ns,
			   uint64_t *restart_ns, struct err *err)
{
	bool outside = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
		       !l->hung;
	char text[sizeof(err->text)];

	if (told_to_end && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return LIFE_ENDED;
	l->served += l->ready;
	describe(l, b, status, text, sizeof(text));
	blame(l, b, status);
	b->step_begin_ns = 0;
	if (b->commits) {
		l->fruitless = l->crashes = 0;
	} else {
		l->fruitless += !outside || !l->ready;
		l->crashes += !outside;
	}
	if (!l->served && !outside) {
		err_set(err, -EIO, "%s%s", text,
			b->failed[0] ? "" : " before it served");
		return LIFE_OVER;
	}
	if (l->max_crashes && l->crashes >= l->max_crashes) {
		err_set(err, -EIO,
			"%u engines in a row died without a token; the last: "
			"%.140s",
			l->crashes, text);
		return LIFE_OVER;
	}
	*restart_ns = now_ns + backoff(l->fruitless);
	err_set(err, -EIO, "%s", text);
	return LIFE_AGAIN;
}

bool life_hangs(const struct board *b, uint64_t now_ns, uint64_t *look_ns)
{
	uint64_t begin = shm_load(&b->step_begin_ns);
	uint64_t limit = shm_load(&b->step_limit_ns);
	uint64_t look = limit / 4;

	if (!limit || look > LOOK_MAX_NS) /* 0: no step was ever begun */
		look = LOOK_MAX_NS;
	if (!limit || look > LOOK_MAX_NS) /* 0: no step was ever begun */
		look = LOOK_MAX_NS;
	*look_ns = look < LOOK_MIN_NS ? LOOK_MIN_NS : look;
	return begin && limit && now_ns > begin && now_ns - begin > limit;
}
