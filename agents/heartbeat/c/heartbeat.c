/* Heartbeat is an agent that counts its ticks, and says so every tenth time: the smallest life worth
 * verifying. */
#include "igor.h"

#include <inttypes.h>

#define HEART(FIELD)      \
	FIELD(u64, beats) \
	FIELD(time, last)
IGOR_STATE(heart, 1, HEART)

static void init(struct heart *h)
{
	h->last = IGOR_NEVER;
	igor_log("alive");
}

static int tick(struct heart *h)
{
	h->beats++;
	h->last = igor_now();
	if (h->beats % 10 == 0)
		igor_logf("beat %" PRIu64, h->beats);
	return IGOR_IDLE;
}

IGOR_AGENT(heart, init, tick)
