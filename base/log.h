/* SPDX-License-Identifier: MIT */
/*
 * log.h - one line on stderr for the operator.
 *
 * Prompts and tokens never appear in a log.  The level is the one global of
 * the house; it is set once at start, before any thread.  Lines are written
 * with one write(2), so processes do not tear each other's.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

/* @name is borrowed and stands before each line ("llmd", "llmd-engine"). */
void log_init(const char *name, enum log_level level);
void log_line(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
