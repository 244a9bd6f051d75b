// Package testkit builds checkpoints, histories, CAR files and test vectors by hand, from
// docs/spec alone. It never imports the code under test, so that a mistake in one is not
// repeated in the other.
//
//	agent := testkit.NewAgent("alice")
//	history := agent.History(100, 1024)
//	err := testkit.WriteFolder(dir, history...)
//	car := testkit.CAR(history[99], history...)
package testkit

//go:generate go run ./genvectors
//go:generate go run ./genreceipts
//go:generate go run ./genpaid
//go:generate go run ./genreplay
//go:generate go run ./genwitness
