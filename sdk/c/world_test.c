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

int main(void)
{
	requests();
	results();
	money_and_store();
	no_node();
	on_a_node();
}
