/* The vectors that all SDKs share: testdata/sdk. It is run in this folder. */
#include "igor_test.h"

#include <inttypes.h>

struct everything {
	uint64_t a;
	int64_t b;
	bool c;
	igor_time d;
	char e[64];
	struct igor_data f;
	uint32_t count;
	uint64_t g[16];
	struct igor_effects h;
};

static int everything_load(struct igor_decoder *d, struct everything *s)
{
	if (igor_take_u8(d) != 1)
		d->error = IGOR_BAD_STATE;
	s->a = igor_take_u64(d);
	s->b = (int64_t)igor_take_u64(d);
	s->c = igor_take_bool(d);
	s->d = (igor_time)igor_take_u64(d);
	igor_take_text(d, s->e, sizeof s->e);
	s->f.size = igor_take_count(d, 1);
	const uint8_t *bytes = igor_take(d, s->f.size);
	if (bytes) {
		s->f.p = igor_alloc(NULL, s->f.size);
		memcpy(s->f.p, bytes, s->f.size);
	}
	s->count = igor_take_count(d, 8);
	if (s->count > sizeof s->g / sizeof *s->g)
		d->error = IGOR_BAD_STATE;
	for (uint32_t i = 0; !d->error && i < s->count; i++)
		s->g[i] = igor_take_u64(d);
	igor_take_effects(d, &s->h);
	if (d->left)
		d->error = IGOR_BAD_STATE;
	return d->error;
}

static void everything_save(struct igor_encoder *e, const struct everything *s)
{
	igor_put_u8(e, 1);
	igor_put_u64(e, s->a);
	igor_put_u64(e, (uint64_t)s->b);
	igor_put_u8(e, s->c);
	igor_put_u64(e, (uint64_t)s->d);
	igor_put_bytes(e, s->e, strlen(s->e));
	igor_put_bytes(e, s->f.p, s->f.size);
	igor_put_u32(e, s->count);
	for (uint32_t i = 0; i < s->count; i++)
		igor_put_u64(e, s->g[i]);
	igor_put_effects(e, &s->h);
}

/* Goes through the lines of a file, as a name, the next word and the rest. */
static void each(const char *file, void (*check)(const char *name, char *word, char *rest))
{
	static char line[1 << 16];
	int n = 0;
	FILE *f = fopen(file, "r");
	IGOR_CHECK(f != NULL);
	while (fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		if (*line == 0 || *line == '#')
			continue;
		char *word = strchr(line, ' '), *rest = word ? strchr(word + 1, ' ') : NULL;
		IGOR_CHECK(rest != NULL);
		*word++ = *rest++ = 0;
		check(line, word, rest);
		n++;
	}
	fclose(f);
	IGOR_CHECK(n >= 10);
}

static size_t unhex(uint8_t *to, const char *s)
{
	size_t n = 0;
	unsigned b;
	for (; *s && *s != '-'; s += 2) {
		IGOR_CHECK(sscanf(s, "%2x", &b) == 1);
		to[n++] = (uint8_t)b;
	}
	return n;
}

static char *hex(const void *p, size_t size)
{
	char *s = igor_alloc(NULL, 2 * size + 2);
	strcpy(s, "-");
	for (size_t i = 0; i < size; i++)
		sprintf(s + 2 * i, "%02x", ((const uint8_t *)p)[i]);
	return s;
}

static void same(const char *name, const char *got, const char *want)
{
	if (strcmp(got, want) != 0) {
		fprintf(stderr, "%s is %s, want %s\n", name, got, want);
		exit(1);
	}
}

static uint8_t bytes[1 << 15];

static void state(const char *name, char *word, char *want)
{
	static char got[1 << 14], list[1 << 10];
	size_t size = unhex(bytes, word);
	struct everything s = {0};
	struct igor_decoder d = {bytes, size, 0};
	if (everything_load(&d, &s) != 0) {
		same(name, "-", want);
	} else {
		struct igor_encoder e = {0}, log = {0};
		everything_save(&e, &s);
		IGOR_CHECK(e.size == size && memcmp(e.p, bytes, size) == 0);
		igor_put_u32(&log, s.h.count);
		igor_put(&log, s.h.p, s.h.size);
		char *text = hex(s.e, strlen(s.e)), *data = hex(s.f.p, s.f.size), *effects = hex(log.p, log.size);
		strcpy(list, "-");
		for (uint32_t i = 0, n = 0; i < s.count; i++)
			n += (uint32_t)sprintf(list + n, "%s%" PRIu64, i ? "," : "", s.g[i]);
		snprintf(got, sizeof got, "%" PRIu64 " %" PRId64 " %d %" PRId64 " %s %s %s %s", s.a, s.b, s.c, s.d, text, data, list, effects);
		same(name, got, want);
		free(text), free(data), free(effects), free(e.p), free(log.p);
	}
	free(s.f.p);
	free(s.h.p);

	/* Every byte changed, and every end cut off, gives an error or a state. */
	for (size_t i = 0; i < 2 * size; i++) {
		uint8_t *hostile = igor_alloc(NULL, size);
		memcpy(hostile, bytes, size);
		if (i < size)
			hostile[i] ^= (uint8_t)(1u << i % 8);
		struct everything other = {0};
		struct igor_decoder from = {hostile, i < size ? size : i - size, 0};
		everything_load(&from, &other);
		free(other.f.p), free(other.h.p), free(hostile);
	}
}

static char *written(const struct igor_effects *log)
{
	struct igor_encoder e = {0};
	igor_put_u32(&e, log->count);
	igor_put(&e, log->p, log->size);
	char *s = hex(e.p, e.size);
	free(e.p);
	return s;
}

static void effects(const char *name, char *word, char *want)
{
	struct igor_effects log = {0};
	size_t size = unhex(bytes, word);
	char *got = igor_effects_load(&log, bytes, size) == 0 ? written(&log) : hex(NULL, 0);
	same(name, got, want);
	free(got), free(log.p);
}

static void transition(const char *name, char *word, char *rest)
{
	struct igor_effects log = {0};
	char *end = strstr(rest, "= "), line[1 << 12];
	IGOR_CHECK(end != NULL && snprintf(line, sizeof line, "%s %.*s", word, (int)(end - rest), rest) < (int)sizeof line);
	for (char *op = strtok(line, " "); op; op = strtok(NULL, " ")) {
		char *before = written(&log), *bang = strchr(op, '!'), *id, *data = NULL;
		bool refused = bang != NULL;
		int error = 0;
		if (bang)
			*bang = 0;
		if ((id = strchr(op, '/')))
			*id++ = 0;
		if (id && (data = strchr(id, '/')))
			*data++ = 0;
		if (strcmp(op, "record") == 0)
			error = igor_effect_record(&log, id, data, (uint32_t)strlen(data));
		else if (strcmp(op, "begin") == 0)
			error = igor_effect_move(&log, id, IGOR_IN_FLIGHT);
		else if (strcmp(op, "confirm") == 0)
			error = igor_effect_confirm(&log, id);
		else if (strcmp(op, "compensate") == 0)
			error = igor_effect_compensate(&log, id);
		else if (strcmp(op, "prune") == 0)
			igor_effect_prune(&log);
		else if (strcmp(op, "load") == 0)
			error = igor_effects_load(&log, bytes, unhex(bytes, before));
		else
			IGOR_CHECK(!"a known operation");
		char *after = written(&log);
		if ((error != 0) != refused || (refused && strcmp(before, after) != 0)) {
			fprintf(stderr, "%s: %s %s: %s\n", name, op, id ? id : "", igor_error_text(error));
			exit(1);
		}
		free(before), free(after);
	}
	char *got = written(&log);
	same(name, got, end + 2);
	free(got), free(log.p);
}

int main(void)
{
	each("../../testdata/sdk/state.txt", state);
	each("../../testdata/sdk/effects.txt", effects);
	each("../../testdata/sdk/transitions.txt", transition);
}
