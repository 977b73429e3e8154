/* SPDX-License-Identifier: MIT */
/*
 * test.h - the whole test library.  TEST bodies register themselves, CHECK
 * ends the body.  Lines are TAP; a program ends with `N passed, N failed,
 * N skipped` and exits 1 where one failed.  Arguments: a part of a name.
 */
#ifndef TEST_H
#define TEST_H
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

/* Under a sanitizer: for tests that count allocations or watch the clock. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED                                                              \
	(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

struct test {
	const char *name;
	void (*body)(void);
	struct test *next;
};

static struct test *test_first, **test_last = &test_first;
static jmp_buf test_out;
static const char *test_why = "";
static const char *test_row = "";

#define TEST(what)                                                             \
	static void test_##what(void);                                         \
	__attribute__((constructor)) static void test_add_##what(void)         \
	{                                                                      \
		static struct test t = { #what, test_##what, NULL };           \
		*test_last = &t;                                               \
		test_last = &t.next;                                           \
	}                                                                      \
	static void test_##what(void)

/* Name the row of a table under test; a failure prints it. */
#define ROW(name) (test_row = (name))

#define CHECK(cond)                                                            \
	do {                                                                   \
		if (!(cond)) {                                                 \
			printf("# %s:%d: not so: %s%s%s\n", __FILE__,          \
			       __LINE__, #cond, *test_row ? ", row " : "",     \
			       test_row);                                      \
			longjmp(test_out, 1);                                  \
		}                                                              \
	} while (0)

#define CHECK_EQ(got, want)                                                    \
	do {                                                                   \
		long long g_ = (long long)(got), w_ = (long long)(want);       \
		if (g_ != w_) {                                                \
			printf("# %s:%d: %s is %lld, not %lld%s%s\n",          \
			       __FILE__, __LINE__, #got, g_, w_,               \
			       *test_row ? ", row " : "", test_row);           \
			longjmp(test_out, 1);                                  \
		}                                                              \
	} while (0)

#define CHECK_STR(got, want)                                                   \
	do {                                                                   \
		const char *g_ = (got), *w_ = (want);                          \
		if (strcmp(g_, w_)) {                                          \
			printf("# %s:%d: %s is \"%s\", not \"%s\"%s%s\n",      \
			       __FILE__, __LINE__, #got, g_, w_,               \
			       *test_row ? ", row " : "", test_row);           \
			longjmp(test_out, 1);                                  \
		}                                                              \
	} while (0)

#define SKIP(why)                                                              \
	do {                                                                   \
		test_why = (why);                                              \
		longjmp(test_out, 2);                                          \
	} while (0)

int main(int argc, char **argv)
{
	static int count[3];
	static struct test *t;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (t = test_first; t; t = t->next) {
		int how;

		if (argc > 1 && !strstr(t->name, argv[1]))
			continue;
		test_row = "";
		how = setjmp(test_out);
		if (how == 0)
			t->body();
		count[how]++;
		printf("%s %s%s%s\n", how == 1 ? "not ok" : "ok", t->name,
		       how == 2 ? " # SKIP " : "", how == 2 ? test_why : "");
	}
	printf("%d passed, %d failed, %d skipped\n", count[0], count[1],
	       count[2]);
	return count[1] != 0;
}
#endif
