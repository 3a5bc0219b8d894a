export {}

// Properties that hold for a thousand inputs among the quick tests are tried with more of them.
process.env.PROPERTY_RUNS ??= '5000'
process.env.PLACEMENTS ??= '1000'
process.env.HISTORIES ??= '100'
await import('../registry/replica/directory.test.js')
await import('../link/frames.test.js')
await import('../link/hostile.test.js')
await import('../gateway/channels/bounds.test.js')
await import('../hosting/placement.test.js')
await import('../hosting/placer.test.js')
