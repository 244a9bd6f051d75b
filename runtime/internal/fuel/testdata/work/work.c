// The work of main.go, in C.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))

static volatile uint64_t sink;

EXPORT("loop") void loop(uint32_t n) {
	uint64_t x = 1;
	for (uint64_t i = 0; i < (uint64_t)n * 20000; i++) x = x * 6364136223846793005u + i;
	sink = x;
}

static int compare(const void *a, const void *b) {
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

EXPORT("sort") void sorted(uint32_t n) {
	static uint32_t all[4000];
	while (n--) {
		uint32_t x = 1;
		for (int i = 0; i < 4000; i++) all[i] = x = x * 1664525 + 1013904223;
		qsort(all, 4000, sizeof *all, compare);
	}
	sink = all[0];
}

static uint32_t rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }

// sha256 is the compression function over 64 KiB: its constants are any.
EXPORT("sha256") void hash(uint32_t n) {
	static uint8_t b[65536];
	static uint32_t k[64];
	uint32_t h[8] = {1, 2, 3, 4, 5, 6, 7, 8}, w[64];
	for (int i = 0; i < 64; i++) k[i] = i * 2654435761u;
	while (n--)
		for (size_t at = 0; at < sizeof b; at += 64) {
			uint32_t s[8];
			for (int i = 0; i < 16; i++) w[i] = (uint32_t)b[at + i * 4] << 24 | b[at + i * 4 + 1] << 16 | b[at + i * 4 + 2] << 8 | b[at + i * 4 + 3];
			for (int i = 16; i < 64; i++)
				w[i] = w[i - 16] + w[i - 7] + (rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3) + (rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10);
			memcpy(s, h, sizeof s);
			for (int i = 0; i < 64; i++) {
				uint32_t t1 = s[7] + (rotr(s[4], 6) ^ rotr(s[4], 11) ^ rotr(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
				uint32_t t2 = (rotr(s[0], 2) ^ rotr(s[0], 13) ^ rotr(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
				memmove(s + 1, s, 7 * sizeof *s);
				s[4] += t1;
				s[0] = t1 + t2;
			}
			for (int i = 0; i < 8; i++) h[i] += s[i];
		}
	sink = h[0];
}
