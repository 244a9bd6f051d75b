module igor.dev/sdk

go 1.26
