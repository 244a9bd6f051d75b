#include "heartbeat.c"
#include "igor_test.h"

/* Lives for a while, goes on in a fresh heart, and finds the count. */
int main(void)
{
	struct heart h = {0};
	igor_world_begin();
	init(&h);
	for (int i = 0; i < 25; i++) {
		igor_time now = igor_world.time;
		IGOR_CHECK(tick(&h) == IGOR_IDLE);
		IGOR_CHECK(h.last == now);
		IGOR_RESTART(heart, &h);
	}
	IGOR_CHECK(h.beats == 25);
	IGOR_CHECK(strcmp(igor_world.log, "alive\nbeat 10\nbeat 20\n") == 0);
}
