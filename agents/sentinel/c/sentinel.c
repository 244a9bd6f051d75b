/* Sentinel is an agent that guards a treasury: when the balance of an account falls below a floor, it
 * moves money there. The machine may die at any moment; no transfer is made twice, and none is
 * forgotten.
 *
 * What to learn from it: how to act on the outside world with an effect log. The runtime never repeats
 * a transfer that it began, and says "unresolved" when a crash took the answer; the agent then asks
 * the bank, and knows when to believe that there was none. */
#include "igor.h"

#include <inttypes.h>

/* The bank.
 *
 *	GET  /balance       the balance, in cents
 *	POST /transfers     the body "ID CENTS DEADLINE": 200 taken, 409 refused, 410 after
 *	                    the deadline (Unix nanoseconds), from which on it is never taken
 *	GET  /transfers/ID  200 taken, 404 not taken
 */
#define SERVER "http://127.0.0.1:8802"

/* The id of an intent that is recorded and never begun: it has the order that the next tick sends. So
 * the order is in the state before it is sent, and after a tick that failed it is the same again, and
 * known by its bytes. */
#define NEXT "next"

#define FLOOR 100000 /* cents */
#define TRANSFER 50000
#define VALID (2 * IGOR_SECOND) /* from meaning a transfer to its deadline */
#define MARGIN IGOR_SECOND      /* by which the bank's clock may be behind */

/* name begins the ids of transfers: another sentinel has other ones. count is of transfers that were
 * meant, moved the cents in those that certainly happened. */
#define SENTINEL(FIELD)         \
	FIELD(text, name, 17)   \
	FIELD(u64, count)       \
	FIELD(effects, effects) \
	FIELD(i64, moved)       \
	FIELD(u64, voided)
IGOR_STATE(sentinel, 1, SENTINEL)

/* A transfer that the bank is asked for. */
struct order {
	char id[64];
	int64_t cents;
	igor_time deadline;
};

#define ORDER_SIZE 128

static void write_order(char text[ORDER_SIZE], const struct order *o)
{
	snprintf(text, ORDER_SIZE, "%s %" PRId64 " %" PRId64, o->id, o->cents, o->deadline);
}

static bool read_order(struct order *o, const char *text)
{
	return sscanf(text, "%63s %" SCNd64 " %" SCNd64, o->id, &o->cents, &o->deadline) == 3;
}

/* Writes cents as 500.00. */
static const char *money(char text[32], int64_t cents)
{
	snprintf(text, 32, "%" PRId64 ".%02d", cents / 100, (int)(cents % 100));
	return text;
}

static int get_balance(int64_t *balance)
{
	struct igor_response r;
	int error = igor_get(SERVER "/balance", &r);
	if (error == 0)
		error = igor_check(&r);
	if (error == 0)
		*balance = strtoll((char *)r.body.p, NULL, 10);
	igor_free(&r.body);
	return error;
}

static int send_order(const char *order)
{
	struct igor_response r;
	struct igor_request q = {.method = "POST", .url = SERVER "/transfers", .body = order, .size = (uint32_t)strlen(order)};
	int error = igor_send(&q, &r);
	/* A bank that fails does not say what it has done before. */
	if (error == 0)
		error = igor_check(&r);
	igor_free(&r.body);
	return error;
}

static void init(struct sentinel *s)
{
	uint8_t name[8];
	char text[32];
	if (igor_rand(name, sizeof name) != 0)
		igor_panic("no life without a name");
	for (size_t i = 0; i < sizeof name; i++)
		snprintf(s->name + 2 * i, 3, "%02x", name[i]);
	igor_logf("guarding a balance of %s", money(text, FLOOR));
}

static int top_up(struct sentinel *s)
{
	struct order o = {.cents = TRANSFER, .deadline = igor_now() + VALID};
	char order[ORDER_SIZE];
	snprintf(o.id, sizeof o.id, "%s-%" PRIu64, s->name, ++s->count);
	write_order(order, &o);
	if (igor_effect_record(&s->effects, NEXT, order, (uint32_t)strlen(order)) != 0)
		igor_panic("an order that was not pruned");
	return IGOR_MORE;
}

/* Sends the order that was meant. */
static void send_next(struct sentinel *s, const struct igor_intent *meant)
{
	struct order o;
	char order[ORDER_SIZE] = "", text[32];
	if (meant->data_size < sizeof order)
		memcpy(order, meant->data, meant->data_size);
	if (!read_order(&o, order))
		igor_panic("an order that the agent did not write");
	igor_effect_move(&s->effects, NEXT, IGOR_IN_FLIGHT);
	igor_effect_compensate(&s->effects, NEXT);
	int error = igor_effect_begin(&s->effects, o.id, order, (uint32_t)strlen(order));
	if (error != 0)
		igor_panic(igor_error_text(error));
	error = send_order(order);
	igor_effect_end(&s->effects, o.id, error);
	if (error == 0) {
		s->moved += o.cents;
		igor_logf("moved %s with %s", money(text, o.cents), o.id);
	} else if (igor_may_have_happened(error)) {
		igor_logf("nobody knows yet whether %s happened: %s", o.id, igor_error_text(error));
	} else {
		s->voided++;
		igor_logf("nothing moved with %s: %s", o.id, igor_error_text(error));
	}
}

/* Asks the bank about a transfer that may have happened. */
static void reconcile(struct sentinel *s, const struct igor_intent *intent)
{
	struct order o;
	struct igor_response r;
	char order[ORDER_SIZE] = "", url[128];
	if (intent->data_size < sizeof order)
		memcpy(order, intent->data, intent->data_size);
	if (!read_order(&o, order))
		igor_panic("an order that the agent did not write");
	/* The time comes first: after the deadline the answer cannot change any more. */
	igor_time now = igor_now();
	snprintf(url, sizeof url, SERVER "/transfers/%s", o.id);
	int error = igor_get(url, &r);
	if (error != 0) {
		igor_logf("no word on %s: %s", o.id, igor_error_text(error));
	} else if (r.status == 200) {
		igor_effect_confirm(&s->effects, o.id);
		s->moved += o.cents;
		igor_logf("reconciled %s: it happened", o.id);
	} else if (r.status == 404 && now > o.deadline + MARGIN) {
		igor_effect_compensate(&s->effects, o.id);
		s->voided++;
		igor_logf("reconciled %s: it did not happen, and cannot any more", o.id);
	}
	igor_free(&r.body);
}

static bool is_open(const struct sentinel *s)
{
	struct igor_intent i = {0};
	return igor_effect_open(&s->effects, &i);
}

static int tick(struct sentinel *s)
{
	struct igor_intent i = {0};
	while (igor_effect_open(&s->effects, &i))
		reconcile(s, &i);
	if (is_open(s))
		return IGOR_IDLE; /* the balance does not tell whether that money is in it */
	igor_effect_prune(&s->effects); /* the ids are never used again */
	if (igor_effect_find(&s->effects, NEXT, &i)) {
		send_next(s, &i);
		return IGOR_IDLE;
	}

	int64_t balance;
	int error = get_balance(&balance);
	if (error != 0)
		igor_logf("no balance: %s", igor_error_text(error));
	else if (balance < FLOOR)
		return top_up(s);
	return IGOR_IDLE;
}

/* Counts a transfer of which the operator found out what the bank did not say. */
static bool observe(struct sentinel *s, const struct igor_finding *f, const struct igor_intent *i)
{
	struct order o;
	char order[ORDER_SIZE] = "";
	if (!i)
		return false;
	if (f->outcome == IGOR_FOUND_COMPENSATED) {
		s->voided++;
		igor_logf("told of %.*s: it did not happen", (int)i->id_size, (const char *)i->id);
		return true;
	}
	if (i->data_size < sizeof order)
		memcpy(order, i->data, i->data_size);
	if (!read_order(&o, order))
		igor_panic("an order that the agent did not write");
	s->moved += o.cents;
	igor_logf("told of %s: it happened", o.id);
	return true;
}

IGOR_AGENT_OBSERVES(sentinel, init, tick, observe)
