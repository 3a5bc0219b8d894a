import { Socket } from 'node:net'
import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from 'node:v8'

/**
 * Streams that pass through leave short-lived buffers behind. V8 answers by letting its young generation
 * grow to twice 16 MiB, for good, in a process that runs for months beside others. Kept at the 1 MiB that
 * it starts with, it costs a fifth more CPU for each connection than with 4 MiB; beyond, it gains nothing
 * (measured with `npm run bench`). So it grows up to there.
 */
const MAX_SEMI_SPACE_BYTES = 4 * 1024 * 1024
/**
 * Up to 32 MiB of such buffers wait for the young generation's next collection, and V8 counts them against
 * the old one's limit, which for a small heap is less: it then collected the whole heap every 16 MiB that
 * passed, at up to half of the CPU's time. A heap of ours may grow by this much before that.
 */
const HEADROOM_BYTES = 36 * 1024 * 1024
/** As a part of the heap. */
const GROWTH_STEP = 0.25
/**
 * `net.Socket` copies the options that it is made with, and adds to the copy. V8 11 (Node 20) has a quick way to
 * copy, which gives what is added a new hidden class each time: four of them for each connection, in the
 * old generation, and no inline cache ever hits. It gives that way up where it once met what cannot be copied
 * so, and a frozen object cannot. That took a fifth off the CPU of a connection at the end that accepts it.
 */
const UNCOPYABLE = Object.freeze({ allowHalfOpen: true })
/** V8 takes note only in functions that were called some twenty times. */
const CALLS_UNTIL_NOTED = 64
/** Later ones copy a socket's options in a tenth of the time, whatever they met before. */
const HAS_QUICK_WAY = process.versions.v8.startsWith('11.')

/** Node 20, 22 and 24. A V8 that does not know a flag complains on stderr, so a later one is left as it is. */
const HAS_FLAGS = /^1[123]\./.test(process.versions.v8)

// What survives a collection here is little. V8 13 (Node 24) takes longer to share that work among threads than to do
// it; earlier ones do not.
if (process.versions.v8.startsWith('13.')) setFlagsFromString('--no-parallel-scavenge')

// In a process that has become idle V8 collects the whole heap two or three times over; the first time gains all that
// there is to gain. Later ones collect nothing then when they are told to do it once.
if (process.versions.v8.startsWith('11.')) setFlagsFromString('--memory-reducer-single-gc')

let current = ''

function tune() {
  if (!HAS_FLAGS) return
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
  const mayGrow = young !== undefined && young.space_size < 2 * MAX_SEMI_SPACE_BYTES
  // In steps, for to set a flag is not for free; small ones, for the young generation's share must fit.
  // 0 leaves it to V8, as larger heaps should be.
  const growth = HEADROOM_BYTES / getHeapStatistics().used_heap_size
  const percent = growth < 1 ? 0 : Math.round(growth / GROWTH_STEP) * GROWTH_STEP * 100
  const flags = `--semi-space-growth-factor=${mayGrow ? 2 : 1} --heap-growing-percent=${percent}`
  if (flags === current) return
  current = flags
  for (const flag of flags.split(' ')) setFlagsFromString(flag)
}

function noteUncopyable() {
  if (HAS_QUICK_WAY) new Socket(UNCOPYABLE)
}

new PerformanceObserver(() => {
  // The young generation grows after a collection, and shrinks when there is little to do.
  tune()
  // Code that was not used for several collections is forgotten, and what was noted with it.
  noteUncopyable()
}).observe({ entryTypes: ['gc'] })
tune()
for (let i = 0; i < CALLS_UNTIL_NOTED; i++) noteUncopyable()
