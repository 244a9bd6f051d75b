module igor.dev/agents

go 1.26

require igor.dev/sdk v0.0.0

replace igor.dev/sdk => ../sdk
