package sim

import (
	"context"
	"strings"
	"testing"

	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/manifest"
)

const recording = `[
	{"url": "https://a.example/x", "status": 200, "body": "one"},
	{"url": "https://a.example/x", "status": 503, "body": "two"},
	{"url": "https://a.example/x", "headers": {"X-Payment": "paid"}, "status": 200, "body": "three"},
	{"method": "POST", "url": "https://a.example/x", "status": -7},
	{"url": "https://a.example/paid", "status": -8},
	{"url": "https://a.example/paid", "status": -9},
	{"method": "HEAD", "url": "https://a.example/x", "status": 204},
	{"url": "https://a.example/slow", "status": -4},
	{"url": "https://a.example/large", "status": 200, "body": "0123456789"}
]`

func TestWeb(t *testing.T) {
	answers, err := ParseRecording([]byte(recording))
	if err != nil {
		t.Fatal(err)
	}
	missing, left := 0, 0
	w := Web{Answers: answers, Options: manifest.HTTP{MaxResponse: 9}, Missing: func(string, string) { missing++ }, Left: func() { left++ }}
	for i, tt := range []struct {
		method, url, headers, body string
		code                       int32
	}{
		{"GET", "x", "", "one", 200},
		{"GET", "x", "", "two", 503},
		{"GET", "x", "", "two", 503},
		{"GET", "x", "x-payment: paid", "three", 200},
		{"GET", "x", "X-Payment: forged", "two", 503},
		{"POST", "x", "", "", hostcall.CodeUnresolved},
		{"GET", "paid", "", "", hostcall.CodePaid},
		{"GET", "paid", "", "", hostcall.CodeNeverPaid},
		{"HEAD", "x", "", "", 204},
		{"GET", "slow", "", "", hostcall.CodeTimeout},
		{"GET", "large", "", "\x0e\x00\x00\x00", hostcall.CodeTooLarge},
		{"GET", "y", "", "", hostcall.CodeFailed},
		{"GET", "y", "", "", hostcall.CodeFailed},
		{"PUT", "x", "", "", hostcall.CodeFailed},
	} {
		body, code := w.Do(context.Background(), &hostcall.HTTPRequest{Method: tt.method, URL: "https://a.example/" + tt.url, Headers: tt.headers})
		if string(body) != tt.body || code != tt.code {
			t.Errorf("request %d: got %q, %d, want %q, %d", i, body, code, tt.body, tt.code)
		}
	}
	if missing != 2 || left != 1 || w.Requests != 11 {
		t.Errorf("%d missing, %d left, %d answered", missing, left, w.Requests)
	}
}

func TestParseRecordingRefuses(t *testing.T) {
	for in, want := range map[string]string{
		``:                                      "not a JSON list",
		`[`:                                     "cut short",
		`[{"url": "http://a/", "status": 200}`:  "cut short",
		`{}`:                                    "not a JSON list",
		`[] []`:                                 "more after it",
		`[{"uri":1}]`:                           `unknown field "uri"`,
		`[{"url": "/x", "status": 200}]`:        "answer 0: not an absolute URL",
		`[{"url": "http://a/", "status": 99}]`:  "answer 0: status 99 is none that a GET can get",
		`[{"url": "http://a/", "status": 600}]`: "status 600",
		`[{"url": "http://a/"}]`:                "status 0",
		`[{"url": "http://a/", "status": -7}]`:  "status -7",
		`[` + strings.Repeat(`{},`, MaxAnswers) + `{}]`: "10000 answers at most",
		strings.Repeat(" ", MaxRecording+1):             "16777216 bytes at most",
	} {
		if _, err := ParseRecording([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", in, err, want)
		}
	}
}

func FuzzRecording(f *testing.F) {
	f.Add([]byte(recording))
	f.Add([]byte(`[{"url": "http://a/", "headers": {"": "\u0000"}, "status": 100}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		answers, err := ParseRecording(b)
		if err != nil {
			return
		}
		w := Web{Answers: answers, Missing: func(string, string) {}, Left: func() {}}
		for _, a := range answers {
			w.Do(context.Background(), &hostcall.HTTPRequest{Method: a.Method, URL: a.URL})
		}
	})
}

// TestStream holds the randomness of a seed fixed: another one would be another
// life for everybody.
func TestStream(t *testing.T) {
	if got := Stream(1, "key").Uint64(); got != 0x8510ba8b0881ebcd {
		t.Errorf("the first number of seed 1 is %#x", got)
	}
	if Stream(1, "key").Uint64() == Stream(1, "agent").Uint64() || Stream(1, "key").Uint64() == Stream(2, "key").Uint64() {
		t.Error("two streams are one")
	}
}
