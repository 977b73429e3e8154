/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * news.h - events on their way to the multicast group of the netlink family, and
 * what they mean for a dump that is under way.
 */
#ifndef LLM_NEWS_H
#define LLM_NEWS_H

#include <linux/types.h>

struct genl_family;

/* @family is registered, and stays so until llm_news_end(), which waits for calls. */
int llm_news_begin(const struct genl_family *family);
void llm_news_end(void);

/* Another number once a dump of tenants (of sessions) may have missed something. */
u32 llm_news_tenants(void);
u32 llm_news_sessions(void);

#endif
