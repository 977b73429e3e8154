/* SPDX-License-Identifier: MIT */
/* Every offset of the contract, written down a second time by hand. */
#include "tests/test.h"
#include <stddef.h>
#include <linux/llm.h>

#define AT(s, f, off)                                                          \
	do {                                                                   \
		ROW(#s "." #f);                                                \
		CHECK_EQ(offsetof(struct s, f), off);                          \
	} while (0)

TEST(the_commit_word_packs_and_unpacks)
{
	unsigned long long w = LLM_COMMIT(0xdeadbeefu, LLM_ST_END,
					  LLM_END_DEADLINE, 0xabcdefu);

	CHECK(w == 0xdeadbeef63abcdefull);
	CHECK_EQ(LLM_COMMIT_GEN(w), 0xdeadbeefu);
	CHECK_EQ(LLM_COMMIT_STATE(w), LLM_ST_END);
	CHECK_EQ(LLM_COMMIT_END(w), LLM_END_DEADLINE);
	CHECK_EQ(LLM_COMMIT_TAIL(w), 0xabcdef);
}

TEST(client_written_structs_stand_where_the_contract_says)
{
	AT(llm_client_ctl, sq_tail, 0);
	AT(llm_client_ctl, bell_seen, 64);
	AT(llm_client_ctl, epoch_seen, 68);
	AT(llm_wish, arm_want, 0);
	AT(llm_wish, delay_us, 8);
	AT(llm_wish, resv0, 12);
	AT(llm_wish, cancel_gen, 16);
	AT(llm_sqe, op, 0);
	AT(llm_sqe, class_, 1);
	AT(llm_sqe, stream, 2);
	AT(llm_sqe, gen, 4);
	AT(llm_sqe, user_data, 8);
	AT(llm_sqe, flags, 16);
	AT(llm_sqe, max_tokens, 20);
	AT(llm_sqe, off, 24);
	AT(llm_sqe, len, 28);
	AT(llm_sqe, params_off, 32);
	AT(llm_sqe, params_len, 36);
	AT(llm_sqe, model, 40);
	AT(llm_sqe, adapter, 44);
	AT(llm_sqe, deadline_ns, 48);
	AT(llm_sqe, resv, 56);
	AT(llm_params, size, 0);
	AT(llm_params, set, 4);
	AT(llm_params, flags, 8);
	AT(llm_params, top_k, 12);
	AT(llm_params, seed, 16);
	AT(llm_params, temperature_bits, 24);
	AT(llm_params, top_p_bits, 28);
	AT(llm_params, min_p_bits, 32);
	AT(llm_params, repetition_bits, 36);
	AT(llm_params, frequency_bits, 40);
	AT(llm_params, presence_bits, 44);
	AT(llm_params, min_tokens, 48);
	AT(llm_params, nr_alt, 52);
	AT(llm_params, nr_stop_ids, 56);
	AT(llm_params, nr_bias, 60);
	AT(llm_params, nr_stop, 64);
	AT(llm_params, resv, 68);
}

TEST(service_written_structs_stand_where_the_contract_says)
{
	AT(llm_host_ctl, session, 0);
	AT(llm_host_ctl, epoch, 8);
	AT(llm_host_ctl, daemon, 12);
	AT(llm_host_ctl, sq_head, 16);
	AT(llm_host_ctl, sq_dropped, 20);
	AT(llm_engine_ctl, bell, 0);
	AT(llm_engine_ctl, sq_head, 4);
	AT(llm_engine_ctl, sq_dropped, 8);
	AT(llm_engine_ctl, broken, 12);
	AT(llm_model, name, 0);
	AT(llm_model, digest, 64);
	AT(llm_model, arith, 96);
	AT(llm_model, parameters, 104);
	AT(llm_model, vocab, 112);
	AT(llm_model, context, 116);
	AT(llm_model, flags, 120);
	AT(llm_model, kv_token_bytes, 124);
	AT(llm_model, default_max_tokens, 128);
	AT(llm_tok, token, 0);
	AT(llm_tok, logprob_bits, 4);
	AT(llm_tok, text_end, 8);
	AT(llm_tok, flags, 12);
}

TEST(the_record_stands_where_the_contract_says)
{
	AT(llm_record, gen, 0);
	AT(llm_record, op, 4);
	AT(llm_record, flags, 8);
	AT(llm_record, error, 12);
	AT(llm_record, user_data, 16);
	AT(llm_record, seed, 24);
	AT(llm_record, admitted_ns, 32);
	AT(llm_record, deadline_ns, 40);
	AT(llm_record, tenant, 48);
	AT(llm_record, uid, 56);
	AT(llm_record, class_, 60);
	AT(llm_record, model, 64);
	AT(llm_record, adapter, 68);
	AT(llm_record, adm_epoch, 72);
	AT(llm_record, max_tokens, 76);
	AT(llm_record, digest, 80);
	AT(llm_record, arith, 112);
	AT(llm_record, extent_off, 120);
	AT(llm_record, extent_size, 128);
	AT(llm_record, text_in_off, 136);
	AT(llm_record, prompt_off, 144);
	AT(llm_record, params_off, 152);
	AT(llm_record, log_off, 160);
	AT(llm_record, text_off, 168);
	AT(llm_record, alt_off, 176);
	AT(llm_record, text_in_size, 184);
	AT(llm_record, params_size, 188);
	AT(llm_record, prompt_len, 192);
	AT(llm_record, prompt_cap, 196);
	AT(llm_record, log_len, 200);
	AT(llm_record, text_size, 204);
	AT(llm_record, alt_k, 208);
	AT(llm_record, cached_tokens, 212);
	AT(llm_record, detail, 216);
	AT(llm_record, stop_index, 220);
	AT(llm_record, deaths, 224);
	AT(llm_record, why, 232);
	AT(llm_record, resv1, 392);
}

TEST(set_up_structs_stand_where_the_contract_says)
{
	AT(llm_setup, size, 0);
	AT(llm_setup, abi, 4);
	AT(llm_setup, flags, 8);
	AT(llm_setup, features, 12);
	AT(llm_setup, sq_entries, 16);
	AT(llm_setup, nr_streams, 20);
	AT(llm_setup, arena_size, 24);
	AT(llm_setup, log_size, 32);
	AT(llm_setup, session, 40);
	AT(llm_setup, area_size, 48);
	AT(llm_setup, off_sq, 80);
	AT(llm_setup, off_wish, 88);
	AT(llm_setup, off_info, 96);
	AT(llm_setup, off_commit, 104);
	AT(llm_setup, off_record, 112);
	AT(llm_setup, off_extent, 120);
	AT(llm_setup, record_stride, 128);
	AT(llm_hello, setup, 16);
	AT(llm_tenant_info, set, 4);
	AT(llm_tenant_info, tenant, 8);
	AT(llm_tenant_info, weight, 16);
	AT(llm_tenant_info, class_ceiling, 20);
	AT(llm_tenant_info, max_sessions, 24);
	AT(llm_tenant_info, max_streams, 28);
	AT(llm_tenant_info, max_inflight, 32);
	AT(llm_tenant_info, max_submit_rate, 36);
	AT(llm_tenant_info, max_token_rate, 40);
	AT(llm_tenant_info, resv0, 44);
	AT(llm_tenant_info, max_memory, 48);
	AT(llm_tenant_info, sessions, 56);
	AT(llm_tenant_info, streams, 60);
	AT(llm_tenant_info, inflight, 64);
	AT(llm_tenant_info, throttled, 68);
	AT(llm_tenant_info, memory, 72);
	AT(llm_tenant_info, submitted, 80);
	AT(llm_tenant_info, refused, 88);
	AT(llm_tenant_info, tokens, 96);
	AT(llm_tenant_info, resv, 104);
	AT(llm_hello_admin, resv, 12);
	AT(llm_hello_admin, session, 16);
	AT(llm_hello_admin, tenant, 24);
	AT(llm_event_info, kind, 4);
	AT(llm_event_info, time_ns, 8);
	AT(llm_event_info, tenant, 16);
	AT(llm_event_info, session, 24);
	AT(llm_event_info, daemon, 32);
	AT(llm_event_info, epoch, 36);
	AT(llm_event_info, limit, 40);
	AT(llm_event_info, count, 44);
	AT(llm_event_info, lost, 48);
	AT(llm_hello_reply, error, 8);
	AT(llm_hello_reply, nr, 12);
	AT(llm_hello_reply, elem_size, 16);
	AT(llm_hello_reply, why, 24);
	AT(llm_hello_reply, setup, 184);
	AT(llm_info, model, 16);
	AT(llm_info, uptime_ns, 176);
	AT(llm_info, steps, 184);
	AT(llm_info, tokens_in, 192);
	AT(llm_info, tokens_out, 200);
	AT(llm_info, tokens_cached, 208);
	AT(llm_info, requests, 216);
	AT(llm_info, refused, 224);
	AT(llm_info, preemptions, 232);
	AT(llm_info, wakes, 240);
	AT(llm_info, bells, 248);
	AT(llm_info, pause_ns, 256);
	AT(llm_info, running, 264);
	AT(llm_info, kv_blocks, 272);
	AT(llm_info, kv_shared, 284);
	AT(llm_info, kv_saved, 288);
	AT(llm_info, restarts, 292);
	AT(llm_session_info, session, 0);
	AT(llm_session_info, tenant, 8);
	AT(llm_session_info, age_ns, 16);
	AT(llm_session_info, tokens, 24);
	AT(llm_session_info, uid, 32);
	AT(llm_session_info, pid, 36);
	AT(llm_session_info, streams, 40);
	AT(llm_session_info, queued, 44);
}

TEST(device_structs_stand_where_the_contract_says)
{
	AT(llm_enter, flags, 4);
	AT(llm_enter, to_submit, 8);
	AT(llm_enter, timeout_ns, 16);
	AT(llmd_work, session, 0);
	AT(llmd_work, kind, 8);
	AT(llmd_work, uid, 12);
	AT(llmd_work, tenant, 16);
	AT(llmd_work, queued_ns, 24);
	AT(llmd_work, epoch, 32);
	AT(llmd_work, sqe, 40);
	AT(llmd_work, weight, 104);
	AT(llmd_work, token_rate, 108);
	AT(llmd_work, resv1, 112);
	AT(llmd_ring_hdr, tail, 0);
	AT(llmd_ring_hdr, flags, 4);
	AT(llmd_ring_hdr, entries, 8);
	AT(llmd_ring_hdr, epoch, 12);
	AT(llmd_ctl, head, 0);
	AT(llmd_attach, epoch, 12);
	AT(llmd_attach, ring_entries, 16);
	AT(llmd_take, timeout_ns, 8);
	AT(llmd_wake, nr, 4);
	AT(llmd_wake, ids, 8);
	AT(llmd_getfd, session, 8);
	AT(llmd_getfd, info, 16);
}
