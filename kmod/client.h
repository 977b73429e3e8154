/* SPDX-License-Identifier: GPL-2.0-only */
/* client.h - /dev/llm: one session an open file. */
#ifndef LLM_CLIENT_H
#define LLM_CLIENT_H

int llm_client_init(void);
void llm_client_exit(void);

#endif
