import { EventEmitter } from 'node:events'
import type { SeaportError } from '../core/errors.js'
import { type KeyPair, toHex } from '../core/keys.js'
import type { Replica } from '../registry/replica/replica.js'
import { type Judgement, MAX_WHY } from '../registry/trust/signed.js'
import type { HostedInstance } from './hosted-instance.js'
import { type Attempt, judge } from './judging.js'
import type { AppView, PlacementView } from './placement-view.js'
import type { Release } from './release.js'
import { retryPause } from './retry-pause.js'
import { saidOf, say } from './verdicts.js'

export interface HostJudgeOptions {
  keyPair: KeyPair
  registry: Buffer
  replica: Replica
}

interface HostJudgeEvents {
  /** A verdict was written, or could not be. */
  done: []
  notice: [notice: SeaportError]
}

/** An instance that could not be started. */
interface Trouble {
  app: string
  release: string
  /** When it was tried first and last, by a monotonic clock. */
  since: number
  last: number
  why: string
  /** Whether it makes no sense to try it again. */
  isFinal: boolean
}

/** Of releases that are not here. */
const DEADLINE_MS = 120_000

/** Signs verdicts on what becomes of releases on this host. */
export class HostJudge extends EventEmitter<HostJudgeEvents> {
  readonly #options: HostJudgeOptions
  readonly #key: string
  /** Instances that could not be started, by app and slot. */
  readonly #troubles = new Map<string, Trouble>()
  readonly #underWay = new Set<string>()
  #isClosed = false

  constructor(options: HostJudgeOptions) {
    super()
    this.#options = options
    this.#key = toHex(options.keyPair.publicKey)
  }

  /** Called when an instance could not be started. */
  troubled({ app, slot, release }: { app: string; slot: number; release: string }, error: Error) {
    const known = this.#troubles.get(`${app} ${slot}`)
    const last = performance.now()
    const since = known?.release === release ? known.since : last
    const { code, text: why = error.message } = error as SeaportError
    const isFinal = code === 'COMMAND_FAILED'
    this.#troubles.set(`${app} ${slot}`, { app, release, since, last, why, isFinal })
  }

  /** Called when an instance was started. */
  started({ app, slot }: { app: string; slot: number }) {
    this.#troubles.delete(`${app} ${slot}`)
  }

  look(
    view: PlacementView & { apps: readonly AppView[] },
    instances: readonly HostedInstance[],
    releases: ReadonlyMap<string, Release>
  ) {
    for (const app of view.apps.flatMap(withUnprepared)) {
      if (this.#underWay.has(app.app)) continue
      // A release that cannot be fetched has no terms that are known here.
      const deadline = releases.get(app.release)?.update.deadline ?? DEADLINE_MS
      const own = instances.filter(({ occupancy }) => occupancy.app === app.app)
      const attempts = [...own.map(attemptOf), ...this.#attemptsOf(app.app)]
      const said = saidOf(this.#options.replica, { host: this.#key, ...app })
      const terms = { host: this.#key, app, view, attempts, deadline, said, now: Date.now() }
      const judgement = judge(terms)
      const isNew = said?.outcome !== 'failed'
      if (judgement) void this.#judged(app.app, judgement, isNew ? own : [])
    }
  }

  /**
   * Signs what became of the command `before` of a release.
   *
   * @param why why it failed; null if it ended well
   * @returns whether it was written
   */
  prepared(app: string, release: string, why: string | null): Promise<boolean> {
    const outcome = why === null ? 'prepared' : 'unprepared'
    return this.#say(app, {
      ...{ release, outcome, isLast: why !== null, at: Date.now() },
      why: why === null ? '' : `before: ${why}`.slice(0, MAX_WHY)
    })
  }

  close() {
    this.#isClosed = true
  }

  /** Never rejects. */
  async #judged(app: string, judgement: Judgement, own: readonly HostedInstance[]) {
    this.#underWay.add(app)
    const failed = own.find((one) => one.occupancy.hash === judgement.release && one.failingFor > 0)
    const hasLines = judgement.outcome === 'failed' && failed
    const lines = hasLines ? await failed.explain().catch(() => judgement.why) : judgement.why
    await this.#say(app, { ...judgement, why: lines.slice(0, MAX_WHY) })
  }

  /** Never rejects. Returns whether it was written. */
  async #say(app: string, judgement: Judgement): Promise<boolean> {
    const { replica, registry, keyPair } = this.#options
    this.#underWay.add(app)
    try {
      await say(replica, registry, keyPair, app, judgement)
      return true
    } catch (error) {
      if (!this.#isClosed) this.emit('notice', error as SeaportError)
      await retryPause()
      return false
    } finally {
      this.#underWay.delete(app)
      if (!this.#isClosed) this.emit('done')
    }
  }

  #attemptsOf(app: string): Attempt[] {
    const troubles = [...this.#troubles.values()].filter((one) => one.app === app)
    return troubles.map(({ release, since, last, why, isFinal }) => {
      return { release, failingFor: last - since, isCrashLooping: isFinal, why }
    })
  }
}

/** An app, and itself with the release that is not prepared yet: that one may fail before it runs. */
function withUnprepared(app: AppView): AppView[] {
  return app.unprepared ? [app, { ...app, ...app.unprepared, isComplete: false }] : [app]
}

function attemptOf({ occupancy, failingFor, isCrashLooping, status }: HostedInstance): Attempt {
  return { release: occupancy.hash, failingFor, isCrashLooping, why: status.reason ?? '' }
}
