/* igor.h makes a C program an Igor agent. igor new --lang c NAME makes one to begin with.
 *
 * An agent is a state and two functions:
 *
 *	#include "igor.h"
 *
 *	#define HEART(FIELD)     \
 *		FIELD(u64, beats) \
 *		FIELD(time, last)
 *	IGOR_STATE(heart, 1, HEART)
 *
 *	static void init(struct heart *h)
 *	{
 *		igor_log("alive");
 *	}
 *
 *	static int tick(struct heart *h)
 *	{
 *		h->beats++;
 *		h->last = igor_now();
 *		return IGOR_IDLE;
 *	}
 *
 *	IGOR_AGENT(heart, init, tick)
 *
 * It is built with clang and wasi-libc:
 *
 *	clang --target=wasm32-wasi -mexec-model=reactor -Os -Wl,--export=malloc -Wl,--strip-all -o heart.wasm heart.c
 *
 * What IGOR_STATE names is all that lives on. After every checkpoint the agent goes on as a fresh
 * instance of the program: other variables are as they were at its start by then.
 *
 * The manifest beside the program has to declare the capability of each hostcall that it uses; they
 * stand below, by capability. They work in init and tick. Side effects (igor_pay, and igor_send of
 * anything but GET and HEAD) work in tick alone.
 *
 * Without WebAssembly, igor_test.h is the world that an agent's tests run in.
 */
#ifndef IGOR_H
#define IGOR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IGOR_API static inline __attribute__((unused))

/* What tick returns. */
enum {
	IGOR_IDLE = 0, /* nothing more to do: the next tick comes after a second */
	IGOR_MORE = 1, /* the next tick comes after 10 ms */
};

/* Errors. A function that can fail returns 0 or more, or one of these. */
enum igor_error {
	IGOR_FAILED = -1,         /* a budget that is too small, or nothing of the kind is there */
	IGOR_TOO_LONG = -2,       /* what was given is over a limit */
	IGOR_NOT_ALLOWED = -3,    /* by the manifest, or not where it was called */
	IGOR_TIMEOUT = -4,        /* of http */
	IGOR_TOO_LARGE = -5,      /* what came back, of http and payments */
	IGOR_PROCESSING = -6,     /* refused or malformed */
	IGOR_UNRESOLVED = -7,     /* a side effect that may have happened */
	IGOR_NOT_DELIVERED = -8,  /* paid for: it happened, and the receipt is in the wallet */
	IGOR_NOT_SETTLED = -9,    /* a payment that was never made, and never will be */
	IGOR_NETWORK = -20,       /* of http: no answer came */
	IGOR_OVER_CAP = -21,      /* more than the manifest lets the agent pay */
	IGOR_NO_ROOM = -22,       /* a buffer is too small */
	IGOR_NOT_FOUND = -23,     /* in the store */
	IGOR_FULL = -24,          /* the store */
	IGOR_NOT_ON_NODE = -25,   /* the agent does not live on a node */
	IGOR_BAD_STATE = -30,     /* not what the program saved */
	IGOR_BAD_FINDING = -31,   /* not what the host tells */
	IGOR_LOG_UNKNOWN = -40,   /* the effect log has no such id */
	IGOR_LOG_DUPLICATE = -41, /* it has that id already: a new act needs a new id */
	IGOR_LOG_ORDER = -42,     /* not from where the intent stands */
	IGOR_LOG_LIMIT = -43,     /* an id, data or a log over its limit */
};

/* Says what an error is. */
IGOR_API const char *igor_error_text(int error)
{
	switch (error) {
	case IGOR_FAILED:
	case IGOR_NETWORK: return "failed";
	case IGOR_TOO_LONG: return "input too long";
	case IGOR_NOT_ALLOWED: return "not allowed";
	case IGOR_TIMEOUT: return "timeout";
	case IGOR_TOO_LARGE: return "what came back is too large";
	case IGOR_PROCESSING: return "refused or malformed";
	case IGOR_UNRESOLVED: return "unresolved: it may have happened";
	case IGOR_NOT_DELIVERED: return "paid, not delivered";
	case IGOR_NOT_SETTLED: return "payment not settled";
	case IGOR_OVER_CAP: return "amount over the cap";
	case IGOR_NO_ROOM: return "buffer too small";
	case IGOR_NOT_FOUND: return "not found";
	case IGOR_FULL: return "the store is full";
	case IGOR_NOT_ON_NODE: return "not on a node";
	case IGOR_BAD_STATE: return "not a state of this program";
	case IGOR_BAD_FINDING: return "a finding that cannot be read";
	case IGOR_LOG_UNKNOWN: return "the effect log does not hold it; record it first";
	case IGOR_LOG_DUPLICATE: return "the effect log holds it already; a new act needs a new id";
	case IGOR_LOG_ORDER: return "the effect log has it in another state";
	case IGOR_LOG_LIMIT: return "over a limit of the effect log";
	}
	return error >= 0 ? "no error" : "an error that this SDK does not know";
}

/* Whether a side effect that ended so may have happened all the same: the answer is lost, or was too
 * large. Of IGOR_NOT_DELIVERED it certainly did. Other errors say that it certainly did not. */
IGOR_API bool igor_may_have_happened(int error)
{
	return error == IGOR_UNRESOLVED || error == IGOR_NOT_DELIVERED || error == IGOR_TOO_LARGE || error == IGOR_TIMEOUT ||
	       error == IGOR_NETWORK;
}

/* ---- The hostcalls, as docs/spec/abi.md has them. */

#ifdef __wasm__
#define IGOR_IMPORT(name) __attribute__((import_module("igor"), import_name(#name))) extern
#define IGOR_EXPORT(name) __attribute__((export_name(#name)))
#else
#define IGOR_IMPORT(name) extern /* igor_test.h has them */
#endif

IGOR_IMPORT(clock_now) int64_t igor_host_clock_now(void);
IGOR_IMPORT(rand_bytes) int32_t igor_host_rand_bytes(void *p, uint32_t size);
IGOR_IMPORT(log_emit) void igor_host_log_emit(const void *p, uint32_t size);
IGOR_IMPORT(wallet_balance) int64_t igor_host_wallet_balance(void);
IGOR_IMPORT(wallet_receipt_count) int32_t igor_host_wallet_receipt_count(void);
IGOR_IMPORT(wallet_receipt) int32_t igor_host_wallet_receipt(uint32_t index, void *p, uint32_t room);
IGOR_IMPORT(node_price) int64_t igor_host_node_price(void);
IGOR_IMPORT(http_request)
int32_t igor_host_http_request(const void *method, uint32_t method_size, const void *url, uint32_t url_size, const void *headers,
			       uint32_t headers_size, const void *body, uint32_t body_size, void *p, uint32_t room);
IGOR_IMPORT(wallet_pay)
int32_t igor_host_wallet_pay(int64_t amount, const void *recipient, uint32_t recipient_size, const void *memo, uint32_t memo_size,
			     void *p, uint32_t room);
IGOR_IMPORT(kv_get) int32_t igor_host_kv_get(const void *key, uint32_t key_size, void *p, uint32_t room);
IGOR_IMPORT(kv_put) int32_t igor_host_kv_put(const void *key, uint32_t key_size, const void *p, uint32_t size);
IGOR_IMPORT(kv_delete) int32_t igor_host_kv_delete(const void *key, uint32_t key_size);
IGOR_IMPORT(node_id) int32_t igor_host_node_id(void *p, uint32_t room);
IGOR_IMPORT(peer_count) int32_t igor_host_peer_count(void);
IGOR_IMPORT(peer_offer) int32_t igor_host_peer_offer(uint32_t index, void *p, uint32_t room);
IGOR_IMPORT(migrate) int32_t igor_host_migrate(const void *did, uint32_t did_size);
IGOR_IMPORT(migrate_status) int32_t igor_host_migrate_status(void);
IGOR_IMPORT(drain_deadline) int64_t igor_host_drain_deadline(void);

/* ---- A program's end. */

/* Ends the agent with a message and the place, for what cannot be gone on with. It is written to
 * standard error, which reaches the operator and needs no capability. */
#define igor_panic(message) igor_panic_at(__FILE__, __LINE__, message)

#ifdef __wasm__
struct igor_part {
	const void *p;
	uint32_t size;
};

__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_write"))) extern int32_t
igor_fd_write(int32_t fd, const struct igor_part *parts, uint32_t count, uint32_t *written);
#endif

__attribute__((noreturn)) IGOR_API void igor_panic_at(const char *file, int line, const char *message)
{
#ifdef __wasm__
	char digits[12];
	char *number = digits + sizeof digits;
	uint32_t written;
	do {
		*--number = (char)('0' + line % 10);
	} while ((line /= 10) != 0);
	struct igor_part parts[] = {
		{file, (uint32_t)strlen(file)}, {":", 1}, {number, (uint32_t)(digits + sizeof digits - number)},
		{": ", 2}, {message, (uint32_t)strlen(message)}, {"\n", 1},
	};
	igor_fd_write(2, parts, sizeof parts / sizeof *parts, &written);
	__builtin_trap();
#else
	fprintf(stderr, "%s:%d: %s\n", file, line, message);
	abort();
#endif
}

/* Memory that is there. */
IGOR_API void *igor_alloc(void *p, size_t size)
{
	p = realloc(p, size ? size : 1);
	if (!p)
		igor_panic("out of memory");
	return p;
}

/* ---- clock */

/* A moment, in nanoseconds since 1970. */
typedef int64_t igor_time;

#define IGOR_NEVER INT64_MIN /* a time that was not set, for the other SDKs */
#define IGOR_SECOND INT64_C(1000000000)

IGOR_API igor_time igor_now(void)
{
	return igor_host_clock_now();
}

/* ---- rand */

/* Fills at most 1 MiB with randomness. */
IGOR_API int igor_rand(void *p, uint32_t size)
{
	return size ? igor_host_rand_bytes(p, size) : 0;
}

/* ---- log */

/* Writes a line, of which 4,096 bytes are kept. */
IGOR_API void igor_log(const char *line)
{
	if (*line)
		igor_host_log_emit(line, (uint32_t)strlen(line));
}

/* The same, as printf has it. */
__attribute__((format(printf, 1, 2))) IGOR_API void igor_logf(const char *format, ...)
{
	char line[4097];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	igor_log(line);
}

/* ---- Results that are of any size. The caller frees what they hold. */

struct igor_data {
	uint8_t *p; /* a zero byte stands behind it, so that a text is a string */
	uint32_t size;
};

IGOR_API void igor_free(struct igor_data *d)
{
	free(d->p);
	*d = (struct igor_data){0};
}

IGOR_API uint32_t igor_number(const void *p)
{
	const uint8_t *b = p;
	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

IGOR_API void igor_set_number(void *p, uint32_t v)
{
	uint8_t *b = p;
	for (int i = 0; i < 4; i++)
		b[i] = (uint8_t)(v >> 8 * i);
}

IGOR_API void igor_keep(struct igor_data *d, uint8_t *p, uint32_t size)
{
	p = igor_alloc(p, (size_t)size + 1);
	p[size] = 0;
	*d = (struct igor_data){p, size};
}

/* Keeps what is in a buffer behind its length. */
IGOR_API int igor_keep_sized(struct igor_data *d, uint8_t *p, uint32_t room)
{
	uint32_t n = igor_number(p);
	if (n > room - 4) {
		free(p);
		return IGOR_PROCESSING;
	}
	memmove(p, p + 4, n);
	igor_keep(d, p, n);
	return 0;
}

/* ---- The form of a state, which all SDKs write: a version, then values, one after the other.
 * Integers are little-endian; bytes and text have their length (u32) before them. */

struct igor_encoder {
	uint8_t *p;
	size_t size, room;
};

IGOR_API void igor_put(struct igor_encoder *e, const void *p, size_t size)
{
	if (e->room - e->size < size) {
		e->room = 2 * e->room + size + 64;
		e->p = igor_alloc(e->p, e->room);
	}
	if (size)
		memcpy(e->p + e->size, p, size);
	e->size += size;
}

IGOR_API void igor_put_u8(struct igor_encoder *e, uint8_t v)
{
	igor_put(e, &v, 1);
}

IGOR_API void igor_put_u32(struct igor_encoder *e, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		igor_put_u8(e, (uint8_t)(v >> 8 * i));
}

IGOR_API void igor_put_u64(struct igor_encoder *e, uint64_t v)
{
	igor_put_u32(e, (uint32_t)v);
	igor_put_u32(e, (uint32_t)(v >> 32));
}

IGOR_API void igor_put_bytes(struct igor_encoder *e, const void *p, size_t size)
{
	igor_put_u32(e, (uint32_t)size);
	igor_put(e, p, size);
}

/* Reads what an encoder wrote. After the first error all values are zero. */
struct igor_decoder {
	const uint8_t *p;
	size_t left;
	int error;
};

IGOR_API const uint8_t *igor_take(struct igor_decoder *d, size_t size)
{
	if (size > d->left)
		d->error = IGOR_BAD_STATE;
	if (d->error) {
		d->left = 0;
		return NULL;
	}
	d->p += size;
	d->left -= size;
	return d->p - size;
}

IGOR_API uint8_t igor_take_u8(struct igor_decoder *d)
{
	const uint8_t *p = igor_take(d, 1);
	return p ? *p : 0;
}

IGOR_API uint32_t igor_take_u32(struct igor_decoder *d)
{
	const uint8_t *p = igor_take(d, 4);
	return p ? igor_number(p) : 0;
}

IGOR_API uint64_t igor_take_u64(struct igor_decoder *d)
{
	const uint8_t *p = igor_take(d, 8);
	return p ? igor_number(p) | (uint64_t)igor_number(p + 4) << 32 : 0;
}

/* Reads a number of things that follow, each of at least so many bytes. More than there can be in
 * what is left are an error. */
IGOR_API uint32_t igor_take_count(struct igor_decoder *d, uint32_t size)
{
	uint32_t n = igor_take_u32(d);
	if ((uint64_t)n * (size ? size : 1) > d->left)
		d->error = IGOR_BAD_STATE;
	return d->error ? 0 : n;
}

IGOR_API bool igor_take_bool(struct igor_decoder *d)
{
	uint8_t b = igor_take_u8(d);
	if (b > 1)
		d->error = IGOR_BAD_STATE;
	return b == 1;
}

/* Reads into a buffer of fixed size. Returns how many bytes were read. */
IGOR_API uint32_t igor_take_into(struct igor_decoder *d, void *to, size_t room)
{
	uint32_t n = igor_take_count(d, 1);
	const uint8_t *p = igor_take(d, n);
	if (!p || n > room) {
		d->error = IGOR_BAD_STATE;
		return 0;
	}
	memcpy(to, p, n);
	return n;
}

/* Reads a text, which ends with a zero byte in memory and has none in it. */
IGOR_API void igor_take_text(struct igor_decoder *d, char *to, size_t room)
{
	uint32_t n = igor_take_into(d, to, room - 1);
	to[n] = 0;
	if (strlen(to) != n)
		d->error = IGOR_BAD_STATE;
}

/* ---- kv: a store that is part of the agent's state. Keys have at most 1 KiB, values 1 MiB. */

IGOR_API int igor_kv_error(int32_t n)
{
	return n == -4 ? IGOR_NO_ROOM : n == -5 ? IGOR_NOT_FOUND : n == -6 ? IGOR_FULL : n;
}

IGOR_API int igor_kv_get(const char *key, struct igor_data *value)
{
	uint32_t room = 16 << 10;
	for (;;) {
		uint8_t *p = igor_alloc(NULL, room);
		int32_t n = igor_host_kv_get(key, (uint32_t)strlen(key), p, room);
		if (n >= 0) {
			igor_keep(value, p, (uint32_t)n);
			return 0;
		}
		uint32_t needed = n == -4 ? igor_number(p) : 0;
		free(p);
		if (needed <= room || needed > 1 << 20)
			return igor_kv_error(n);
		room = needed;
	}
}

IGOR_API int igor_kv_put(const char *key, const void *value, uint32_t size)
{
	return igor_kv_error(igor_host_kv_put(key, (uint32_t)strlen(key), value, size));
}

IGOR_API int igor_kv_delete(const char *key)
{
	return igor_kv_error(igor_host_kv_delete(key, (uint32_t)strlen(key)));
}

/* ---- What an effect log, below, knows of requests. */

enum { IGOR_HTTP = 8, IGOR_PAYMENT = 9 };

/* Begins the request that a side effect makes, if an act is under way. */
IGOR_API bool igor_asking(struct igor_encoder *request, uint8_t kind);

/* Whether the act's log knows what came of that request, and what. Its intent has the request from
 * now on. A GET is a side effect only if it was paid, which shows when nobody knows what became of
 * that: it is not sure. */
IGOR_API bool igor_answered(struct igor_encoder *request, bool sure, uint8_t *p, uint32_t room, int32_t *result);

/* Is called with the result: the request is over. */
IGOR_API void igor_asked(struct igor_encoder *request, int32_t result);

/* ---- wallet, pricing and x402. Amounts are in microcents. */

#define IGOR_MAX_RECEIPT 1452

/* The budget that is left. */
IGOR_API int64_t igor_balance(void)
{
	return igor_host_wallet_balance();
}

/* What a second of tick time costs. */
IGOR_API int64_t igor_price(void)
{
	return igor_host_node_price();
}

/* How many receipts there are of the agent's payments. */
IGOR_API int igor_receipts(void)
{
	return igor_host_wallet_receipt_count();
}

/* One of them, from 0 on, as docs/spec/receipts.md has it. */
IGOR_API int igor_receipt(uint32_t index, struct igor_data *receipt)
{
	uint8_t *p = igor_alloc(NULL, IGOR_MAX_RECEIPT);
	int32_t n = igor_host_wallet_receipt(index, p, IGOR_MAX_RECEIPT);
	if (n < 0) {
		free(p);
		return n == -4 ? IGOR_NO_ROOM : n;
	}
	igor_keep(receipt, p, (uint32_t)n);
	return 0;
}

/* Pays a recipient that the manifest allows. A payment is a side effect: see struct igor_effects. */
IGOR_API int igor_pay(int64_t amount, const char *recipient, const char *memo, struct igor_data *receipt)
{
	const uint32_t room = 4 + IGOR_MAX_RECEIPT;
	uint8_t *p = igor_alloc(NULL, room);
	struct igor_encoder request = {0};
	int32_t n;
	if (igor_asking(&request, IGOR_PAYMENT)) {
		igor_put_u64(&request, (uint64_t)amount);
		igor_put_bytes(&request, recipient, strlen(recipient));
		igor_put_bytes(&request, memo, strlen(memo));
	}
	if (!igor_answered(&request, true, p, room, &n))
		n = igor_host_wallet_pay(amount, recipient, (uint32_t)strlen(recipient), memo, (uint32_t)strlen(memo), p, room);
	igor_asked(&request, n);
	if (n < 0) {
		free(p);
		return n == -4 ? IGOR_OVER_CAP : n;
	}
	return igor_keep_sized(receipt, p, room);
}

/* ---- http: requests to the hosts that the manifest names. */

#define IGOR_MAX_BODY (1 << 20)

struct igor_request {
	const char *method;  /* NULL: GET */
	const char *url;
	const char *headers; /* lines "Name: value", or NULL */
	const void *body;
	uint32_t size;       /* of the body */
	uint32_t room;       /* how large the response may be; 0: a GET or HEAD gets what it needs, others the most */
};

struct igor_response {
	int status;
	struct igor_data body;
	bool effect; /* of a request that is neither GET nor HEAD */
};

/* Sends a request. One that is neither GET nor HEAD is a side effect: see struct igor_effects. */
IGOR_API int igor_send(const struct igor_request *q, struct igor_response *r)
{
	const char *method = q->method ? q->method : "GET", *headers = q->headers ? q->headers : "";
	bool effect = strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
	bool grow = q->room == 0 && !effect;
	uint32_t room = q->room ? q->room : grow ? 16 << 10 : IGOR_MAX_BODY;
	*r = (struct igor_response){.effect = effect};
	for (;;) {
		uint8_t *p = igor_alloc(NULL, 4 + room);
		struct igor_encoder request = {0};
		int32_t status;
		if (igor_asking(&request, IGOR_HTTP)) {
			igor_put_bytes(&request, method, strlen(method));
			igor_put_bytes(&request, q->url, strlen(q->url));
			igor_put_bytes(&request, headers, strlen(headers));
			igor_put_bytes(&request, q->body, q->size);
		}
		if (!igor_answered(&request, effect, p, 4 + room, &status))
			status = igor_host_http_request(method, (uint32_t)strlen(method), q->url, (uint32_t)strlen(q->url), headers,
							(uint32_t)strlen(headers), q->body, q->size, p, 4 + room);
		igor_asked(&request, status);
		if (status >= 0) {
			r->status = status;
			return igor_keep_sized(&r->body, p, 4 + room);
		}
		uint32_t needed = status == -5 ? igor_number(p) : 0;
		free(p);
		if (!grow || needed <= 4 + room || needed > 4 + IGOR_MAX_BODY)
			return status == -1 ? IGOR_NETWORK : status;
		room = needed - 4;
		grow = false;
	}
}

/* Sends a GET. */
IGOR_API int igor_get(const char *url, struct igor_response *r)
{
	return igor_send(&(struct igor_request){.url = url}, r);
}

/* Returns 0 if the status is one of success (2xx). What a server refuses (4xx) did not happen, and
 * after any other status, as of a server that failed midway, it may have. */
IGOR_API int igor_check(const struct igor_response *r)
{
	if (r->status >= 200 && r->status < 300)
		return 0;
	if (r->status >= 400 && r->status < 500 && r->status != 408) /* which a proxy sends after the fact, too */
		return IGOR_PROCESSING;
	return r->effect ? IGOR_UNRESOLVED : IGOR_FAILED;
}

/* ---- node: where the agent lives. Elsewhere these are IGOR_NOT_ON_NODE. */

IGOR_API int igor_node_error(int32_t n)
{
	return n == -1 ? IGOR_NOT_ON_NODE : n == -4 ? IGOR_NO_ROOM : n;
}

/* The node's DID, as a string. */
IGOR_API int igor_node_id(char *did, uint32_t room)
{
	if (room == 0)
		return IGOR_NO_ROOM;
	int32_t n = igor_host_node_id(did, room - 1);
	did[n < 0 ? 0 : n] = 0;
	return n < 0 ? igor_node_error(n) : 0;
}

/* How many peers have an offer that the manifest allows. */
IGOR_API int igor_peers(void)
{
	return igor_node_error(igor_host_peer_count());
}

/* The signed offer of one of them, from 0 on. Returns its size. */
IGOR_API int igor_offer(uint32_t index, void *p, uint32_t room)
{
	return igor_node_error(igor_host_peer_offer(index, p, room));
}

/* Asks to be moved to a node, after this tick's checkpoint. */
IGOR_API int igor_migrate(const char *did)
{
	return igor_node_error(igor_host_migrate(did, (uint32_t)strlen(did)));
}

/* 0 nothing was asked for, 1 asked for, 2 moved, or why it failed. */
IGOR_API int igor_migration(void)
{
	return igor_node_error(igor_host_migrate_status());
}

/* When the node wants to be empty: 0, it does not. */
IGOR_API int igor_drain_deadline(igor_time *deadline)
{
	int64_t t = igor_host_drain_deadline();
	*deadline = t < 0 ? 0 : t;
	return t < 0 ? igor_node_error((int32_t)t) : 0;
}

/* ---- The effect log: which side effects were meant, which may have happened, which are settled.
 * docs/spec/effects.md has its rules. In memory it is what it is in the state.
 *
 *	int error = igor_effect_begin(&a->effects, "order-7", order, size);
 *	if (error == 0) {
 *		error = send(order);
 *		igor_effect_end(&a->effects, "order-7", error);
 *	}
 *	if (igor_may_have_happened(error)) {
 *		// Nobody knows. igor_effect_open finds it in a later tick, when the agent has to ask,
 *		// and then call igor_effect_confirm or igor_effect_compensate.
 *	}
 */

#define IGOR_MAX_INTENTS (1u << 16)
#define IGOR_MAX_ID 256u
#define IGOR_MAX_INTENT_DATA (2u << 20)
#define IGOR_MAX_EFFECTS (16u << 20)

enum { IGOR_RECORDED = 1, IGOR_IN_FLIGHT, IGOR_CONFIRMED, IGOR_NOBODY_KNOWS, IGOR_COMPENSATED };

/* Begins as zeros. */
struct igor_effects {
	uint8_t *p; /* the intents */
	uint32_t size, count;

	uint8_t *asked; /* the requests of open intents, as they are in the state */
	uint32_t asked_count;
	uint8_t *kept; /* findings of requests that the log has no intent of */
	uint32_t kept_size, kept_count;
};

/* An intent, inside of the log: it is gone when the log is changed. */
struct igor_intent {
	uint8_t *state; /* one of the states above */
	const uint8_t *id, *data;
	uint32_t id_size, data_size;
	uint32_t next; /* where the next one begins */
};

/* Reads the intent that begins at a place, false at the end. To go through a log:
 *
 *	struct igor_intent i = {0};
 *	while (igor_effect_next(&log, &i)) …
 */
IGOR_API bool igor_effect_next(const struct igor_effects *log, struct igor_intent *i)
{
	if (i->next >= log->size)
		return false;
	uint8_t *p = log->p + i->next;
	i->state = p;
	i->id_size = igor_number(p + 1);
	i->id = p + 5;
	i->data_size = igor_number(i->id + i->id_size);
	i->data = i->id + i->id_size + 4;
	i->next += 9 + i->id_size + i->data_size;
	return true;
}

IGOR_API bool igor_effect_find(const struct igor_effects *log, const char *id, struct igor_intent *i)
{
	size_t size = strlen(id);
	*i = (struct igor_intent){0};
	while (igor_effect_next(log, i)) {
		if (i->id_size == size && memcmp(i->id, id, size) == 0)
			return true;
	}
	return false;
}

/* Finds the next intent whose act may have happened, as igor_effect_next does. Ask the outside world
 * about each at the start of a tick, then confirm or compensate it. */
IGOR_API bool igor_effect_open(const struct igor_effects *log, struct igor_intent *i)
{
	while (igor_effect_next(log, i)) {
		if (*i->state == IGOR_IN_FLIGHT || *i->state == IGOR_NOBODY_KNOWS)
			return true;
	}
	return false;
}

IGOR_API int igor_effect_record(struct igor_effects *log, const char *id, const void *data, uint32_t size)
{
	struct igor_intent i;
	size_t id_size = strlen(id);
	if (igor_effect_find(log, id, &i))
		return IGOR_LOG_DUPLICATE;
	if (id_size == 0 || id_size > IGOR_MAX_ID || size > IGOR_MAX_INTENT_DATA || log->count >= IGOR_MAX_INTENTS ||
	    4 + log->size + 9 + id_size + size > IGOR_MAX_EFFECTS)
		return IGOR_LOG_LIMIT;
	struct igor_encoder e = {log->p, log->size, log->size};
	igor_put_u8(&e, IGOR_RECORDED);
	igor_put_bytes(&e, id, id_size);
	igor_put_bytes(&e, data, size);
	log->p = e.p;
	log->size = (uint32_t)e.size;
	log->count++;
	return 0;
}

/* Which intent it is, from 0 on. */
IGOR_API uint32_t igor_place(const struct igor_effects *log, const struct igor_intent *i)
{
	struct igor_intent other = {0};
	uint32_t n = 0;
	while (igor_effect_next(log, &other) && other.state != i->state)
		n++;
	return n;
}

/* A request of an open intent: its place u32, whether it is to be confirmed when a tick begins u8,
 * and the request's digest. */
#define IGOR_ASKED 37u

IGOR_API uint8_t *igor_find_asked(const struct igor_effects *log, uint32_t place)
{
	for (uint32_t n = 0; n < log->asked_count; n++) {
		uint8_t *a = log->asked + (size_t)n * IGOR_ASKED;
		if (igor_number(a) == place)
			return a;
	}
	return NULL;
}

IGOR_API void igor_drop_asked(struct igor_effects *log, uint32_t place)
{
	uint8_t *a = igor_find_asked(log, place);
	if (!a)
		return;
	uint8_t *end = log->asked + (size_t)log->asked_count-- * IGOR_ASKED;
	memmove(a, a + IGOR_ASKED, (size_t)(end - a) - IGOR_ASKED);
}

IGOR_API int igor_effect_move(struct igor_effects *log, const char *id, uint8_t to)
{
	struct igor_intent i;
	if (!igor_effect_find(log, id, &i))
		return IGOR_LOG_UNKNOWN;
	bool open = *i.state == IGOR_IN_FLIGHT || *i.state == IGOR_NOBODY_KNOWS;
	if (to == IGOR_IN_FLIGHT ? *i.state != IGOR_RECORDED : !open)
		return IGOR_LOG_ORDER;
	*i.state = to;
	if (to != IGOR_IN_FLIGHT)
		igor_drop_asked(log, igor_place(log, &i));
	return 0;
}

/* Says that the act happened. */
IGOR_API int igor_effect_confirm(struct igor_effects *log, const char *id)
{
	return igor_effect_move(log, id, IGOR_CONFIRMED);
}

/* Says that the act did not happen, or was undone. */
IGOR_API int igor_effect_compensate(struct igor_effects *log, const char *id)
{
	return igor_effect_move(log, id, IGOR_COMPENSATED);
}

/* The act under way. It is the same in every file of a program. */
struct igor_act {
	struct igor_effects *log;
	uint32_t place;
};
__attribute__((weak)) struct igor_act igor_acting;

/* Records the intent of a side effect, which has to follow in the same tick. An id names an act for
 * ever: one that the log has is an error, and nothing may be done. An act makes one request; if it
 * makes several, the newest is the one that the host's findings are about. */
IGOR_API int igor_effect_begin(struct igor_effects *log, const char *id, const void *data, uint32_t size)
{
	int error = igor_effect_record(log, id, data, size);
	if (error == 0)
		error = igor_effect_move(log, id, IGOR_IN_FLIGHT);
	if (error == 0)
		igor_acting = (struct igor_act){log, log->count - 1};
	return error;
}

/* Notes how it went: 0, or an error. If it may have happened it is unresolved at once, as it would be
 * when loaded: the state must not depend on where in the life the agent was restored. What was paid and
 * not delivered happened. */
IGOR_API int igor_effect_end(struct igor_effects *log, const char *id, int error)
{
	igor_acting.log = NULL;
	if (error >= 0)
		return igor_effect_confirm(log, id);
	if (error == IGOR_NOT_DELIVERED)
		return igor_effect_confirm(log, id);
	if (!igor_may_have_happened(error))
		return igor_effect_compensate(log, id);
	struct igor_intent i;
	if (!igor_effect_find(log, id, &i))
		return IGOR_LOG_UNKNOWN;
	if (*i.state != IGOR_IN_FLIGHT)
		return IGOR_LOG_ORDER;
	*i.state = IGOR_NOBODY_KNOWS;
	return 0;
}

/* Drops the finished intents. The log then no longer knows their ids: prune an intent only when
 * nothing can ask for its act a second time. */
IGOR_API void igor_effect_prune(struct igor_effects *log)
{
	struct igor_intent i = {0};
	uint32_t kept = 0, count = 0, at = 0, place = 0;
	for (; igor_effect_next(log, &i); at = i.next, place++) {
		if (*i.state == IGOR_CONFIRMED || *i.state == IGOR_COMPENSATED)
			continue;
		uint8_t *asked = igor_find_asked(log, place); /* of places that were moved, none is as far */
		if (asked)
			igor_set_number(asked, count);
		uint32_t size = i.next - at;
		memmove(log->p + kept, log->p + at, size);
		kept += size;
		count++;
	}
	log->size = kept;
	log->count = count;
}

/* ---- Findings: what the host tells of side effects, as docs/spec/abi.md has it. An agent need not do
 * anything for it: what an operator found out ends the open intent whose act made that request (the
 * oldest, if several did), and what a tick did that failed answers the same request, once, instead of
 * sending it again. */

enum {
	IGOR_FOUND_CONFIRMED = 1, /* it happened, as an operator found out */
	IGOR_FOUND_COMPENSATED,   /* it did not happen, or was undone */
	IGOR_FOUND_UNRESOLVED,    /* a tick that failed began it, and it may have happened */
	IGOR_FOUND_ENDED,         /* a tick that failed made it, and this is what came of it */
};

struct igor_bytes {
	const uint8_t *p;
	uint32_t size;
};

struct igor_finding {
	uint8_t outcome, kind;
	const uint8_t *effect; /* its id, 32 bytes */
	uint64_t tick;         /* that caused it */
	uint32_t ordinal;
	int64_t returned; /* by the hostcall, of one that ended */
	struct igor_bytes request, result, note;
};

IGOR_API int igor_finding_read(struct igor_finding *f, const uint8_t *p, size_t size)
{
	struct igor_decoder d = {p, size, 0};
	*f = (struct igor_finding){.outcome = igor_take_u8(&d)};
	f->kind = igor_take_u8(&d);
	f->effect = igor_take(&d, 32);
	f->tick = igor_take_u64(&d);
	f->ordinal = igor_take_u32(&d);
	f->returned = (int64_t)igor_take_u64(&d);
	struct igor_bytes *parts[] = {&f->request, &f->result, &f->note};
	for (int i = 0; i < 3; i++) {
		parts[i]->size = igor_take_count(&d, 1);
		parts[i]->p = igor_take(&d, parts[i]->size);
	}
	return d.error || d.left ? IGOR_BAD_FINDING : 0;
}

/* SHA-256. */
IGOR_API void igor_digest_block(uint32_t h[8], const uint8_t *block)
{
	static const uint32_t constants[64] = {
		0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
		0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
		0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
		0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
		0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
		0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
		0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
		0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
	};
	uint32_t w[64], v[8];
	for (int i = 0; i < 16; i++, block += 4)
		w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
#define IGOR_RIGHT(x, n) ((x) >> (n) | (x) << (32 - (n)))
	for (int i = 16; i < 64; i++) {
		uint32_t x = w[i - 15], y = w[i - 2];
		w[i] = w[i - 16] + (IGOR_RIGHT(x, 7) ^ IGOR_RIGHT(x, 18) ^ x >> 3) + w[i - 7] +
		       (IGOR_RIGHT(y, 17) ^ IGOR_RIGHT(y, 19) ^ y >> 10);
	}
	memcpy(v, h, sizeof v);
	for (int i = 0; i < 64; i++) {
		uint32_t a = v[0], e = v[4];
		uint32_t t1 = v[7] + (IGOR_RIGHT(e, 6) ^ IGOR_RIGHT(e, 11) ^ IGOR_RIGHT(e, 25)) + ((e & v[5]) ^ (~e & v[6])) +
			      constants[i] + w[i];
		uint32_t t2 = (IGOR_RIGHT(a, 2) ^ IGOR_RIGHT(a, 13) ^ IGOR_RIGHT(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
		memmove(v + 1, v, 7 * sizeof *v);
		v[4] += t1;
		v[0] = t1 + t2;
	}
#undef IGOR_RIGHT
	for (int i = 0; i < 8; i++)
		h[i] += v[i];
}

IGOR_API void igor_digest(uint8_t sum[32], const uint8_t *p, size_t size)
{
	uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	uint8_t last[128] = {0};
	size_t left = size;
	for (; left >= 64; left -= 64, p += 64)
		igor_digest_block(h, p);
	if (left)
		memcpy(last, p, left);
	last[left] = 0x80;
	size_t end = left < 56 ? 64 : 128;
	for (int i = 0; i < 8; i++)
		last[end - 1 - (size_t)i] = (uint8_t)((uint64_t)size * 8 >> 8 * i);
	for (size_t i = 0; i < end; i += 64)
		igor_digest_block(h, last + i);
	for (int i = 0; i < 32; i++)
		sum[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/* Names a request. */
IGOR_API void igor_request_digest(uint8_t sum[32], uint8_t kind, struct igor_bytes request)
{
	struct igor_encoder e = {0};
	igor_put_u8(&e, kind);
	igor_put(&e, request.p, request.size);
	igor_digest(sum, e.p, e.size);
	free(e.p);
}

#define IGOR_MAX_FINDINGS (1u << 10)
#define IGOR_MAX_RESULTS (2u << 20)

/* A finding that is kept: outcome u8 (confirmed was unresolved before), effect, digest of the request,
 * returned i64, length u32 and result. */
#define IGOR_KEPT 77u

IGOR_API uint32_t igor_kept_size(const uint8_t *k)
{
	return IGOR_KEPT + igor_number(k + 73);
}

/* Finds a kept finding by 32 bytes that stand in it somewhere. */
IGOR_API uint8_t *igor_find_kept(const struct igor_effects *log, uint32_t at, const uint8_t *name)
{
	uint8_t *k = log->kept;
	for (uint32_t n = 0; n < log->kept_count; n++, k += igor_kept_size(k)) {
		if (memcmp(k + at, name, 32) == 0)
			return k;
	}
	return NULL;
}

IGOR_API void igor_drop_kept(struct igor_effects *log, uint8_t *k)
{
	uint32_t size = igor_kept_size(k), at = (uint32_t)(k - log->kept);
	memmove(k, k + size, log->kept_size - at - size);
	log->kept_size -= size;
	log->kept_count--;
}

/* Drops what was kept of an effect: the same request is sent again. */
IGOR_API void igor_effect_forget(struct igor_effects *log, const uint8_t *effect)
{
	uint8_t *k = igor_find_kept(log, 1, effect);
	if (k)
		igor_drop_kept(log, k);
}

IGOR_API bool igor_asking(struct igor_encoder *request, uint8_t kind)
{
	if (igor_acting.log)
		igor_put_u8(request, kind);
	return igor_acting.log;
}

/* Notes the request of the intent whose act is under way. It is the newest intent, so it is the last. */
IGOR_API void igor_note_asked(const uint8_t digest[32], bool confirmed)
{
	struct igor_effects *log = igor_acting.log;
	uint8_t asked[IGOR_ASKED] = {0};
	igor_set_number(asked, igor_acting.place);
	asked[4] = confirmed;
	memcpy(asked + 5, digest, 32);
	igor_drop_asked(log, igor_acting.place);
	size_t size = (size_t)log->asked_count * IGOR_ASKED;
	struct igor_encoder e = {log->asked, size, size};
	igor_put(&e, asked, sizeof asked);
	log->asked = e.p;
	log->asked_count++;
}

IGOR_API void igor_asked(struct igor_encoder *request, int32_t result)
{
	uint8_t digest[32];
	if (request->size > 0 && result == IGOR_UNRESOLVED) {
		igor_digest(digest, request->p, request->size);
		const uint8_t *asked = igor_find_asked(igor_acting.log, igor_acting.place);
		if (!asked || memcmp(asked + 5, digest, 32) != 0)
			igor_note_asked(digest, false);
	}
	free(request->p);
}

IGOR_API bool igor_answered(struct igor_encoder *request, bool sure, uint8_t *p, uint32_t room, int32_t *result)
{
	struct igor_effects *log = igor_acting.log;
	if (request->size == 0 || (!sure && log->kept_count == 0))
		return false;
	uint8_t digest[32];
	igor_digest(digest, request->p, request->size);
	uint8_t *k = igor_find_kept(log, 33, digest);
	if (sure || (k && *k != IGOR_FOUND_ENDED))
		igor_note_asked(digest, k && *k == IGOR_FOUND_CONFIRMED);
	if (!k)
		return false;
	uint32_t length = igor_number(k + 73);
	if (!sure && length > room) { /* it is asked for again, with more room */
		igor_set_number(p, length);
		*result = IGOR_TOO_LARGE;
		return true;
	}
	if (*k != IGOR_FOUND_ENDED) {
		*result = IGOR_UNRESOLVED;
	} else if (length > room) {
		igor_set_number(p, length);
		*result = IGOR_TOO_LARGE;
	} else {
		memset(p, 0, 4); /* where the size is read */
		memcpy(p, k + IGOR_KEPT, length);
		*result = (int32_t)igor_number(k + 65);
	}
	igor_drop_kept(log, k);
	return true;
}

/* Finds the intent that a finding ends. */
IGOR_API bool igor_effect_about(const struct igor_effects *log, const struct igor_finding *f, struct igor_intent *i)
{
	uint8_t digest[32];
	if (f->outcome != IGOR_FOUND_CONFIRMED && f->outcome != IGOR_FOUND_COMPENSATED)
		return false;
	if (igor_find_kept(log, 1, f->effect))
		return false;
	igor_request_digest(digest, f->kind, f->request);
	*i = (struct igor_intent){0};
	for (uint32_t place = 0; igor_effect_next(log, i); place++) {
		const uint8_t *asked = igor_find_asked(log, place);
		if (asked && memcmp(asked + 5, digest, 32) == 0)
			return true;
	}
	return false;
}

/* Takes in what the host tells of a side effect. Returns whether that ended an intent, and which.
 * IGOR_AGENT calls it for each effect log of the state. */
IGOR_API bool igor_effect_observe(struct igor_effects *log, const struct igor_finding *f, struct igor_intent *ended)
{
	uint8_t digest[32], *known = igor_find_kept(log, 1, f->effect);
	if (f->outcome == IGOR_FOUND_CONFIRMED || f->outcome == IGOR_FOUND_COMPENSATED) {
		if (known) {
			if (f->outcome == IGOR_FOUND_COMPENSATED)
				igor_drop_kept(log, known);
			else if (*known == IGOR_FOUND_UNRESOLVED)
				*known = IGOR_FOUND_CONFIRMED;
			return false;
		}
		if (!igor_effect_about(log, f, ended))
			return false;
		*ended->state = f->outcome == IGOR_FOUND_CONFIRMED ? IGOR_CONFIRMED : IGOR_COMPENSATED;
		igor_drop_asked(log, igor_place(log, ended));
		return true;
	}
	if ((f->outcome == IGOR_FOUND_UNRESOLVED || f->outcome == IGOR_FOUND_ENDED) && !known) {
		if (log->kept_count >= IGOR_MAX_FINDINGS)
			igor_panic("the effect log has 1024 findings of ticks that failed, the limit: look at the requests, or forget them");
		uint8_t outcome = f->outcome;
		igor_request_digest(digest, f->kind, f->request);
		/* That it may have happened is what must not be lost. */
		if (f->result.size > IGOR_MAX_RESULTS || log->kept_size - log->kept_count * IGOR_KEPT + f->result.size > IGOR_MAX_RESULTS)
			outcome = IGOR_FOUND_UNRESOLVED;
		bool whole = outcome == IGOR_FOUND_ENDED;
		struct igor_encoder e = {log->kept, log->kept_size, log->kept_size};
		igor_put_u8(&e, outcome);
		igor_put(&e, f->effect, 32);
		igor_put(&e, digest, 32);
		igor_put_u64(&e, whole ? (uint64_t)f->returned : 0);
		igor_put_bytes(&e, f->result.p, whole ? f->result.size : 0);
		log->kept = e.p;
		log->kept_size = (uint32_t)e.size;
		log->kept_count++;
	}
	return false;
}

/* Finds an intent that is known to have happened since before its request was made, once. */
IGOR_API bool igor_effect_settle(struct igor_effects *log, struct igor_intent *i)
{
	for (uint32_t n = 0; n < log->asked_count; n++) {
		uint8_t *a = log->asked + (size_t)n * IGOR_ASKED;
		if (a[4] == 0)
			continue;
		a[4] = 0;
		*i = (struct igor_intent){0};
		for (uint32_t place = 0; place <= igor_number(a); place++)
			igor_effect_next(log, i);
		return true;
	}
	return false;
}

/* ---- The log in the state. */

#define IGOR_EXTENDED 0xffffffffu /* stands where the count of intents would, if more is known of them */

IGOR_API void igor_effects_write(struct igor_encoder *e, const struct igor_effects *log)
{
	if (log->asked_count || log->kept_count) {
		igor_put_u32(e, IGOR_EXTENDED);
		igor_put_u32(e, log->asked_count);
		igor_put(e, log->asked, (size_t)log->asked_count * IGOR_ASKED);
		igor_put_u32(e, log->kept_count);
		igor_put(e, log->kept, log->kept_size);
	}
	igor_put_u32(e, log->count);
	igor_put(e, log->p, log->size);
}

IGOR_API void igor_put_effects(struct igor_encoder *e, const struct igor_effects *log)
{
	size_t start = e->size;
	igor_put_u32(e, 0);
	igor_effects_write(e, log);
	igor_set_number(e->p + start, (uint32_t)(e->size - start - 4));
}

/* Reads what stands before the intents, inside of the bytes. */
IGOR_API void igor_take_extension(struct igor_decoder *d, struct igor_effects *log)
{
	uint32_t results = 0;
	igor_take_u32(d);
	log->asked_count = igor_take_count(d, IGOR_ASKED);
	log->asked = (uint8_t *)igor_take(d, (size_t)log->asked_count * IGOR_ASKED);
	for (uint32_t n = 0; !d->error && n < log->asked_count; n++) {
		const uint8_t *a = log->asked + (size_t)n * IGOR_ASKED;
		if (a[4] > 1 || (n > 0 && igor_number(a) <= igor_number(a - IGOR_ASKED)))
			d->error = IGOR_BAD_STATE;
	}
	log->kept_count = igor_take_count(d, IGOR_KEPT);
	log->kept = (uint8_t *)d->p;
	if (log->kept_count > IGOR_MAX_FINDINGS || log->asked_count + log->kept_count == 0)
		d->error = IGOR_BAD_STATE;
	for (uint32_t n = 0; !d->error && n < log->kept_count; n++) {
		const uint8_t *k = igor_take(d, IGOR_KEPT), *other = log->kept;
		uint32_t length = k ? igor_number(k + 73) : 0;
		if (length > IGOR_MAX_RESULTS - results)
			d->error = IGOR_BAD_STATE;
		igor_take(d, length);
		results += length;
		if (d->error)
			return;
		bool answer = length || igor_number(k + 65) || igor_number(k + 69);
		if (*k != IGOR_FOUND_ENDED && ((*k != IGOR_FOUND_CONFIRMED && *k != IGOR_FOUND_UNRESOLVED) || answer))
			d->error = IGOR_BAD_STATE;
		for (; other < k; other += igor_kept_size(other)) {
			if (memcmp(other + 1, k + 1, 32) == 0)
				d->error = IGOR_BAD_STATE;
		}
		log->kept_size = (uint32_t)(d->p - log->kept);
	}
}

/* A copy of bytes, NULL of none. */
IGOR_API uint8_t *igor_copied(const uint8_t *p, size_t size)
{
	return size ? memcpy(igor_alloc(NULL, size), p, size) : NULL;
}

IGOR_API int igor_effects_load(struct igor_effects *log, const uint8_t *p, size_t size)
{
	struct igor_decoder d = {p, size, 0};
	struct igor_effects more = {0};
	if (size >= 4 && igor_number(p) == IGOR_EXTENDED)
		igor_take_extension(&d, &more);
	size = d.left;
	uint32_t count = igor_take_u32(&d);
	if (d.error || size > IGOR_MAX_EFFECTS || count > IGOR_MAX_INTENTS || count > d.left / 9)
		return IGOR_BAD_STATE;
	/* A table of where ids begin, so that one that stands twice is found in time. */
	uint32_t slots = 16;
	while (slots < 2 * count)
		slots *= 2;
	uint32_t *table = igor_alloc(NULL, slots * sizeof *table);
	memset(table, 0, slots * sizeof *table);
	const uint8_t *intents = d.p;
	for (uint32_t n = 0; n < count && !d.error; n++) {
		const uint8_t *intent = d.p;
		uint8_t state = igor_take_u8(&d);
		uint32_t id_size = igor_take_count(&d, 1);
		const uint8_t *id = igor_take(&d, id_size);
		uint32_t data_size = igor_take_count(&d, 1);
		igor_take(&d, data_size);
		if (d.error || state < IGOR_RECORDED || state > IGOR_COMPENSATED || id_size == 0 || id_size > IGOR_MAX_ID ||
		    data_size > IGOR_MAX_INTENT_DATA) {
			d.error = IGOR_BAD_STATE;
			break;
		}
		uint32_t hash = 2166136261u; /* FNV-1a */
		for (uint32_t i = 0; i < id_size; i++)
			hash = (hash ^ id[i]) * 16777619u;
		uint32_t slot = hash & (slots - 1);
		for (; table[slot]; slot = (slot + 1) & (slots - 1)) {
			const uint8_t *other = intents + table[slot] - 1;
			if (igor_number(other + 1) == id_size && memcmp(other + 5, id, id_size) == 0)
				d.error = IGOR_BAD_STATE;
		}
		table[slot] = (uint32_t)(intent - intents) + 1;
	}
	free(table);
	if (d.error || d.left)
		return IGOR_BAD_STATE;
	uint8_t *kept_intents = igor_copied(intents, size - 4);
	struct igor_effects loaded = {.p = kept_intents, .size = (uint32_t)size - 4, .count = count};
	/* The one rule: what was in flight when it was saved is unresolved. */
	struct igor_intent i = {0};
	uint32_t asked = 0;
	for (uint32_t place = 0; igor_effect_next(&loaded, &i); place++) {
		if (*i.state == IGOR_IN_FLIGHT)
			*i.state = IGOR_NOBODY_KNOWS;
		if (asked < more.asked_count && *i.state == IGOR_NOBODY_KNOWS && igor_number(more.asked + (size_t)asked * IGOR_ASKED) == place)
			asked++;
	}
	if (asked < more.asked_count) { /* a request of an intent that is not open */
		free(loaded.p);
		return IGOR_BAD_STATE;
	}
	loaded.asked_count = more.asked_count;
	loaded.asked = igor_copied(more.asked, (size_t)more.asked_count * IGOR_ASKED);
	loaded.kept_count = more.kept_count;
	loaded.kept_size = more.kept_size;
	loaded.kept = igor_copied(more.kept, more.kept_size);
	free(log->p);
	free(log->asked);
	free(log->kept);
	*log = loaded;
	return 0;
}

IGOR_API void igor_take_effects(struct igor_decoder *d, struct igor_effects *log)
{
	uint32_t size = igor_take_count(d, 1);
	const uint8_t *p = igor_take(d, size);
	if (!p || igor_effects_load(log, p, size) != 0)
		d->error = IGOR_BAD_STATE;
}

/* ---- IGOR_STATE(NAME, VERSION, FIELDS) makes struct NAME, and what saves and loads it. FIELDS is a
 * macro that lists the fields:
 *
 *	FIELD(u64, name)         uint64_t
 *	FIELD(i64, name)         int64_t
 *	FIELD(boolean, name)     bool
 *	FIELD(time, name)        igor_time
 *	FIELD(text, name, SIZE)  char [SIZE], a string
 *	FIELD(bytes, name, SIZE) struct { uint32_t size; uint8_t data[SIZE]; }
 *	FIELD(effects, name)     struct igor_effects
 */

#define IGOR_STATE(NAME, VERSION, FIELDS)                                                                                      \
	FIELDS(IGOR_KNOW)                                                                                                      \
	struct NAME {                                                                                                          \
		FIELDS(IGOR_DECLARE)                                                                                           \
	};                                                                                                                     \
	_Static_assert((VERSION) > 0 && (VERSION) < 256, "IGOR_STATE: a version is 1 to 255");                                 \
	IGOR_API void NAME##_save(struct igor_encoder *e, const struct NAME *s)                                                \
	{                                                                                                                      \
		igor_put_u8(e, (VERSION));                                                                                     \
		FIELDS(IGOR_SAVE)                                                                                              \
	}                                                                                                                      \
	IGOR_API int NAME##_load(struct igor_decoder *d, struct NAME *s)                                                       \
	{                                                                                                                      \
		if (igor_take_u8(d) != (VERSION))                                                                              \
			d->error = IGOR_BAD_STATE;                                                                             \
		FIELDS(IGOR_LOAD)                                                                                              \
		if (d->left)                                                                                                   \
			d->error = IGOR_BAD_STATE;                                                                             \
		return d->error;                                                                                               \
	}                                                                                                                      \
	IGOR_API struct igor_effects *NAME##_log(struct NAME *s, uint32_t at)                                                  \
	{                                                                                                                      \
		(void)s, (void)at;                                                                                             \
		FIELDS(IGOR_LOG)                                                                                               \
		return NULL;                                                                                                   \
	}

/* Of a field of another kind, a compiler says first that one of these is not declared. */
enum {
	there_is_no_field_of_kind_u64 = 1,
	there_is_no_field_of_kind_i64,
	there_is_no_field_of_kind_boolean,
	there_is_no_field_of_kind_time,
	there_is_no_field_of_kind_text,
	there_is_no_field_of_kind_bytes,
	there_is_no_field_of_kind_effects,
};
#define IGOR_KNOW(KIND, ...) _Static_assert(there_is_no_field_of_kind_##KIND, "");

#define IGOR_DECLARE(KIND, ...) IGOR_DECLARE_##KIND(__VA_ARGS__)
#define IGOR_SAVE(KIND, ...) IGOR_SAVE_##KIND(__VA_ARGS__)
#define IGOR_LOAD(KIND, ...) IGOR_LOAD_##KIND(__VA_ARGS__)
#define IGOR_LOG(KIND, ...) IGOR_LOG_##KIND(__VA_ARGS__)

#define IGOR_DECLARE_u64(NAME) uint64_t NAME;
#define IGOR_SAVE_u64(NAME) igor_put_u64(e, s->NAME);
#define IGOR_LOAD_u64(NAME) s->NAME = igor_take_u64(d);
#define IGOR_LOG_u64(NAME)

#define IGOR_DECLARE_i64(NAME) int64_t NAME;
#define IGOR_SAVE_i64(NAME) igor_put_u64(e, (uint64_t)s->NAME);
#define IGOR_LOAD_i64(NAME) s->NAME = (int64_t)igor_take_u64(d);
#define IGOR_LOG_i64(NAME)

#define IGOR_DECLARE_boolean(NAME) bool NAME;
#define IGOR_SAVE_boolean(NAME) igor_put_u8(e, s->NAME);
#define IGOR_LOAD_boolean(NAME) s->NAME = igor_take_bool(d);
#define IGOR_LOG_boolean(NAME)

#define IGOR_DECLARE_time(NAME) igor_time NAME;
#define IGOR_SAVE_time(NAME) IGOR_SAVE_i64(NAME)
#define IGOR_LOAD_time(NAME) IGOR_LOAD_i64(NAME)
#define IGOR_LOG_time(NAME)

#define IGOR_DECLARE_text(NAME, SIZE) char NAME[SIZE];
#define IGOR_SAVE_text(NAME, SIZE) igor_put_bytes(e, s->NAME, strlen(s->NAME));
#define IGOR_LOAD_text(NAME, SIZE) igor_take_text(d, s->NAME, SIZE);
#define IGOR_LOG_text(NAME, SIZE)

#define IGOR_DECLARE_bytes(NAME, SIZE)                                                                       \
	struct {                                                                                                               \
		uint32_t size;                                                                                                 \
		uint8_t data[SIZE];                                                                                            \
	} NAME;
#define IGOR_SAVE_bytes(NAME, SIZE) igor_put_bytes(e, s->NAME.data, s->NAME.size);
#define IGOR_LOAD_bytes(NAME, SIZE) s->NAME.size = igor_take_into(d, s->NAME.data, SIZE);
#define IGOR_LOG_bytes(NAME, SIZE)

#define IGOR_DECLARE_effects(NAME) struct igor_effects NAME;
#define IGOR_SAVE_effects(NAME) igor_put_effects(e, &s->NAME);
#define IGOR_LOAD_effects(NAME) igor_take_effects(d, &s->NAME);
#define IGOR_LOG_effects(NAME) if (at-- == 0) return &s->NAME;

/* ---- IGOR_AGENT(NAME, INIT, TICK) makes the program an agent whose state is the struct NAME. NAME_save
 * and NAME_load, which IGOR_STATE makes, can be written by hand too, with NAME_log(s, n), which returns
 * the state's effect log of that number, or NULL.
 *
 * IGOR_AGENT_OBSERVES(NAME, INIT, TICK, OBSERVE) makes one that hears what the host found out about a side
 * effect, with the open intent that it is about, or NULL:
 *
 *	static bool observe(struct heart *h, const struct igor_finding *f, const struct igor_intent *i)
 *
 * It counts what happened, as after an act, and returns true: the intent is over then. With false it stays
 * open, for the agent to ask; so it does with IGOR_AGENT, for what the agent has to count nobody else knows.
 * Of what was found out before its request was made, it gets the outcome alone, at the start of the tick
 * after that request. Side effects do not work in it. */

/* The id of an intent, beside the log. */
struct igor_name {
	char text[IGOR_MAX_ID + 1];
	uint32_t size;
};

IGOR_API void igor_name_of(struct igor_name *name, const struct igor_intent *i)
{
	memcpy(name->text, i->id, i->id_size);
	name->text[i->id_size] = 0;
	name->size = i->id_size;
}

IGOR_API bool igor_is_named(const struct igor_intent *i, const struct igor_name *name)
{
	return i->id_size == name->size && memcmp(i->id, name->text, name->size) == 0;
}

#define IGOR_AGENT(NAME, INIT, TICK) IGOR_AGENT_OBSERVES(NAME, INIT, TICK, IGOR_NOBODY_OBSERVES)
#define IGOR_NOBODY_OBSERVES(s, f, i) ((void)(s), (void)(f), (void)(i), false)

#define IGOR_AGENT_OBSERVES(NAME, INIT, TICK, OBSERVE)                                                                         \
	_Static_assert(sizeof(struct NAME) > 0, "IGOR_AGENT: an empty state");                                                 \
	IGOR_API int igor_agent_tick(struct NAME *s)                                                                           \
	{                                                                                                                      \
		struct igor_intent i;                                                                                          \
		struct igor_name name;                                                                                         \
		struct igor_effects *log;                                                                                      \
		const struct igor_finding found = {.outcome = IGOR_FOUND_CONFIRMED};                                           \
		igor_acting.log = NULL;                                                                                        \
		for (uint32_t n = 0; (log = NAME##_log(s, n)); n++) {                                                          \
			while (igor_effect_settle(log, &i)) {                                                                  \
				igor_name_of(&name, &i);                                                                       \
				if (OBSERVE(s, &found, &i))                                                                    \
					igor_effect_confirm(log, name.text);                                                   \
			}                                                                                                      \
		}                                                                                                              \
		return TICK(s);                                                                                                \
	}                                                                                                                      \
	IGOR_API void igor_agent_observe(struct NAME *s, const uint8_t *p, size_t size)                                        \
	{                                                                                                                      \
		struct igor_finding found;                                                                                     \
		struct igor_intent i, again;                                                                                   \
		struct igor_name name = {0};                                                                                   \
		struct igor_effects *log, *of = NULL;                                                                          \
		if (igor_finding_read(&found, p, size) != 0)                                                                   \
			igor_panic("a finding that cannot be read");                                                           \
		for (uint32_t n = 0; (log = NAME##_log(s, n)); n++) {                                                          \
			if (!igor_effect_about(log, &found, &again)) {                                                         \
				igor_effect_observe(log, &found, &again);                                                      \
			} else if (!of) {                                                                                      \
				of = log;                                                                                      \
				i = again;                                                                                     \
				igor_name_of(&name, &i);                                                                       \
			}                                                                                                      \
		}                                                                                                              \
		bool over = OBSERVE(s, &found, of ? &i : NULL);                                                                \
		if (over && of && igor_effect_about(of, &found, &again) && igor_is_named(&again, &name))                       \
			igor_effect_observe(of, &found, &again);                                                               \
	}                                                                                                                      \
	IGOR_EXPORTS(NAME, INIT)

#ifdef __wasm__
#define IGOR_EXPORTS(NAME, INIT)                                                                                               \
	static struct NAME igor_agent;                                                                                         \
	IGOR_EXPORT(agent_init) void igor_export_init(void)                                                                    \
	{                                                                                                                      \
		INIT(&igor_agent);                                                                                             \
	}                                                                                                                      \
	IGOR_EXPORT(agent_tick) int32_t igor_export_tick(void)                                                                 \
	{                                                                                                                      \
		return igor_agent_tick(&igor_agent);                                                                           \
	}                                                                                                                      \
	IGOR_EXPORT(agent_observe) void igor_export_observe(void *p, uint32_t size)                                            \
	{                                                                                                                      \
		igor_agent_observe(&igor_agent, p, size);                                                                      \
		free(p);                                                                                                       \
	}                                                                                                                      \
	static struct igor_encoder igor_saved;                                                                                 \
	IGOR_EXPORT(agent_checkpoint) uint32_t igor_export_checkpoint(void)                                                    \
	{                                                                                                                      \
		igor_saved.size = 0;                                                                                           \
		NAME##_save(&igor_saved, &igor_agent);                                                                         \
		return (uint32_t)igor_saved.size;                                                                              \
	}                                                                                                                      \
	IGOR_EXPORT(agent_checkpoint_ptr) void *igor_export_checkpoint_ptr(void)                                               \
	{                                                                                                                      \
		return igor_saved.p;                                                                                           \
	}                                                                                                                      \
	IGOR_EXPORT(agent_resume) void igor_export_resume(void *p, uint32_t size)                                              \
	{                                                                                                                      \
		struct igor_decoder d = {p, size, 0};                                                                          \
		if (NAME##_load(&d, &igor_agent) != 0)                                                                         \
			igor_panic("the state cannot be restored: it is not one of this program and version");                 \
		free(p);                                                                                                       \
	}
#else
#define IGOR_EXPORTS(NAME, INIT)                                                                                               \
	IGOR_API void igor_is_an_agent(struct NAME *s)                                                                         \
	{                                                                                                                      \
		INIT(s);                                                                                                       \
	}
#endif

#endif
