module github.com/foretier/foretier/cache/benchmarks

go 1.26.0

replace github.com/foretier/foretier => ../..

require (
	github.com/foretier/foretier v0.0.0-00010101000000-000000000000
	github.com/maypok86/otter/v2 v2.4.0
)
