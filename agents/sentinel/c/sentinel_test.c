#include "sentinel.c"
#include "igor_test.h"

/* The server. It does nothing twice on its own: who sends a transfer twice has made two. */
static struct {
	int64_t balance;
	char taken[8][64];
	int count, status; /* status is of the next POST, if it is not to be taken */
} bank;

static void serve(const char *method, const char *url, const char *body, struct igor_answer *a)
{
	const char *path = url + strlen(SERVER);
	struct order o;
	if (strcmp(path, "/balance") == 0) {
		snprintf(a->body, sizeof a->body, "%" PRId64 "\n", bank.balance);
	} else if (strcmp(method, "POST") == 0) {
		a->status = bank.status ? bank.status : 200;
		bank.status = 0;
		if (a->status != 200)
			return;
		IGOR_CHECK(bank.count < 8 && read_order(&o, body));
		strcpy(bank.taken[bank.count++], o.id);
		bank.balance += o.cents;
	} else {
		a->status = 404;
		for (int i = 0; i < bank.count; i++) {
			if (strcmp(bank.taken[i], path + strlen("/transfers/")) == 0)
				a->status = 200;
		}
	}
}

static struct sentinel born(void)
{
	struct sentinel s = {0};
	igor_world_begin();
	memset(&bank, 0, sizeof bank);
	bank.balance = 90000;
	igor_world.web = serve;
	init(&s);
	return s;
}

static void tops_up(void)
{
	struct sentinel s = born();
	for (int i = 0; i < 5; i++) {
		tick(&s);
		IGOR_RESTART(sentinel, &s);
	}
	IGOR_CHECK(bank.balance == 140000 && s.moved == TRANSFER && s.count == 1);
	bank.balance -= 100000;
	for (int i = 0; i < 5; i++)
		tick(&s);
	IGOR_CHECK(bank.balance == 140000 && s.moved == 3 * TRANSFER && bank.count == 3);
}

static int lost_with;

static struct igor_failure lose(const char *call, const char *url)
{
	bool balance = strcmp(url, SERVER "/balance") == 0;
	(void)call;
	return balance ? (struct igor_failure){0} : (struct igor_failure){lost_with, true};
}

/* Loses the answer to a transfer that happened: the sentinel asks, and does not act again. */
static void lost(void)
{
	static const int results[] = {-7, -4, -1};
	for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
		struct sentinel s = born();
		lost_with = results[i];
		igor_world.fail = lose;
		for (int n = 0; n < 3; n++) {
			tick(&s);
			IGOR_RESTART(sentinel, &s);
		}
		IGOR_CHECK(is_open(&s) && s.count == 1);
		igor_world.fail = NULL;
		tick(&s);
		IGOR_CHECK(!is_open(&s) && bank.count == 1 && bank.balance == 140000 && s.moved == TRANSFER);
	}
}

/* An operator finds out what the bank does not say: the sentinel counts the transfer, and does not make
 * it again. */
static void told(void)
{
	for (uint8_t outcome = IGOR_FOUND_CONFIRMED; outcome <= IGOR_FOUND_COMPENSATED; outcome++) {
		struct sentinel s = born();
		lost_with = -7;
		igor_world.fail = lose;
		tick(&s); /* means it */
		tick(&s);
		IGOR_RESTART(sentinel, &s);
		IGOR_TELL(&s, outcome, 0);
		bool happened = outcome == IGOR_FOUND_CONFIRMED;
		IGOR_CHECK(!is_open(&s) && bank.count == 1 && s.moved == (happened ? TRANSFER : 0) && s.voided == !happened);
		IGOR_RESTART(sentinel, &s);
	}
}

/* Waits for the deadline of a transfer that the bank does not know, before it makes another one. */
static void never(void)
{
	struct sentinel s = born();
	igor_time start = igor_world.time;
	bank.status = 500;
	while (igor_world.time < start + VALID) {
		tick(&s);
		igor_world.time += IGOR_SECOND / 10;
	}
	IGOR_CHECK(s.count == 1 && s.voided == 0 && is_open(&s));
	igor_world.time += 2 * MARGIN;
	tick(&s);
	tick(&s);
	IGOR_CHECK(s.count == 2 && s.voided == 1 && s.moved == TRANSFER && bank.balance == 140000);
}

static void refused(void)
{
	struct sentinel s = born();
	bank.status = 409;
	tick(&s);
	tick(&s);
	IGOR_CHECK(s.voided == 1 && s.moved == 0 && !is_open(&s));
	tick(&s);
	tick(&s);
	IGOR_CHECK(s.moved == TRANSFER && s.count == 2);
}

/* The tick fails that made a transfer. The next one makes the same request, whatever the clock says, and
 * it is not sent. */
static void failed_tick(void)
{
	static const uint8_t told[] = {IGOR_FOUND_ENDED, IGOR_FOUND_UNRESOLVED};
	for (int n = 0; n < 2; n++) {
		struct sentinel s = born();
		struct igor_encoder state = {0};
		tick(&s);
		sentinel_save(&state, &s);
		tick(&s);
		IGOR_CHECK(bank.count == 1);
		struct igor_decoder d = {state.p, state.size, 0};
		s = (struct sentinel){0}; /* which knows nothing of it */
		IGOR_CHECK(sentinel_load(&d, &s) == 0);
		igor_world.time += IGOR_SECOND;
		IGOR_TELL(&s, told[n], 0);
		for (int i = 0; i < 4; i++) {
			tick(&s);
			IGOR_RESTART(sentinel, &s);
		}
		IGOR_CHECK(bank.count == 1 && s.moved == TRANSFER && s.count == 1 && bank.balance == 140000);
		free(state.p);
	}
}

int main(void)
{
	tops_up();
	lost();
	told();
	never();
	refused();
	failed_tick();
}
