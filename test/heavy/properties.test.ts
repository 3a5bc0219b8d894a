export {}

// Properties that hold for a thousand inputs among the quick tests are tried with more of them.
process.env.PROPERTY_RUNS ??= '5000'
await import('../registry/replica/directory.test.js')
await import('../link/frames.test.js')
await import('../link/hostile.test.js')
await import('../gateway/channels/bounds.test.js')
