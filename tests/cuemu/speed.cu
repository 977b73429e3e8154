/* SPDX-License-Identifier: MIT */
/*
 * speed.cu - how fast each kernel is on this GPU, beside what its memory and
 * its tensor cores allow: for `make check-gpu`.
 *
 * First the ceilings of this very machine: bytes a second that a kernel reads,
 * and floating-point operations a second of a large product of bf16 (cuBLASLt,
 * opened while running; without it there is no such floor).  Then every kernel
 * over the shapes of a model of 8 billion parameters: 20 launches in a graph,
 * replayed five times, the weights in copies that together exceed L2 several
 * times.  A line of JSON for each, flushed: what is cut off has lost no more
 * than what it did not come to.  LLM_BUDGET seconds (120), newest questions
 * first; the digest of the answer stands beside the time, so who gets faster by
 * other arithmetic is seen.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/layout.h"
#include "tests/cuemu/check.h"
#include "tests/cuemu/cublaslt.h"
#include "tests/cuemu/speed.h"

#include <cerrno>

/* the 8B model of Llama 3 */
#define DIM	 4096
#define HEADS	 32
#define KV_HEADS 8
#define HEAD_DIM 128
#define FFN	 14336
#define VOCAB	 128256
#define CONTEXT	 1024

/* ---- ceilings --------------------------------------------------------- */

static __global__ void read_all(const uint4 *p, size_t n, uint32_t *sink)
{
	size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
	uint32_t sum = 0;

	for (; i < n; i += (size_t)gridDim.x * blockDim.x) {
		uint4 v = p[i];

		sum ^= v.x ^ v.y ^ v.z ^ v.w;
	}
	if (sum == 1) /* never, but the compiler does not know */
		*sink = sum;
}

static void measure_memory(void)
{
	const size_t size = (size_t)2 << 30;
	memory m(size, BITS_ANY, 1), sink(256, BITS_ANY, 2);
	struct timing best = {};

	if (!m.at || !sink.at)
		return;
	for (int ctas : { 4, 8, 16 }) {
		struct timing t = time_of(
			[&](int) {
				read_all<<<here.processors * ctas, 512, 0,
					   here.stream>>>(m.as<uint4>(),
							  size / 16,
							  sink.as<uint32_t>());
				return cudaGetLastError() ? -EIO : 0;
			},
			1);

		if (t.ok && (!best.ok || t.us_min < best.us_min))
			best = t;
	}
	if (best.ok)
		here.bytes_us = (double)size / best.us_min;
}

static void measure_products(void)
{
	const int n = 8192;
	const size_t size = (size_t)n * n * 2;
	memory w(size, BITS_BF16, 3), x(size, BITS_BF16, 4),
		y(size, BITS_ANY, 5);
	static struct product p;

	if (!w.at || !x.at || !y.at || !cublaslt_open() ||
	    !product_make(&p, n, n, n, CUDA_R_16BF))
		return;
	for (int algo = 0; algo < p.nr_found && algo < 4; algo++) {
		struct timing t = time_of(
			[&](int) {
				return product_run(&p, algo, w.at, x.at, y.at,
						   here.stream);
			},
			1);

		if (t.ok)
			here.flop_us = std::max(here.flop_us,
						2.0 * n * n * n / t.us_min);
	}
}

/* ---- the machine ------------------------------------------------------ */

/* What every line says of machine and build. */
static void make_stamp(const cudaDeviceProp &p)
{
	const char *commit = getenv("LLM_COMMIT");
	char now[32], text[512];
	time_t t = time(NULL);

	strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime(&t));
	snprintf(text, sizeof(text),
		 "\"t\":\"%s\",\"commit\":\"%s\",\"gpu\":\"%s\","
		 "\"driver\":\"%d.%d\",\"cuda\":\"%d.%d\",\"arch\":\"sm_%d\"",
		 now, commit ? commit : "unknown", p.name, here.driver / 1000,
		 here.driver % 1000 / 10, here.runtime / 1000,
		 here.runtime % 1000 / 10, here.arch);
	here.stamp = text;
}

static bool begin(void)
{
	const char *budget = getenv("LLM_BUDGET");
	cudaDeviceProp p;

	here.end = time(NULL) + (budget ? atoi(budget) : 120);
	if (cudaGetDeviceProperties(&p, 0) ||
	    cudaDriverGetVersion(&here.driver) ||
	    cudaRuntimeGetVersion(&here.runtime) ||
	    cudaStreamCreateWithFlags(&here.stream, cudaStreamNonBlocking))
		return false;
	here.arch = p.major * 10 + p.minor;
	here.processors = p.multiProcessorCount;
	make_stamp(p);
	measure_memory();
	measure_products();
	return here.bytes_us > 0;
}

/* The first test: the others divide by what it finds. */
TEST(ceilings)
{
	CHECK(begin());
	printf("# it reads %.3f TB/s and multiplies %.1f TFLOPS of bf16%s\n",
	       here.bytes_us / 1e6, here.flop_us / 1e6,
	       here.flop_us > 0 ? "" : " (no cuBLASLt here)");
}

/* ---- products --------------------------------------------------------- */

static const struct {
	enum cuda_form form;
	const char *name;
	int bits;
	enum bits how;
	int groups; /* numbers beside a row for each of its groups; 0: one */
} forms[] = {
	{ CUDA_W_BF16, "bf16", 16, BITS_BF16, 0 },
	{ CUDA_W_INT8, "int8", 8, BITS_ANY, 0 },
	{ CUDA_W_FP8, "fp8", 8, BITS_FP8, 0 },
	{ CUDA_W_INT4, "int4", 4, BITS_ANY, 1 },
	{ CUDA_W_FP8_GROUPS, "fp8_groups", 8, BITS_FP8, 1 },
	{ CUDA_W_INT4_ZEROS, "int4_zeros", 4, BITS_ANY, 2 },
	{ CUDA_W_ROWS8, "w8a8", 8, BITS_ANY, 0 },
};
#define NR_FORMS ((int)(sizeof(forms) / sizeof(forms[0])))

/* Bytes of an input row. */
static size_t input_bytes(enum cuda_form form, int k)
{
	return form == CUDA_W_ROWS8
		       ? (size_t)(k / LAYOUT_STAGE) * layout_input(0)
		       : (size_t)k * 2;
}

static const struct {
	const char *name;
	int n, k;
	enum cuda_end end;
	enum cuda_number out;
} matrices[] = {
	{ "gate_up", 2 * FFN, DIM, CUDA_SWIGLU, CUDA_BF16 },
	{ "down", DIM, FFN, CUDA_ADD, CUDA_F32 },
	{ "qkv", (HEADS + 2 * KV_HEADS) * HEAD_DIM, DIM, CUDA_STORE, CUDA_F32 },
	{ "o", DIM, HEADS *HEAD_DIM, CUDA_ADD, CUDA_F32 },
	{ "head", VOCAB, DIM, CUDA_STORE, CUDA_F32 },
};

/* The fastest of what cuBLASLt offers for this product of bf16, or 0. */
static double peer_us(const void *w, const void *x, int n, int k, int tokens)
{
	memory y((size_t)tokens * n * 2, BITS_ANY, 24);
	struct product p;
	double best = 0;

	if (!y.at || !cublaslt_open() ||
	    !product_make(&p, n, k, tokens, CUDA_R_16BF))
		return 0;
	for (int algo = 0; algo < p.nr_found && algo < 3; algo++) {
		struct timing t = time_of(
			[&](int) {
				return product_run(&p, algo, w, x, y.at,
						   here.stream);
			},
			1);

		if (t.ok && (best == 0 || t.us < best))
			best = t.us;
	}
	return best;
}

/* @many: as in struct cuda_gemm_args */
static bool ask_gemm(int f, int m, int tokens, int many)
{
	const int n = matrices[m].n, k = matrices[m].k;
	const size_t weights = (size_t)n * k * forms[f].bits / 8;
	const int copies = copies_of(weights);
	const bool add = matrices[m].end == CUDA_ADD;
	const bool codes = forms[f].form == CUDA_W_ROWS8;
	const size_t out = (size_t)tokens * n *
			   (matrices[m].out == CUDA_F32 ? 4 : 2) /
			   (matrices[m].end == CUDA_SWIGLU ? 2 : 1);
	memory w(weights * copies, forms[f].how, 6),
		scale((size_t)n * (k / LAYOUT_GROUP) * 2 * 4, BITS_F32, 7),
		x(tokens * input_bytes(forms[f].form, k),
		  codes ? BITS_F32 : BITS_BF16, 8),
		y(out, BITS_F32, 9);
	struct cuda_gemm_args a = {};
	struct question q = {};

	if (!w.at || !scale.at || !x.at || !y.at) {
		printf("# no memory for %s %s\n", matrices[m].name,
		       forms[f].name);
		return true;
	}
	a.scale = scale.as<float>();
	a.x = x.as<uint16_t>();
	a.y = y.at;
	a.n = n;
	a.k = k;
	a.tokens = tokens;
	a.form = forms[f].form;
	a.out = matrices[m].out;
	a.end = matrices[m].end;
	a.many = many;
	q.kernel = many ? "gemm_sm90" : "gemm";
	q.fmt = forms[f].name;
	q.shape = std::string("\"of\":\"") + matrices[m].name + "\"," +
		  shape({ { "n", n }, { "k", k }, { "t", tokens } });
	q.bytes =
		(double)weights + (double)x.size + (add ? 2 : 1) * (double)out;
	if (forms[f].form != CUDA_W_BF16)
		q.bytes += 4.0 * n *
			   (forms[f].groups ? k / LAYOUT_GROUP * forms[f].groups
					    : 1);
	/* integers go twice as fast */
	q.flop = (codes ? 1.0 : 2.0) * n * k * tokens;
	q.answer = y.at;
	q.answer_size = out;
	q.sum = add ? y.at : NULL;
	q.sum_size = out;
	if (many && forms[f].form == CUDA_W_BF16)
		q.peer_us = peer_us(w.at, x.at, n, k, tokens);
	return ask(q, copies, [&](int copy) {
		a.w = w.as<char>(weights * copy);
		return cuda_gemm(&a, here.stream);
	});
}

/* Those of a layer; by both kernels where the ridge may be. */
TEST(products_of_many_tokens)
{
	bool good = true;
	int many = here.arch == 90;

	if (!(here.bytes_us > 0))
		SKIP("no ceiling to measure it by");
	for (int tokens : { 2048, 256, 512, 8192 })
		for (int f = 0; f < NR_FORMS; f++)
			for (int m = 0; m < 4; m++) {
				good &= over() || ask_gemm(f, m, tokens, many);
				if (many && tokens == 256)
					good &= over() ||
						ask_gemm(f, m, tokens, 0);
			}
	CHECK(good);
}

TEST(products)
{
	bool good = true;

	if (!(here.bytes_us > 0))
		SKIP("no ceiling to measure it by");
	for (int tokens : { 1, 8, 32, 128 })
		for (int f = 0; f < NR_FORMS; f++)
			for (int m = 0; m < 5; m++)
				good &= over() || ask_gemm(f, m, tokens, 0);
	CHECK(good);
}

/* ---- attention -------------------------------------------------------- */

/*
 * @seqs sequences whose last @queries tokens of @context are asked, of one
 * layer; @copies of the KV.  Of units of @rows.
 */
struct attention_case {
	int seqs, queries, context, copies;
	int blocks; /* of a sequence */
	int units = 0;
	size_t kv_size;
	std::vector<int> table_, start_, len_;
	std::vector<cuda_attention_work> work_;

	attention_case(int nr_seqs, int nr_queries, int nr_context, int tiles,
		       int per_warp, int rows)
		: seqs(nr_seqs), queries(nr_queries), context(nr_context),
		  blocks((nr_context + KV_BLOCK - 1) / KV_BLOCK)
	{
		kv_size = (size_t)seqs * blocks * 2 * KV_HEADS *
			  layout_kv_bytes(HEAD_DIM);
		copies = copies_of(kv_size);
		for (int s = 0; s < seqs; s++) {
			for (int b = 0; b < blocks; b++) /* scattered */
				table_.push_back(
					(int)((size_t)(s * blocks + b) * 7919 %
					      (seqs * blocks)));
			start_.push_back(s * queries);
			len_.push_back(context);
			for (int r = 0; r < queries * (HEADS / KV_HEADS);
			     r += rows)
				add(s, r, tiles, per_warp);
		}
		/* the longest first, as plan.c has them */
		if (rows == CUDA_ATTENTION_SM90_ROWS)
			std::reverse(work_.begin(), work_.end());
		start_.push_back(seqs * queries);
	}

	/* a unit, divided where a warp has not all tiles */
	void add(int seq, int row, int tiles, int per_warp)
	{
		int place = per_warp < tiles ? units : -1;

		for (int part = 0; part * per_warp < tiles; part++)
			work_.push_back({ seq, row, place, part });
		units++;
	}
};

template <class T> static bool put(const memory &to, const std::vector<T> &from)
{
	return to.at && !cudaMemcpy(to.at, from.data(), sizeof(T) * from.size(),
				    cudaMemcpyHostToDevice);
}

/* @per_warp: tiles; MANY: by the kernel for chunks of prompts. */
#define MANY (1 << 20)

static bool ask_attention(int seqs, int queries, int context, int per_warp)
{
	const bool many = per_warp == MANY;
	const int tiles =
		(context + CUDA_ATTENTION_TILE - 1) / CUDA_ATTENTION_TILE;
	const attention_case c(seqs, queries, context, tiles, per_warp,
			       many ? CUDA_ATTENTION_SM90_ROWS
				    : CUDA_ATTENTION_ROWS);
	const int tokens = seqs * queries, nr_work = (int)c.work_.size();
	/* of what is divided */
	const size_t rows = many ? 16 : (size_t)c.units * KV_HEADS * tiles * 16;
	const std::vector<cuda_attention_plan> numbers = { { c.blocks, tiles,
							     per_warp } };
	const size_t one = (size_t)tokens * HEADS * HEAD_DIM * 2;
	memory kv(c.kv_size * c.copies, BITS_BF16, 10), q(one, BITS_BF16, 11),
		out(one, BITS_ANY, 12), part(rows * HEAD_DIM * 4, BITS_ANY, 13),
		state(rows * 2 * 4, BITS_ANY, 14),
		count((size_t)c.units * KV_HEADS * 4, BITS_ANY, 15),
		table(4 * c.table_.size(), BITS_ANY, 16),
		start(4 * c.start_.size(), BITS_ANY, 17),
		len(4 * c.len_.size(), BITS_ANY, 18),
		work(sizeof(c.work_[0]) * c.work_.size(), BITS_ANY, 19),
		plan(sizeof(numbers[0]), BITS_ANY, 24);
	struct cuda_attention_args a = {};
	struct question ask_it = {};

	cudaStreamSynchronize(here.stream); /* all is filled */
	if (!kv.at || !q.at || !out.at || !part.at || !state.at || !count.at ||
	    !put(table, c.table_) || !put(start, c.start_) ||
	    !put(len, c.len_) || !put(work, c.work_) || !put(plan, numbers) ||
	    cudaMemset(count.at, 0, count.size)) {
		printf("# no memory for attention of %d at %d\n", seqs,
		       context);
		return true;
	}
	a.q = q.as<uint16_t>();
	a.block_table = table.as<int>();
	a.query_start = start.as<int>();
	a.context_len = len.as<int>();
	a.plan = plan.as<cuda_attention_plan>();
	a.work = work.as<cuda_attention_work>();
	a.part = part.as<float>();
	a.state = state.as<float>();
	a.count = count.as<int>();
	a.out = out.at;
	a.block_stride = (size_t)2 * KV_HEADS * layout_kv_bytes(HEAD_DIM) / 2;
	a.nr_heads = HEADS;
	a.nr_kv_heads = KV_HEADS;
	a.nr_work = nr_work;
	a.scale = 0.0883883f * 1.442695f;
	a.number = CUDA_BF16;
	a.head_dim = HEAD_DIM;
	ask_it.kernel = many	       ? "attention_sm90"
			: queries == 1 ? "attention_decode"
				       : "attention_prefill";
	ask_it.fmt = "bf16";
	ask_it.shape = shape({ { "b", seqs },
			       { "t", queries },
			       { "context", context },
			       { "tiles_per_warp", many ? 0 : per_warp } });
	ask_it.bytes = (double)seqs * context * 2 * KV_HEADS * HEAD_DIM * 2 +
		       2.0 * one;
	/* a query sees those before it: half of the square, where it is one */
	ask_it.flop = 4.0 * HEADS * HEAD_DIM * seqs * queries *
		      (context - (queries - 1) / 2.0);
	ask_it.answer = out.at;
	ask_it.answer_size = one;
	return ask(ask_it, c.copies, [&](int copy) {
		a.k = kv.as<uint16_t>(c.kv_size * copy);
		a.v = a.k + (size_t)KV_HEADS * layout_kv_bytes(HEAD_DIM) / 2;
		return many ? cuda_attention_sm90(&a, here.stream)
			    : cuda_attention(&a, here.stream);
	});
}

/*
 * Whole prompts; then chunks of one, by both kernels: where they cross is what
 * CUDA_ATTENTION_PROCESSORS guesses.
 */
TEST(attention_of_chunks_of_prompts)
{
	bool good = true;

	if (!(here.bytes_us > 0))
		SKIP("no ceiling to measure it by");
	if (here.arch != 90)
		SKIP("it has no such kernel");
	for (int length : { 2048, 8192 })
		good &= ask_attention(1, length, length, MANY);
	for (int queries : { 64, 128, 256, 512, 1024 }) {
		good &= ask_attention(1, queries, 4096, MANY);
		for (int per_warp : { 8, 32 })
			good &= ask_attention(1, queries, 4096, per_warp);
	}
	CHECK(good);
}

TEST(attention)
{
	bool good = true;

	if (!(here.bytes_us > 0))
		SKIP("no ceiling to measure it by");
	for (int seqs : { 1, 8, 32, 128, 256 })
		for (int per_warp : { 1, 2, 4 })
			good &= ask_attention(seqs, 1, CONTEXT, per_warp);
	for (int length : { 2048, 8192 })
		good &= ask_attention(1, length, length, 4);
	CHECK(good);
}

/* ---- what is small ---------------------------------------------------- */

static bool ask_norm(int rows)
{
	const size_t n = (size_t)rows * DIM;
	memory x(n * 4, BITS_F32, 20), d(n * 2, BITS_BF16, 21),
		w(DIM * 2, BITS_BF16, 22), y(n * 2, BITS_ANY, 23);
	struct cuda_norm_args a = {};
	struct question q = {};

	if (!x.at || !d.at || !w.at || !y.at)
		return true;
	a.x = x.as<float>();
	a.d = d.as<uint16_t>();
	a.w = w.at;
	a.y = y.as<uint16_t>();
	a.rows = rows;
	a.dim = DIM;
	a.eps = 1e-5f;
	a.w_number = CUDA_BF16;
	q.kernel = "residual_norm";
	q.fmt = "bf16";
	q.shape = shape({ { "rows", rows }, { "dim", DIM } });
	q.bytes = 12.0 * n + 2 * DIM;
	q.answer = y.at;
	q.answer_size = n * 2;
	q.sum = x.at;
	q.sum_size = n * 4;
	return ask(q, 1,
		   [&](int) { return cuda_residual_norm(&a, here.stream); });
}

TEST(norms)
{
	bool good = true;

	if (!(here.bytes_us > 0))
		SKIP("no ceiling to measure it by");
	for (int rows : { 1, 8, 32, 128, 256 })
		good &= ask_norm(rows);
	CHECK(good);
}
