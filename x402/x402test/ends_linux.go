package x402test

import (
	"os/exec"
	"syscall"
)

// endsWithUs has a process be killed when this one ends, however it does.
func endsWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
