/* Payer is what ../main.go describes, on the SDK for C. */
#include "igor.h"

#include <inttypes.h>

#define PAYER(FIELD)       \
	FIELD(u64, paid)   \
	FIELD(u64, tries)  \
	FIELD(effects, log)
IGOR_STATE(payer, 1, PAYER)

static void settle(struct payer *p)
{
	p->paid++;
	p->tries = 0;
}

static void init(struct payer *p)
{
	(void)p;
}

static int tick(struct payer *p)
{
	struct igor_intent i = {0};
	struct igor_data receipt = {0};
	char id[64];
	if (igor_effect_open(&p->log, &i))
		return IGOR_IDLE; /* the operator finds out */
	igor_effect_prune(&p->log);
	uint64_t order = p->paid + 1;
	snprintf(id, sizeof id, "order %" PRIu64 ".%" PRIu64 ";", order, ++p->tries);
	bool told = p->log.kept_count > 0;
	if (igor_effect_begin(&p->log, id, NULL, 0) != 0)
		igor_panic("the log refused an act");
	int error = igor_pay(5, "bob", id, &receipt);
	igor_effect_end(&p->log, id, error);
	igor_free(&receipt);
	if ((order % 2 == 0 || order % 5 == 3) && p->tries == 1 && !told)
		igor_panic("this tick fails");
	if (error == 0)
		settle(p);
	return IGOR_IDLE;
}

/* Counts what the operator found out. What did not happen is tried again. */
static bool observe(struct payer *p, const struct igor_finding *f, const struct igor_intent *i)
{
	if (i && f->outcome == IGOR_FOUND_CONFIRMED)
		settle(p);
	return true;
}

IGOR_AGENT_OBSERVES(payer, init, tick, observe)
