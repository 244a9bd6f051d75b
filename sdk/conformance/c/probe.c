/* Probe is what ../README.md describes, on the SDK for C. */
#include "igor.h"

#include <inttypes.h>

#define WEB "https://probe.example"

#define PROBE(FIELD)            \
	FIELD(u64, ticks)       \
	FIELD(text, born, 256)  \
	FIELD(text, said, 4096) \
	FIELD(effects, effects)
IGOR_STATE(probe, 1, PROBE)

static void say(struct probe *p, const char *what, const char *result)
{
	size_t n = strlen(p->said);
	snprintf(p->said + n, sizeof p->said - n, "%s %s\n", what, result);
}

static void say_number(struct probe *p, const char *what, int64_t n)
{
	char text[32];
	snprintf(text, sizeof text, "%" PRId64, n);
	say(p, what, text);
}

static void came(struct probe *p, const char *what, int error)
{
	say(p, what, error < 0 ? igor_error_text(error) : "ok");
}

static int post(const char *path, const char *headers, const char *body)
{
	char url[64];
	struct igor_response r;
	snprintf(url, sizeof url, WEB "/%s", path);
	struct igor_request q = {.method = "POST", .url = url, .headers = headers, .body = body, .size = (uint32_t)strlen(body)};
	int error = igor_send(&q, &r);
	if (error == 0)
		error = igor_check(&r);
	igor_free(&r.body);
	return error;
}

static void get(struct probe *p, const char *url)
{
	struct igor_response r;
	char text[32];
	int error = igor_get(url, &r);
	snprintf(text, sizeof text, "%d %" PRIu32, r.status, r.body.size);
	say(p, "get", error ? igor_error_text(error) : text);
	igor_free(&r.body);
}

static void init(struct probe *p)
{
	came(p, "init", post("done", "", ""));
	snprintf(p->born, sizeof p->born, "%s", p->said);
	*p->said = 0;
}

static void *volatile made;

static int tick(struct probe *p)
{
	p->ticks++;
	*p->said = 0;
	for (int i = 0; i < 16; i++) {
		made = igor_alloc(NULL, 64 << 10);
		memset(made, (int)p->ticks, 64 << 10);
		free(made);
	}

	say_number(p, "now", igor_now() / IGOR_SECOND);
	uint8_t random[8];
	char text[64];
	int error = igor_rand(random, sizeof random);
	say(p, "rand", error ? igor_error_text(error) : memcmp(random, (uint8_t[8]){0}, 8) ? "yes" : "no");
	uint8_t *large = igor_alloc(NULL, (1 << 20) + 1);
	came(p, "rand", igor_rand(large, (1 << 20) + 1));
	igor_logf("probe %" PRIu64, p->ticks);

	say(p, "balance", igor_balance() > 0 ? "yes" : "no");
	say_number(p, "price", igor_price());
	say_number(p, "receipts", igor_receipts());
	struct igor_data d = {0};
	came(p, "receipt", igor_receipt(9, &d));
	came(p, "pay", igor_pay(5, "mallory", "probe", &d));
	came(p, "pay", igor_pay(1001, "bob", "probe", &d));
	came(p, "pay", igor_pay(0, "bob", "probe", &d));

	get(p, WEB "/long");
	get(p, WEB "/503");
	get(p, WEB "/late");
	get(p, WEB "/missing");
	get(p, "https://other.example/");
	get(p, "probe");

	came(p, "load", igor_kv_get("key", &d));
	memset(large, 0, 20000);
	came(p, "store", igor_kv_put("key", large, 20000));
	error = igor_kv_get("key", &d);
	if (error)
		came(p, "load", error);
	else
		say_number(p, "load", d.size);
	igor_free(&d);
	memset(large, 'k', 1025);
	large[1025] = 0;
	came(p, "store", igor_kv_put((char *)large, "", 0));
	free(large);
	came(p, "delete", igor_kv_delete("key"));
	came(p, "delete", igor_kv_delete("key"));

	char did[128];
	igor_time deadline;
	came(p, "node", igor_node_id(did, sizeof did));
	came(p, "peers", igor_peers());
	came(p, "offer", igor_offer(0, did, sizeof did));
	came(p, "migrate", igor_migrate("did:key:z6Mk"));
	came(p, "migration", igor_migration());
	came(p, "drain", igor_drain_deadline(&deadline));

	int64_t open = 0;
	struct igor_intent i = {0};
	for (; igor_effect_open(&p->effects, &i); open++) {
		snprintf(text, sizeof text, "%.*s", (int)i.id_size, (const char *)i.id);
		igor_effect_confirm(&p->effects, text);
	}
	say_number(p, "open", open);
	igor_effect_prune(&p->effects);
	static const char *const acts[] = {"done", "refused", "broken", "lost"};
	for (size_t n = 0; n < sizeof acts / sizeof *acts; n++) {
		char id[32], headers[32];
		snprintf(id, sizeof id, "%s-%" PRIu64, acts[n], p->ticks);
		snprintf(text, sizeof text, "data of %s", acts[n]);
		snprintf(headers, sizeof headers, "X-Probe: %s", acts[n]);
		if (igor_effect_begin(&p->effects, id, text, (uint32_t)strlen(text)) != 0)
			igor_panic("the log refused an act");
		error = post(acts[n], headers, id);
		igor_effect_end(&p->effects, id, error);
		came(p, "act", error);
	}
	return p->ticks % 2 == 0 ? IGOR_MORE : IGOR_IDLE;
}

IGOR_AGENT(probe, init, tick)
