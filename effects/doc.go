// Package effects keeps the intent log of a program that acts on the outside
// world and may be killed at any instruction: which acts it meant, which may
// have happened, which are settled. It depends on the standard library only.
//
// # States
//
// An intent is an id, which names one act for ever, and data, which says what
// the act is. Five operations move it:
//
//	Record      (absent)                  -> recorded
//	Begin       recorded                  -> in-flight
//	Confirm     in-flight or unresolved   -> confirmed
//	Compensate  in-flight or unresolved   -> compensated
//	Prune       confirmed or compensated  -> (absent)
//
// Every other transition is an error and changes nothing. One rule does the
// rest: an intent that was in-flight when the log was saved is unresolved when
// it is loaded. The act may have happened or not, and only the outside world
// knows which. Ask it, then Confirm (it happened) or Compensate (it did not,
// or was undone). To try again, record a new intent.
//
// # Wire form
//
// Integers are little-endian. Intents stand in the order of their recording.
//
//	count u32
//	count times: state u8, id length u32, id, data length u32, data
//
// The states are 1 recorded, 2 in-flight, 3 confirmed, 4 unresolved and
// 5 compensated. A log with "order-7" in-flight, its data "buy 2", and
// "order-8" recorded, without data, is these 41 bytes:
//
//	02000000
//	02 07000000 6f726465722d37 05000000 6275792032
//	01 07000000 6f726465722d38 00000000
//
// Loaded and saved again, the 02 that begins the second line is 04.
//
// # Saving
//
// The log protects what was saved, and nothing else. After Begin, save before
// the act; after the act, save its outcome before relying on it. A host that
// runs Igor agents does both by itself, in a journal of its own.
package effects
