/* SPDX-License-Identifier: GPL-2.0-only */
/* daemon.h - /dev/llmd: one opener, from the initial user namespace. */
#ifndef LLM_DAEMON_H
#define LLM_DAEMON_H

int llm_daemon_init(void);
void llm_daemon_exit(void);

#endif
