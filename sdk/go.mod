module igor.dev/sdk

go 1.26

require igor.dev/effects v0.0.0

replace igor.dev/effects => ../effects
