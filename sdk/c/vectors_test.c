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
		igor_effects_write(&log, &s.h);
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
	igor_effects_write(&e, log);
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
	free(got), free(log.p), free(log.asked), free(log.kept);

	/* Every byte changed, and every end cut off, gives an error or a log that can be gone through. */
	for (size_t i = 0; i < 9 * size; i++) {
		size_t left = i < 8 * size ? size : i - 8 * size;
		uint8_t *hostile = igor_copied(bytes, size);
		struct igor_effects other = {0};
		struct igor_intent intent = {0};
		if (i < 8 * size)
			hostile[i / 8] ^= (uint8_t)(1u << i % 8);
		if (igor_effects_load(&other, hostile, left) == 0) {
			while (igor_effect_next(&other, &intent))
				;
			char *saved = written(&other);
			IGOR_CHECK(strlen(saved) == 2 * left);
			free(saved);
			igor_effect_prune(&other);
			while (other.kept_count)
				igor_effect_forget(&other, other.kept + 1);
			IGOR_CHECK(other.kept_size == 0);
		}
		free(other.p), free(other.asked), free(other.kept), free(hostile);
	}
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

static int32_t live;

static struct igor_failure refuse(const char *call, const char *target)
{
	(void)call, (void)target;
	return (struct igor_failure){live, true};
}

/* The parts of an operation, between slashes. */
static char *cut(char **rest)
{
	char *part = *rest;
	if (part && (*rest = strchr(part, '/')))
		*(*rest)++ = 0;
	return part ? part : "";
}

static void finding(const char *name, char *word, char *rest)
{
	static char line[1 << 16];
	struct igor_effects log = {0};
	char *end = strstr(rest, "= ");
	/* The first word and the rest are the operations. */
	IGOR_CHECK(end != NULL && snprintf(line, sizeof line, "%s %.*s", word, (int)(end - rest), rest) < (int)sizeof line);
	int n = 0;
	for (char *op = strtok(line, " "); op; op = strtok(NULL, " "), n++) {
		char *before = written(&log), *bang = strchr(op, '!'), *parts = op, ended[64] = "-", *id = "", *want = "-";
		bool refused = bang != NULL;
		int error = 0;
		if (bang)
			*bang = 0;
		const char *what = cut(&parts);
		struct igor_intent i;
		if (strcmp(what, "act") == 0) {
			struct igor_data receipt = {0};
			char got[64];
			id = cut(&parts);
			int64_t amount = atoll(cut(&parts));
			live = atoi(cut(&parts));
			igor_world_begin();
			igor_world.fail = refuse;
			IGOR_CHECK(igor_effect_begin(&log, id, NULL, 0) == 0);
			int paid = igor_pay(amount, "bob", "m", &receipt);
			IGOR_CHECK(igor_effect_end(&log, id, paid) == 0);
			if (paid == IGOR_OVER_CAP)
				paid = -4;
			if (paid != 0)
				snprintf(got, sizeof got, "%d", paid);
			else
				snprintf(got, sizeof got, igor_world.payments ? "ok" : "ok:%s", (char *)receipt.p);
			for (char *p = got; *p; p++)
				*p = *p == ' ' ? '_' : *p;
			IGOR_CHECK(igor_world.payments == atoi(cut(&parts)));
			same(name, got, cut(&parts));
			igor_free(&receipt);
		} else if (strcmp(what, "tell") == 0) {
			struct igor_finding f;
			error = igor_finding_read(&f, bytes, unhex(bytes, cut(&parts)));
			want = refused ? "-" : cut(&parts);
			if (error == 0 && igor_effect_observe(&log, &f, &i))
				snprintf(ended, sizeof ended, "%.*s", (int)i.id_size, (const char *)i.id);
		} else if (strcmp(what, "tick") == 0) {
			want = cut(&parts);
			if (igor_effect_settle(&log, &i)) {
				snprintf(ended, sizeof ended, "%.*s", (int)i.id_size, (const char *)i.id);
				IGOR_CHECK(igor_effect_confirm(&log, ended) == 0);
			}
		} else if (strcmp(what, "record") == 0) {
			id = cut(&parts);
			error = igor_effect_record(&log, id, NULL, 0);
		} else if (strcmp(what, "begin") == 0) {
			error = igor_effect_move(&log, cut(&parts), IGOR_IN_FLIGHT);
		} else if (strcmp(what, "confirm") == 0) {
			error = igor_effect_confirm(&log, cut(&parts));
		} else if (strcmp(what, "compensate") == 0) {
			error = igor_effect_compensate(&log, cut(&parts));
		} else if (strcmp(what, "prune") == 0) {
			igor_effect_prune(&log);
		} else if (strcmp(what, "load") == 0) {
			error = igor_effects_load(&log, bytes, unhex(bytes, before));
		} else {
			IGOR_CHECK(!"a known operation");
		}
		char *after = written(&log);
		same(name, ended, want);
		if ((error != 0) != refused || (refused && strcmp(before, after) != 0)) {
			fprintf(stderr, "%s: %d, %s: %s\n", name, n, what, igor_error_text(error));
			exit(1);
		}
		free(before), free(after);
	}
	char *got = written(&log);
	same(name, got, end + 2);
	free(got), free(log.p), free(log.asked), free(log.kept);
}

/* What the digests of requests are made with. */
static void digests(void)
{
	static uint8_t as[1000];
	uint8_t sum[32];
	static const struct {
		size_t size;
		const char *want;
	} known[] = {
		{0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
		{56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
		{1000, "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3"},
	};
	memset(as, 'a', sizeof as);
	for (size_t n = 0; n < sizeof known / sizeof *known; n++) {
		igor_digest(sum, as, known[n].size);
		char *got = hex(sum, sizeof sum);
		same("digest", got, known[n].want);
		free(got);
	}
}

int main(void)
{
	digests();
	each("../../testdata/sdk/findings.txt", finding);
	each("../../testdata/sdk/state.txt", state);
	each("../../testdata/sdk/effects.txt", effects);
	each("../../testdata/sdk/transitions.txt", transition);
}
