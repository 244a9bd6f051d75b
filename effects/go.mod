module igor.dev/effects

go 1.26
