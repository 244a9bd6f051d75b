/* The capabilities, in the world of a test. */
#include "igor_test.h"

static void serve(const char *method, const char *url, const char *body, struct igor_answer *a)
{
	if (strstr(url, "/500"))
		a->status = 500;
	else if (strstr(url, "/404"))
		a->status = 404;
	snprintf(a->body, sizeof a->body, "%s %s", method, body);
}

static struct igor_failure failure;

static struct igor_failure fail(const char *call, const char *target)
{
	(void)call, (void)target;
	return failure;
}

static void requests(void)
{
	struct igor_response r;
	igor_world_begin();
	IGOR_CHECK(igor_get("https://a.example/", &r) == IGOR_NETWORK);
	igor_world.web = serve;
	IGOR_CHECK(igor_get("a.example", &r) == IGOR_PROCESSING);
	struct igor_request q = {.method = "POST", .url = "https://a.example/", .body = "body", .size = 4};
	IGOR_CHECK(igor_send(&q, &r) == 0 && igor_check(&r) == 0 && strcmp((char *)r.body.p, "POST body") == 0);
	igor_free(&r.body);
	q.room = 3;
	IGOR_CHECK(igor_send(&q, &r) == IGOR_TOO_LARGE);
	IGOR_CHECK(igor_get("https://a.example/404", &r) == 0 && igor_check(&r) == IGOR_PROCESSING);
	igor_free(&r.body);
	q = (struct igor_request){.method = "POST", .url = "https://a.example/500"};
	IGOR_CHECK(igor_send(&q, &r) == 0 && igor_check(&r) == IGOR_UNRESOLVED);
	igor_free(&r.body);
}

static void results(void)
{
	static const struct {
		int result, error;
		bool may;
	} http[] = {
		{-1, IGOR_NETWORK, true},     {-2, IGOR_TOO_LONG, false},   {-3, IGOR_NOT_ALLOWED, false}, {-4, IGOR_TIMEOUT, true},
		{-5, IGOR_TOO_LARGE, true},   {-6, IGOR_PROCESSING, false}, {-7, IGOR_UNRESOLVED, true},   {-8, IGOR_NOT_DELIVERED, true},
		{-9, IGOR_NOT_SETTLED, false},
	};
	struct igor_response r;
	struct igor_data receipt;
	igor_world_begin();
	igor_world.fail = fail;
	for (size_t i = 0; i < sizeof http / sizeof *http; i++) {
		failure = (struct igor_failure){http[i].result, false};
		int error = igor_get("https://a.example/", &r);
		IGOR_CHECK(error == http[i].error && igor_may_have_happened(error) == http[i].may);
	}
	failure.result = -1;
	IGOR_CHECK(igor_pay(1, "bob", "", &receipt) == IGOR_FAILED && !igor_may_have_happened(IGOR_FAILED));
	failure.result = -4;
	IGOR_CHECK(igor_pay(1, "bob", "", &receipt) == IGOR_OVER_CAP);
	IGOR_CHECK(strcmp(igor_error_text(IGOR_NOT_DELIVERED), "paid, not delivered") == 0);
}

static void money_and_store(void)
{
	struct igor_data d;
	static uint8_t large[100000] = {7};
	igor_world_begin();
	IGOR_CHECK(igor_pay(400000, "bob", "tea", &d) == 0 && strcmp((char *)d.p, "payment 0") == 0);
	igor_free(&d);
	IGOR_CHECK(igor_receipts() == 1 && igor_receipt(0, &d) == 0 && d.size == 9);
	igor_free(&d);
	IGOR_CHECK(igor_receipt(1, &d) == IGOR_FAILED && igor_pay(600001, "bob", "", &d) == IGOR_FAILED);
	IGOR_CHECK(igor_balance() == 600000 && igor_price() == 1000);

	IGOR_CHECK(igor_kv_get("a", &d) == IGOR_NOT_FOUND);
	IGOR_CHECK(igor_kv_put("a", large, sizeof large) == 0 && igor_kv_get("a", &d) == 0);
	IGOR_CHECK(d.size == sizeof large && memcmp(d.p, large, sizeof large) == 0);
	igor_free(&d);
	IGOR_CHECK(igor_kv_put("a", "", 0) == 0 && igor_kv_get("a", &d) == 0 && d.size == 0);
	igor_free(&d);
	IGOR_CHECK(igor_kv_delete("a") == 0 && igor_kv_delete("a") == IGOR_NOT_FOUND);
}

static void no_node(void)
{
	char did[64];
	igor_time deadline;
	IGOR_CHECK(igor_node_id(did, sizeof did) == IGOR_NOT_ON_NODE && igor_peers() == IGOR_NOT_ON_NODE);
	IGOR_CHECK(igor_offer(0, did, sizeof did) == IGOR_NOT_ON_NODE && igor_migrate("did:key:z6Mk") == IGOR_NOT_ON_NODE);
	IGOR_CHECK(igor_migration() == IGOR_NOT_ON_NODE && igor_drain_deadline(&deadline) == IGOR_NOT_ON_NODE);
	IGOR_CHECK(strcmp(igor_error_text(IGOR_NOT_ON_NODE), "not on a node") == 0);
}

static void on_a_node(void)
{
	char did[64], small[3];
	igor_time deadline;
	igor_world_begin();
	struct igor_node node = {.id = "did:key:z6MkHere", .offers = "one\0second\0", .drain = 7};
	igor_world.node = &node;
	IGOR_CHECK(igor_node_id(did, sizeof did) == 0 && strcmp(did, node.id) == 0 && igor_peers() == 2);
	IGOR_CHECK(igor_offer(1, did, sizeof did) == 6 && memcmp(did, "second", 6) == 0);
	IGOR_CHECK(igor_offer(1, small, sizeof small) == IGOR_NO_ROOM && igor_offer(2, did, sizeof did) < 0);
	IGOR_CHECK(igor_migration() == 0 && igor_migrate("did:key:z6MkThere") == 0 && igor_migration() == 1);
	IGOR_CHECK(strcmp(node.wish, "did:key:z6MkThere") == 0);
	node.migration = 2;
	IGOR_CHECK(igor_migration() == 2 && igor_drain_deadline(&deadline) == 0 && deadline == 7);
	igor_world.fail = fail;
	failure = (struct igor_failure){-3, false};
	IGOR_CHECK(igor_migrate("did:key:z6MkElse") == IGOR_NOT_ALLOWED && strcmp(node.wish, "did:key:z6MkThere") == 0);
}

#define BUYER(FIELD) FIELD(effects, log)
IGOR_STATE(buyer, 1, BUYER)

static void init(struct buyer *b)
{
	(void)b;
}

static int tick(struct buyer *b)
{
	(void)b;
	return IGOR_IDLE;
}

static bool observe(struct buyer *b, const struct igor_finding *f, const struct igor_intent *i)
{
	(void)b, (void)f, (void)i;
	return true;
}

IGOR_AGENT_OBSERVES(buyer, init, tick, observe)

static uint8_t buy(struct buyer *b, const char *id, const char *method)
{
	struct igor_request q = {.method = method, .url = "https://a.example/"};
	struct igor_response r;
	struct igor_intent i;
	IGOR_CHECK(igor_effect_begin(&b->log, id, NULL, 0) == 0);
	IGOR_CHECK(igor_effect_end(&b->log, id, igor_send(&q, &r)) == 0);
	igor_free(&r.body);
	IGOR_CHECK(igor_effect_find(&b->log, id, &i));
	return *i.state;
}

/* Of requests that are paid the answers do not come: what was paid happened, what was never paid did
 * not. */
static void paid_requests(void)
{
	static const uint8_t states[] = {IGOR_NOBODY_KNOWS, IGOR_CONFIRMED, IGOR_COMPENSATED};
	for (int n = 0; n < 6; n++) {
		struct buyer b = {0};
		igor_world_begin();
		igor_world.web = serve;
		igor_world.fail = fail;
		failure = (struct igor_failure){-7 - n / 2, true};
		IGOR_CHECK(buy(&b, "a", n % 2 ? "GET" : "POST") == states[n / 2] && igor_world.effect_count == 1);
	}
}

/* A tick fails that paid for a GET: the act that makes the same request gets its answer, and pays
 * nothing. */
static void paid_get_is_known_again(void)
{
	static const uint8_t told[] = {IGOR_FOUND_UNRESOLVED, IGOR_FOUND_ENDED};
	for (int n = 0; n < 2; n++) {
		struct buyer b = {0};
		struct igor_intent i = {0};
		struct igor_response r;
		igor_world_begin();
		igor_world.web = serve;
		igor_world.fail = fail;
		failure = (struct igor_failure){-7, true};
		IGOR_CHECK(igor_get("https://a.example/", &r) == IGOR_UNRESOLVED); /* in a tick that failed */
		igor_world.fail = NULL;
		IGOR_TELL(&b, told[n], 0);
		IGOR_RESTART(buyer, &b);
		IGOR_CHECK(buy(&b, "a", "GET") == IGOR_NOBODY_KNOWS && igor_world.requests == 1);
		if (n == 0) {
			IGOR_TELL(&b, IGOR_FOUND_CONFIRMED, 0);
			IGOR_CHECK(!igor_effect_open(&b.log, &i));
		}
		IGOR_CHECK(buy(&b, "b", "GET") == IGOR_CONFIRMED && igor_world.requests == 2);
	}
}

int main(void)
{
	paid_requests();
	paid_get_is_known_again();
	requests();
	results();
	money_and_store();
	no_node();
	on_a_node();
}
