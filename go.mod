module igor.dev

go 1.26
