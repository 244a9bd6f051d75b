module igor.dev/agents

go 1.26

require (
	igor.dev/effects v0.0.0
	igor.dev/sdk v0.0.0
)

replace (
	igor.dev/effects => ../effects
	igor.dev/sdk => ../sdk
)
