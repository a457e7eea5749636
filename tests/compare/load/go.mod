module quorate.dev/compare/load

go 1.26.0
