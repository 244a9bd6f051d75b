//go:build !wasip1

package sdk

import (
	"crypto/rand"
	"os"
	"time"
)

func clockNow() int64 { return time.Now().UnixNano() }

func randBytes(b []byte) int32 {
	if len(b) > MaxRand {
		return -2
	}
	rand.Read(b) // never fails
	return 0
}

func logEmit(line string) { os.Stderr.WriteString(line[:min(len(line), MaxLog)] + "\n") }
