package runtime

// outside connects the agent to what is outside this process.
func (l *life) outside() {}
