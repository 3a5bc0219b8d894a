export {}

// More mutants than the quick tests have.
process.env.FUZZ_RUNS ??= '1000'
await import('../fuzz.test.js')
