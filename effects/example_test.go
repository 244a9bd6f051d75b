package effects_test

import (
	"errors"
	"fmt"

	"igor.dev/effects"
)

// The log of the package documentation, and what becomes of it when the
// program is killed after saving it.
func Example() {
	var log effects.Log
	log.Record("order-7", []byte("buy 2"))
	log.Record("order-8", nil)
	log.Begin("order-7")
	saved, _ := log.MarshalBinary()
	fmt.Printf("%x\n", saved)

	var loaded effects.Log
	if err := loaded.UnmarshalBinary(saved); err != nil {
		fmt.Println(err)
	}
	for intent := range loaded.All() {
		fmt.Printf("%s is %s\n", intent.ID, intent.State)
	}
	again, _ := loaded.MarshalBinary()
	fmt.Printf("%x\n", again)

	// Output:
	// 0200000002070000006f726465722d3705000000627579203201070000006f726465722d3800000000
	// order-7 is unresolved
	// order-8 is recorded
	// 0200000004070000006f726465722d3705000000627579203201070000006f726465722d3800000000
}

// What a program does first after loading its log: it asks the world about the
// acts whose outcome it does not know.
func ExampleLog_Unresolved() {
	var log effects.Log
	log.Record("order-7", []byte("buy 2"))
	log.Record("order-9", []byte("sell 1"))
	log.Begin("order-7")
	log.Begin("order-9")
	saved, _ := log.MarshalBinary()

	arrived := map[string]bool{"order-7": true} // what the exchange answers

	var loaded effects.Log
	loaded.UnmarshalBinary(saved)
	for intent := range loaded.Unresolved() {
		if arrived[intent.ID] {
			loaded.Confirm(intent.ID)
		} else {
			loaded.Compensate(intent.ID)
		}
	}
	for intent := range loaded.All() {
		fmt.Printf("%s (%s) is %s\n", intent.ID, intent.Data, intent.State)
	}

	// Output:
	// order-7 (buy 2) is confirmed
	// order-9 (sell 1) is compensated
}

func ExampleError() {
	var log effects.Log
	log.Record("order-7", nil)
	err := log.Confirm("order-7")
	fmt.Println(err)
	fmt.Println(errors.Is(err, effects.ErrTransition))

	// Output:
	// effects: confirm "order-7": it is recorded; begin it first
	// true
}
