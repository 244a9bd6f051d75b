package lab

import (
	"flag"
	"testing"
	"testing/synctest"
)

// bubble runs a function in simulated time. Only a test can begin that (testing/synctest), so
// this process becomes one: testing.Main is there for programs that do what go test does. It
// would end the process with the test, which therefore never ends.
func bubble(do func()) {
	testing.Init()
	flag.CommandLine.Parse(nil)
	done := make(chan struct{})
	every := func(string, string) (bool, error) { return true, nil }
	go testing.Main(every, []testing.InternalTest{{Name: "Lab", F: func(t *testing.T) {
		synctest.Test(t, func(*testing.T) { do() })
		close(done)
		select {}
	}}}, nil, nil)
	<-done
}
