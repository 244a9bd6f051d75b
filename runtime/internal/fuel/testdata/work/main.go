// Command work computes: BenchmarkComputing runs it with and without metering.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strconv"
)

type record struct {
	Name   string            `json:"name"`
	Amount int64             `json:"amount,string"`
	Tags   []string          `json:"tags"`
	More   map[string]string `json:"more"`
}

var sink uint64

//go:wasmexport loop
func loop(n uint32) {
	x := uint64(1)
	for i := range uint64(n) * 20_000 {
		x = x*6364136223846793005 + i
	}
	sink = x
}

//go:wasmexport sha256
func hash(n uint32) {
	b := make([]byte, 64<<10)
	for range n {
		sum := sha256.Sum256(b)
		copy(b, sum[:])
	}
	sink = uint64(b[0])
}

//go:wasmexport sort
func sorted(n uint32) {
	all := make([]uint32, 4000)
	for range n {
		x := uint32(1)
		for i := range all {
			x = x*1664525 + 1013904223
			all[i] = x
		}
		slices.Sort(all)
	}
	sink = uint64(all[0])
}

//go:wasmexport json
func marshal(n uint32) {
	in := record{"a name", 1 << 40, []string{"one", "two", "three"}, map[string]string{"a": "b", "c": "d"}}
	for range n * 20 {
		b, err := json.Marshal(in)
		if err != nil {
			panic(err)
		}
		var out record
		if err := json.Unmarshal(b, &out); err != nil {
			panic(err)
		}
		sink = uint64(len(out.Name))
	}
}

//go:wasmexport maps
func maps(n uint32) {
	for range n {
		m := map[string]int{}
		for i := range 1000 {
			m["key "+strconv.Itoa(i*7%500)]++
		}
		sink = uint64(len(m))
	}
}

func main() {}
