/* SPDX-License-Identifier: GPL-2.0-only */
/* netlink.h - generic netlink family "llm": administration. */
#ifndef LLM_NETLINK_H
#define LLM_NETLINK_H

int llm_netlink_init(void);
/* Waits for calls in progress. */
void llm_netlink_exit(void);

#endif
