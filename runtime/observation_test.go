package runtime

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/wal/waltest"
)

// sized is each part behind its length.
func sized(parts ...string) (b []byte) {
	for _, p := range parts {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(p))), p...)
	}
	return b
}

// TestObservation says in words what every hostcall observed, and whatever else a
// record may hold.
func TestObservation(t *testing.T) {
	room := []byte{0, 1, 0, 0}
	http := append(room, sized("POST", "https://a.example/", "A: b", "body")...)
	amount := binary.LittleEndian.AppendUint64(nil, 1_500_000)
	pay := append(append(amount, room...), sized("bob", "memo")...)
	log := eventlog.New(waltest.New(), waltest.New())
	for _, tt := range []struct {
		kind            eventlog.Kind
		result          int64
		request, answer []byte
		want            string
	}{
		{eventlog.ClockNow, 1_700_000_000_000_000_001, nil, nil, "2023-11-14T22:13:20.000000001Z"},
		{eventlog.RandBytes, 0, []byte{2, 0, 0, 0}, []byte{1, 2}, "0102"},
		{eventlog.LogEmit, 0, []byte("a\x1b[2Jb"), nil, `"a\x1b[2Jb"`},
		{eventlog.LogEmit, 0, bytes.Repeat([]byte("a"), 4096), nil, `"` + strings.Repeat("a", 64) + `"… (4096 bytes)`},
		{eventlog.WalletBalance, 1_000_001, nil, nil, "1.000001"},
		{eventlog.WalletReceiptCount, 3, nil, nil, "3"},
		{eventlog.WalletReceipt, 7, []byte{2, 0, 0, 0, 9, 0, 0, 0}, []byte("receipt"), "number 2: 7 bytes"},
		{eventlog.WalletReceipt, -4, []byte{2, 0, 0, 0, 9, 0, 0, 0}, nil, "number 2: buffer too small (-4)"},
		{eventlog.NodePrice, 1000, nil, nil, "0.001000"},
		{eventlog.HTTPRequest, 200, http, sized("answer"), "POST https://a.example/, 4 bytes: 200, 6 bytes"},
		{eventlog.HTTPRequest, -4, append(room, sized("GET", "http://a/", "", "")...), nil, "GET http://a/: timeout (-4)"},
		{eventlog.HTTPRequest, -7, http, nil, "POST https://a.example/, 4 bytes: unresolved (-7)"},
		{eventlog.WalletPay, 11, pay, sized("receipt"), `1.500000 to "bob", memo "memo": receipt of 7 bytes`},
		{eventlog.WalletPay, -4, pay, nil, `1.500000 to "bob", memo "memo": over the cap (-4)`},
		{eventlog.WalletPay, -6, pay, nil, `1.500000 to "bob", memo "memo": refused (-6)`},
		{eventlog.KVGet, 2, append(room, "key"...), []byte("va"), `"key": 7661`},
		{eventlog.KVGet, -5, append(room, "key"...), nil, `"key": not found (-5)`},
		{eventlog.KVPut, 0, append(sized("key"), "va"...), nil, `"key" = 7661`},
		{eventlog.KVPut, -6, sized("key"), nil, `"key" = nothing: store full (-6)`},
		{eventlog.KVDelete, 0, []byte("key"), nil, `"key"`},
		{eventlog.TickEnd, 1, nil, nil, "more to do"},
		{eventlog.TickEnd, 0, nil, nil, "idle"},
	} {
		say := func(request []byte) string {
			o := observation(log, &eventlog.Record{Kind: tt.kind, Return: tt.result, Request: eventlog.Bytes(request), Result: eventlog.Bytes(tt.answer)})
			return o.String()
		}
		if got := say(tt.request); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.kind, got, tt.want)
		}
		for n := range tt.request { // an agent's own key may sign anything
			if strings.ContainsRune(say(tt.request[:n]), '\n') {
				t.Errorf("%s: more than a line", tt.kind)
			}
		}
	}
}
