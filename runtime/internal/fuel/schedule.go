package fuel

import "time"

// Version1 is the first version of the schedule.
const Version1 = 1

// The prices of version 1, in units. What is not named here costs one, but for
// block, else and end, which are free. How they were found, and what else
// is part of the schedule, is in docs/spec/metering.md.
const (
	priceLoop         = 1 // in its own run: each look at the account at a loop is paid for
	priceLoad         = 18
	priceStore        = 3
	priceDivide       = 4
	priceRound        = 2
	priceVector       = 2
	priceCall         = 8
	priceCallIndirect = 20
	priceBrTable      = 3
	priceBulk         = 30
	priceGrow         = 1000
	priceRefFunc      = 40

	passedPerUnit  = 4   // parameters and results of a call
	targetsPerUnit = 256 // of a br_table
	maxTargetUnits = 8
)

// A lengthPrice is the price of a length: a unit for each 1<<divide, or 1<<times
// units for each one.
type lengthPrice struct {
	divide uint8
	times  int
}

const (
	lengthBytes = 1 + iota
	lengthEntries
	lengthPages
)

var lengths = [...]lengthPrice{
	lengthBytes:   {divide: 3},
	lengthEntries: {},
	lengthPages:   {times: 14},
}

// labelPrice is the price of coming to a label: a compiler may have to move
// all values that differ between the ways that lead there.
func labelPrice(values int) uint64 {
	const free, perUnit = 64, 8
	return uint64(max(0, values-free) / perUnit)
}

// Limits of what is metered, beside those of package module. The time of an
// engine's compiler grows with the number of values of a function times that of
// its runs and calls, and with the square of the number of its blocks (as an engine
// sees them: a loop with a look at the account is three). The limits are near
// to what programs of 32 MiB can have, and keep the worst to some minutes.
const (
	maxValues     = 2_048         // parameters and locals of a function
	maxPlaces     = 40_000_000    // in all functions together: values times runs and calls
	maxWidePlaces = 2_000_000     // in those with more than wideFunction values
	maxBlocks     = 2_000_000_000 // in all functions together: blocks times blocks
	wideFunction  = 256

	blocksOfIf      = 2
	blocksOfLoop    = 3
	blocksOfLength  = 4
	targetsPerBlock = 4 // of a br_table
)

// maxUnchecked is how many units may be spent on any way through a function
// without a look at the account.
const maxUnchecked = 256

// Depth. A frame weighs frameWeight, a slot for each local and for the most
// operands that it has at a time, two for each parameter and result, which is passed
// and kept, twice as much for vectors, and a slot for each instructionsPerSlot instructions. A function that calls none is not counted
// if it weighs maxLeaf at most.
const (
	frameWeight         = 8
	slotsPassed         = 2
	instructionsPerSlot = 256
	maxLeaf             = 128

	// MaxDepth is what all frames of a call may weigh.
	MaxDepth = 1<<(depthBits-1) - 1
)

// The account is an i64: fuel times 1<<depthBits, plus the depth that is left.
// What is left of both may be below zero for a moment.
//
// It cannot overflow. Fuel has 47 bits, and a slice is small: what matters is how much
// can be owed between two looks. Each turn of a loop and each beginning of a function
// looks, so that on a way without a look each frame passes its instructions once at
// most: less than 2^32 units, for a function has 7,654,321 bytes, and two bytes
// (memory.grow) cost 1,000 units at the most. There are less than 2^13 frames that
// can return to one another, which is 2^45 units. A length comes on top: 2^29 for bytes,
// 2^32 for entries, and for pages less than 2^46, before which there is a look. Depth has
// 17 bits, a frame takes 2^16 at most, and whoever owes any is stopped at once.
const depthBits = 17

// What a metered module imports and exports.
const (
	HookModule    = "igor/fuel"
	HookName      = "slice"     // (i64) -> i64: takes the account and returns it with a slice in it
	AccountExport = "igor/fuel" // a mutable i64, or this with apostrophes if the module exports that
)

// Limit is the fuel of a call that may take so long.
func Limit(d time.Duration) uint64 { return uint64(d.Milliseconds()) * 1_000_000 }
