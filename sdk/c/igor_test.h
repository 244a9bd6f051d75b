/* igor_test.h is a world for an agent's tests: the same at every run, and observed. It needs no
 * WebAssembly. A test is a program of its own, which includes the agent's source:
 *
 *	#include "heart.c"
 *	#include "igor_test.h"
 *
 *	int main(void)
 *	{
 *		struct heart h = {0};
 *		igor_world_begin();
 *		init(&h);
 *		tick(&h);
 *		IGOR_RESTART(heart, &h);
 *		IGOR_CHECK(h.beats == 1);
 *		IGOR_CHECK(strcmp(igor_world.log, "alive\n") == 0);
 *	}
 *
 * The hostcalls give the results and have the limits of docs/spec/abi.md; what a manifest forbids is
 * not modelled, but for fail.
 */
#ifndef IGOR_TEST_H
#define IGOR_TEST_H

#include "igor.h"

/* What the web answers. */
struct igor_answer {
	int status;
	char body[4096]; /* a string */
};

/* A call that is to fail: with a result of docs/spec/abi.md, before it happens, or after, when the
 * answer is lost. */
struct igor_failure {
	int result;
	bool after;
};

/* A node for an agent to live on. */
struct igor_node {
	const char *id;     /* its DID */
	const char *offers; /* of its peers, strings, one after the other, and an empty one; NULL: none */
	igor_time drain;    /* when it wants to be empty; 0: it does not */
	char wish[257];     /* the DID of the node that the agent asked to be moved to */
	int migration;      /* what became of that wish: 0 none, 1 asked for, 2 moved */
};

static struct igor_world {
	int64_t time, step; /* what the clock says next, and by how much it moves with each look at it */
	uint64_t random;
	int64_t budget, price;

	char *log; /* what was logged, a line each */
	size_t log_size;

	int requests; /* that the web served */
	int payments; /* that were made; the receipt of one is its index in text, "payment 0" */

	/* Serves the agent's requests. If it is NULL, they fail. */
	void (*web)(const char *method, const char *url, const char *body, struct igor_answer *answer);
	/* Makes calls fail, "http_request", "wallet_pay" or "migrate", by URL, recipient or DID. */
	struct igor_failure (*fail)(const char *call, const char *target);

	/* The side effects that reached the world, and what came of them. IGOR_TELL tells the agent of one. */
	struct igor_effect {
		uint8_t kind; /* IGOR_HTTP or IGOR_PAYMENT */
		struct igor_encoder request, result;
		int32_t returned;
	} effects[64];
	int effect_count;

	struct igor_node *node; /* where the agent lives, NULL: on no node */

	struct igor_entry {
		char *key, *value;
		uint32_t key_size, size;
		struct igor_entry *next;
	} *kv;
	bool resuming;
} igor_world;

/* Begins a new world, on 2022-01-01, with a budget of 1 (1,000,000 microcents); each look at the clock
 * takes a millisecond. */
IGOR_API void igor_world_begin(void)
{
	free(igor_world.log);
	for (int i = 0; i < igor_world.effect_count; i++)
		free(igor_world.effects[i].request.p), free(igor_world.effects[i].result.p);
	while (igor_world.kv) {
		struct igor_entry *e = igor_world.kv;
		igor_world.kv = e->next;
		free(e->key);
		free(e->value);
		free(e);
	}
	igor_world = (struct igor_world){
		.time = INT64_C(1640995200) * IGOR_SECOND, .step = IGOR_SECOND / 1000, .budget = 1000000, .price = 1000};
	igor_world.log = igor_alloc(NULL, 1);
	*igor_world.log = 0;
}

/* Ends the test if something is not so. */
#define IGOR_CHECK(condition)                                                                                                  \
	do {                                                                                                                   \
		if (!(condition)) {                                                                                            \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                \
			exit(1);                                                                                               \
		}                                                                                                              \
	} while (0)

/* Makes what a checkpoint makes of an agent: its state, loaded by a fresh one. Ends the test if the
 * state does not come back. */
#define IGOR_RESTART(NAME, agent)                                                                                              \
	do {                                                                                                                   \
		struct igor_encoder saved = {0}, again = {0};                                                                  \
		NAME##_save(&saved, (agent));                                                                                  \
		NAME##_save(&again, (agent));                                                                                  \
		IGOR_CHECK(saved.size == again.size && memcmp(saved.p, again.p, saved.size) == 0);                             \
		struct igor_decoder d = {saved.p, saved.size, 0};                                                              \
		*(agent) = (struct NAME){0};                                                                                   \
		igor_world.resuming = true;                                                                                    \
		IGOR_CHECK(NAME##_load(&d, (agent)) == 0);                                                                     \
		igor_world.resuming = false;                                                                                   \
		free(saved.p);                                                                                                 \
		free(again.p);                                                                                                 \
	} while (0)

/* Does what the host does before a tick when there is something to tell: that the side effect of this
 * number happened (IGOR_FOUND_CONFIRMED) or did not (IGOR_FOUND_COMPENSATED), as an operator found out; or
 * that a tick that failed, of which the agent's state knows nothing, began it (IGOR_FOUND_UNRESOLVED), or
 * made it with what came of it (IGOR_FOUND_ENDED). */
#define IGOR_TELL(agent, outcome, n)                                                                                           \
	do {                                                                                                                   \
		struct igor_encoder finding = {0};                                                                             \
		igor_world_finding(&finding, (outcome), (n));                                                                  \
		igor_world.resuming = true;                                                                                    \
		igor_agent_observe((agent), finding.p, finding.size);                                                          \
		igor_world.resuming = false;                                                                                   \
		free(finding.p);                                                                                               \
	} while (0)

/* Does what the host does for a tick: beside the agent's own, what is settled when a tick begins. It
 * matters after IGOR_TELL alone. */
#define IGOR_TICK(agent) igor_agent_tick(agent)

IGOR_API void igor_world_finding(struct igor_encoder *e, uint8_t outcome, int n)
{
	IGOR_CHECK(n >= 0 && n < igor_world.effect_count);
	const struct igor_effect *effect = &igor_world.effects[n];
	bool ended = outcome == IGOR_FOUND_ENDED;
	igor_put_u8(e, outcome);
	igor_put_u8(e, effect->kind);
	igor_put_u64(e, (uint64_t)n + 1); /* its id */
	for (int i = 0; i < 3; i++)
		igor_put_u64(e, 0);
	igor_put_u64(e, (uint64_t)n + 1);
	igor_put_u32(e, 0);
	igor_put_u64(e, ended ? (uint64_t)(int64_t)effect->returned : 0);
	igor_put_bytes(e, effect->request.p, effect->request.size);
	igor_put_bytes(e, effect->result.p, ended ? effect->result.size : 0);
	igor_put_bytes(e, "told by the test", 16);
}

/* Remembers a side effect that returned with so much in its buffer. */
IGOR_API int32_t igor_world_effect(uint8_t kind, struct igor_encoder request, int32_t returned, const void *p)
{
	IGOR_CHECK(igor_world.effect_count < (int)(sizeof igor_world.effects / sizeof *igor_world.effects));
	struct igor_effect *e = &igor_world.effects[igor_world.effect_count++];
	*e = (struct igor_effect){.kind = kind, .request = request, .returned = returned};
	if (returned >= 0)
		igor_put(&e->result, p, 4 + igor_number(p));
	return returned;
}

/* ---- The hostcalls. */

int64_t igor_host_clock_now(void)
{
	igor_world.time += igor_world.step;
	return igor_world.time - igor_world.step;
}

int32_t igor_host_rand_bytes(void *p, uint32_t size)
{
	if (size > 1 << 20)
		return -2;
	for (uint32_t i = 0; i < size; i++) { /* splitmix64 */
		uint64_t z = igor_world.random += UINT64_C(0x9e3779b97f4a7c15);
		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		((uint8_t *)p)[i] = (uint8_t)(z ^ z >> 31);
	}
	return 0;
}

void igor_host_log_emit(const void *p, uint32_t size)
{
	struct igor_world *w = &igor_world;
	size = size > 4096 ? 4096 : size;
	w->log = igor_alloc(w->log, w->log_size + size + 2);
	memcpy(w->log + w->log_size, p, size);
	w->log_size += size;
	memcpy(w->log + w->log_size++, "\n", 2);
}

int64_t igor_host_wallet_balance(void)
{
	return igor_world.budget;
}

int64_t igor_host_node_price(void)
{
	return igor_world.price;
}

int32_t igor_host_wallet_receipt_count(void)
{
	return igor_world.payments;
}

IGOR_API int32_t igor_world_need(void *p, uint32_t room, uint32_t needed, int32_t result)
{
	for (uint32_t i = 0; i < 4 && room >= 4; i++)
		((uint8_t *)p)[i] = (uint8_t)(needed >> 8 * i);
	return result;
}

/* Writes a payload of wallet_receipt or kv_get. */
IGOR_API int32_t igor_world_fit(const void *payload, uint32_t size, void *p, uint32_t room)
{
	if (size > room)
		return igor_world_need(p, room, size, -4);
	memcpy(p, payload, size);
	return (int32_t)size;
}

/* Writes a payload of http_request or wallet_pay. */
IGOR_API int32_t igor_world_sized(const char *payload, void *p, uint32_t room, int32_t result)
{
	uint32_t size = (uint32_t)strlen(payload);
	if (4 + size > room)
		return igor_world_need(p, room, 4 + size, -5);
	memcpy((uint8_t *)p + 4, payload, size);
	return igor_world_need(p, room, size, result);
}

int32_t igor_host_wallet_receipt(uint32_t index, void *p, uint32_t room)
{
	char receipt[32];
	if (index >= (uint32_t)igor_world.payments)
		return -1;
	int size = snprintf(receipt, sizeof receipt, "payment %u", index);
	return igor_world_fit(receipt, (uint32_t)size, p, room);
}

IGOR_API char *igor_world_string(const void *p, uint32_t size)
{
	char *s = igor_alloc(NULL, (size_t)size + 1);
	if (size)
		memcpy(s, p, size);
	s[size] = 0;
	return s;
}

IGOR_API struct igor_failure igor_world_failure(const char *call, const char *target)
{
	return igor_world.fail ? igor_world.fail(call, target) : (struct igor_failure){0};
}

int32_t igor_host_http_request(const void *method, uint32_t method_size, const void *url, uint32_t url_size, const void *headers,
			       uint32_t headers_size, const void *body, uint32_t body_size, void *p, uint32_t room)
{
	if (method_size > 32 || url_size > 8 << 10 || headers_size > 32 << 10 || body_size > 1 << 20)
		return -2;
	char *m = igor_world_string(method, method_size), *u = igor_world_string(url, url_size), *b = igor_world_string(body, body_size);
	struct igor_failure failure = igor_world_failure("http_request", u);
	int32_t result;
	if (strncmp(u, "http://", 7) != 0 && strncmp(u, "https://", 8) != 0) {
		result = -6;
	} else if (igor_world.resuming) {
		result = -3;
	} else if (failure.result && !failure.after) {
		result = failure.result;
	} else if (!igor_world.web) {
		result = -1;
	} else {
		struct igor_answer answer = {.status = 200};
		igor_world.web(m, u, b, &answer);
		igor_world.requests++;
		result = failure.result ? failure.result : igor_world_sized(answer.body, p, room, answer.status);
		/* A GET is a side effect if it was paid, and the agent did not get what it paid for. */
		bool paid = result <= IGOR_UNRESOLVED && result >= IGOR_NOT_SETTLED;
		if (paid || (strcmp(m, "GET") != 0 && strcmp(m, "HEAD") != 0)) {
			struct igor_encoder request = {0};
			igor_put_bytes(&request, method, method_size);
			igor_put_bytes(&request, url, url_size);
			igor_put_bytes(&request, headers, headers_size);
			igor_put_bytes(&request, body, body_size);
			igor_world_effect(IGOR_HTTP, request, result, p);
		}
	}
	free(m);
	free(u);
	free(b);
	return result;
}

int32_t igor_host_wallet_pay(int64_t amount, const void *recipient, uint32_t recipient_size, const void *memo, uint32_t memo_size,
			     void *p, uint32_t room)
{
	if (recipient_size > 256 || memo_size > 1 << 10)
		return -2;
	if (amount <= 0)
		return -6;
	if (recipient_size == 0 || igor_world.resuming)
		return -3;
	char *r = igor_world_string(recipient, recipient_size);
	struct igor_failure failure = igor_world_failure("wallet_pay", r);
	free(r);
	if (failure.result && !failure.after)
		return failure.result;
	if (amount > igor_world.budget)
		return -1;
	igor_world.budget -= amount;
	char receipt[32];
	int size = snprintf(receipt, sizeof receipt, "payment %d", igor_world.payments++);
	struct igor_encoder request = {0};
	igor_put_u64(&request, (uint64_t)amount);
	igor_put_bytes(&request, recipient, recipient_size);
	igor_put_bytes(&request, memo, memo_size);
	return igor_world_effect(IGOR_PAYMENT, request, failure.result ? failure.result : igor_world_sized(receipt, p, room, 4 + size), p);
}

IGOR_API struct igor_entry **igor_world_entry(const void *key, uint32_t size)
{
	struct igor_entry **e = &igor_world.kv;
	while (*e && ((*e)->key_size != size || memcmp((*e)->key, key, size) != 0))
		e = &(*e)->next;
	return e;
}

int32_t igor_host_kv_get(const void *key, uint32_t key_size, void *p, uint32_t room)
{
	if (key_size > 1 << 10)
		return -2;
	struct igor_entry *e = *igor_world_entry(key, key_size);
	return e ? igor_world_fit(e->value, e->size, p, room) : -5;
}

int32_t igor_host_kv_put(const void *key, uint32_t key_size, const void *p, uint32_t size)
{
	if (key_size > 1 << 10 || size > 1 << 20)
		return -2;
	uint64_t all = (uint64_t)key_size + size + 8;
	struct igor_entry **at = igor_world_entry(key, key_size), *e;
	for (e = igor_world.kv; e; e = e->next)
		all += e == *at ? 0 : (uint64_t)e->key_size + e->size + 8;
	if (all > 16 << 20)
		return -6;
	if (!*at) {
		*at = igor_alloc(NULL, sizeof **at);
		**at = (struct igor_entry){.key = igor_world_string(key, key_size), .key_size = key_size};
	}
	free((*at)->value);
	(*at)->value = igor_world_string(p, size);
	(*at)->size = size;
	return 0;
}

int32_t igor_host_kv_delete(const void *key, uint32_t key_size)
{
	if (key_size > 1 << 10)
		return -2;
	struct igor_entry **at = igor_world_entry(key, key_size), *e = *at;
	if (!e)
		return -5;
	*at = e->next;
	free(e->key);
	free(e->value);
	free(e);
	return 0;
}

int32_t igor_host_node_id(void *p, uint32_t room)
{
	const struct igor_node *n = igor_world.node;
	return n ? igor_world_fit(n->id, (uint32_t)strlen(n->id), p, room) : -1;
}

/* Goes through the offers, and returns how many there are before the one that it stops at. */
IGOR_API uint32_t igor_world_offer(uint32_t index, const char **offer)
{
	uint32_t n = 0;
	*offer = igor_world.node->offers ? igor_world.node->offers : "";
	for (; **offer && n < index; n++)
		*offer += strlen(*offer) + 1;
	return n;
}

int32_t igor_host_peer_count(void)
{
	const char *last;
	return igor_world.node ? (int32_t)igor_world_offer(UINT32_MAX, &last) : -1;
}

int32_t igor_host_peer_offer(uint32_t index, void *p, uint32_t room)
{
	const char *offer = "";
	if (igor_world.node)
		igor_world_offer(index, &offer);
	return *offer ? igor_world_fit(offer, (uint32_t)strlen(offer), p, room) : -1;
}

int32_t igor_host_migrate(const void *did, uint32_t did_size)
{
	struct igor_node *n = igor_world.node;
	if (did_size > 256)
		return -2;
	if (!n)
		return -1;
	if (igor_world.resuming)
		return -3;
	char *wish = igor_world_string(did, did_size);
	struct igor_failure failure = igor_world_failure("migrate", wish);
	if (!failure.result) {
		strcpy(n->wish, wish);
		n->migration = 1;
	}
	free(wish);
	return failure.result;
}

int32_t igor_host_migrate_status(void)
{
	return igor_world.node ? igor_world.node->migration : -1;
}

int64_t igor_host_drain_deadline(void)
{
	return igor_world.node ? igor_world.node->drain : -1;
}

#endif
