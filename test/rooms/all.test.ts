import { join } from 'node:path'
import t from 'tap'
import { ROOMS } from './rooms.js'

/** One more than the cores that are promised to suffice: many tests wait for timers. */
const JOBS = 3
/** For a process that hangs. What a test waits for has watchdogs of its own: test/watchdog.ts. */
const TIMEOUT = 600_000
// tap puts loaders of its own into every child's NODE_OPTIONS, which cost each process as much as many tests do.
// Nobody needs them where everything is compiled. Nor are source maps read here, for each error that a test expects:
// `npm run test:one FILE` names the TypeScript lines.
const NODE = ['-u', 'NODE_OPTIONS', process.execPath, join(import.meta.dirname, 'room.js')]

/** `ROOMS=link,docs npm test` runs these. */
const rooms = process.env.ROOMS?.split(',') ?? Object.keys(ROOMS)

t.jobs = JOBS
t.setTimeout(TIMEOUT * rooms.length)
for (const room of rooms)
  t.spawn('env', [...NODE, room], { buffered: true, timeout: TIMEOUT }, room)
