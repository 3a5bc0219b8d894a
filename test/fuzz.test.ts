import t from 'tap'
import { channelTargets } from './fuzz/channels.js'
import { edgeTargets } from './fuzz/edge.js'
import { hostingTargets } from './fuzz/hosting.js'
import { linkTargets } from './fuzz/link.js'
import { mailTargets } from './fuzz/mail.js'
import { messagingTargets } from './fuzz/messaging.js'
import { attack } from './fuzz/mutants.js'
import { registryTargets } from './fuzz/registry.js'
import { replicationTargets } from './fuzz/replication.js'
import { settingsTargets } from './fuzz/settings.js'
import { stateTargets } from './fuzz/state.js'

/** `FUZZ_RUNS=1000000` for the long run, `FUZZ_SEED=…` to see one again, `FUZZ_ONLY=hello,grant` for some. */
const { FUZZ_RUNS, FUZZ_ONLY } = process.env
const RUNS = Number(FUZZ_RUNS ?? 50)
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31)
const SLOW_RUNS = FUZZ_RUNS ? RUNS : RUNS / 10
/** No input may take more of a CPU than this, in ms. */
const MAX_INPUT_MS = 2000

// A long run takes its time.
if (FUZZ_RUNS) t.setTimeout(0)

t.test(
  `no mutant crashes or hangs what reads it, nor passes for what was signed (seed ${SEED})`,
  async (t) => {
    const targets = {
      ...(await registryTargets()),
      ...(await replicationTargets((close) => t.teardown(close))),
      ...(await linkTargets()),
      ...mailTargets,
      ...messagingTargets,
      ...channelTargets,
      ...hostingTargets,
      ...(await stateTargets(t)),
      ...edgeTargets,
      ...settingsTargets
    }
    for (const [name, target] of Object.entries(targets)) {
      if (FUZZ_ONLY && !FUZZ_ONLY.split(',').includes(name)) continue
      const { isForOthers = false, isSlow = false } = target
      if (!isForOthers)
        t.resolves(async () => target.read(target.valid), `${name}: as it should be`)
      const runs = isSlow ? SLOW_RUNS : RUNS
      const since = performance.now()
      const { accepted, refused, slowest } = await attack(target, runs, SEED)
      const took = `${runs} mutants in ${((performance.now() - since) / 1000).toFixed(1)} s`
      const came = `${accepted} accepted, ${refused} refused, the slowest took ${slowest.toFixed(1)} ms`
      t.ok(slowest < MAX_INPUT_MS, `${name}: ${took}, ${came}`)
    }
  }
)
