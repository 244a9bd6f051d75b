/* Primes is what ../main.go describes, on the SDK for C. */
#include "igor.h"

#define LIMIT 100000

#define PRIMES(FIELD) FIELD(u64, found)
IGOR_STATE(primes, 1, PRIMES)

static void init(struct primes *p)
{
	(void)p;
}

static int tick(struct primes *p)
{
	bool *composite = igor_alloc(NULL, LIMIT);
	memset(composite, 0, LIMIT);
	for (uint32_t n = 2; n < LIMIT; n++) {
		if (composite[n])
			continue;
		p->found++;
		for (uint32_t m = 2 * n; m < LIMIT; m += n)
			composite[m] = true;
	}
	free(composite);
	return IGOR_IDLE;
}

IGOR_AGENT(primes, init, tick)
