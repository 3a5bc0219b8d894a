import type { Duplex } from 'node:stream'
import type { Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import { BYTES } from '../core/purpose.js'
import { OVERTAKEN, Race } from '../core/race.js'
import type { OpenOptions } from '../link/link.js'
import type { LinkPool } from '../link/pool.js'
import { LinkStream } from '../link/stream.js'
import type { Versions } from '../registry/replica/directory.js'
import {
  type BalanceContext,
  type Balanced,
  type BalanceMode,
  type Balancer,
  balancerOf,
  DEFAULT_MODE
} from './balancer.js'
import { type DialedInstance, InstanceStats } from './instance-stats.js'

/** An instance that may be dialed. */
export interface Candidate extends Balanced {
  role: string
  /** The purposes of streams that it takes. Default: bytes for its backend only. */
  speaks?: readonly string[]
}

export interface DialerOptions {
  /** The name of what is dialed in errors, as in `role@range`. */
  role: string
  /** The instances that match now, the best first. Must be quick: it is asked for every dial. */
  resolve: () => readonly Candidate[]
  /**
   * Calls the listener whenever the candidates may have changed, as `Directory.watch` does. Returns a function that
   * stops it.
   */
  watch?: ((listener: () => void) => () => void) | undefined
  pool: Pick<LinkPool, 'open' | 'isSuspect'> & Partial<Pick<LinkPool, 'pathOf'>>
  /** How instances are chosen. */
  mode?: BalanceMode | undefined
  /** Whether older versions have a share of the dials. `resolve` has to return them for that. */
  versions?: Versions | undefined
  /** The key of who dials. It is asked for each dial in the mode `hash`. */
  consumerKey?: (() => string) | undefined
  /** Measurements of the instances, which dialers may share. Default: this dialer's own. */
  instanceStats?: InstanceStats | undefined
  random?: (() => number) | undefined
  /** How long an instance may take to answer, in ms. */
  openTimeout?: number
  /** How long one dial goes on to further instances, in ms. Each attempt is bounded by itself. */
  dialTimeout?: number
  /** How long an instance may take to answer before the next one is tried beside it, in ms. */
  hedgeAfter?: number
}

/** Something made of a stream that is used more than once. */
export interface Lendable {
  destroy(): void
  /** Calls back once, when it is closed or given back. */
  whenUnused(callback: () => void): void
}

/** The result of a dial: a stream of a link, or something that was made of one. */
type Dialed = LinkStream | Duplex | Lendable

/** Opens a stream to an instance, as `LinkPool.open` does. */
type Open<S extends Dialed> = (key: Buffer, options: OpenOptions) => Promise<S>

export interface DialOptions<S extends Dialed = LinkStream> {
  /** What the stream is for. Only instances that speak it are tried. Default: bytes for the backend. */
  purpose?: string | undefined
  /** Ends the dial, and whatever attempt is under way. */
  signal?: Signal
  /** Instances to try only when no other is left, by key in hex. */
  avoid?: ReadonlySet<string> | undefined
  /** The only instance to try, by key in hex. */
  only?: string | undefined
  /** Opens the stream to the instance whose turn it is. Default: the pool does. */
  open?: Open<S>
}

interface AttemptOptions<S extends Dialed> {
  purpose: string
  signal: Signal
  open: Open<S> | undefined
  /** Whether there is no other candidate. */
  isAlone: boolean
}

/** An attempt that failed, and why. */
interface Failure {
  candidate: Candidate
  error: SeaportError
}

/** It is long enough to find out that two keys cannot be reached on the DHT, and to go on. */
const DIAL_TIMEOUT_MS = 10_000
/** It is a little more than a round trip around the world takes. */
const HEDGE_AFTER_MS = 250
/** How long a dial waits for a successor, in ms: far longer than a registrar's news takes to reach a consumer. */
const SUCCESSION_MS = 1000

/**
 * Turns `role@range` into an open stream: asks the directory, lets the balancer order what it knows,
 * and tries one instance after the other until one is connected. The next one is also tried when the one
 * before does not answer soon; the first that is connected wins. None is tried twice in one dial.
 */
export class Dialer {
  readonly stats = {
    /** Streams that were connected. */
    dialed: 0,
    /** Attempts that failed, of dials that went on to another instance or gave up. */
    failedAttempts: 0,
    /** Attempts that were given up because another one was connected first. */
    overtaken: 0,
    /** Dials that found no instance. */
    failed: 0
  }

  readonly #role: string
  readonly #resolve: DialerOptions['resolve']
  readonly #watch: DialerOptions['watch']
  readonly #pool: DialerOptions['pool']
  readonly #instanceStats: InstanceStats
  readonly #context: BalanceContext
  readonly #openTimeout: number | undefined
  readonly #dialTimeout: number
  readonly #hedgeAfter: number
  #mode: BalanceMode
  #balancer: Balancer

  /** @throws USAGE */
  constructor({
    role,
    resolve,
    watch,
    pool,
    mode = DEFAULT_MODE,
    versions = 'newest',
    consumerKey = () => '',
    instanceStats = new InstanceStats(),
    random = Math.random,
    openTimeout,
    dialTimeout = DIAL_TIMEOUT_MS,
    hedgeAfter = HEDGE_AFTER_MS
  }: DialerOptions) {
    this.#role = role
    this.#resolve = resolve
    this.#watch = watch
    this.#pool = pool
    this.#mode = mode
    this.#balancer = balancerOf(mode)
    this.#instanceStats = instanceStats
    this.#openTimeout = openTimeout
    this.#dialTimeout = dialTimeout
    this.#hedgeAfter = hedgeAfter
    this.#context = {
      dial: -1,
      random,
      measure: ({ servicePublicKey }) => this.#instanceStats.of(servicePublicKey).load,
      get consumerKey() {
        return consumerKey()
      },
      versions
    }
  }

  get mode(): BalanceMode {
    return this.#mode
  }

  /**
   * Chooses otherwise from the next dial on.
   *
   * @throws USAGE, and leaves it as it was
   */
  setMode(mode: BalanceMode) {
    this.#balancer = balancerOf(mode)
    this.#mode = mode
  }

  /**
   * The instance that the next dial would try, for callers that keep streams and may have one to it already. Null if
   * the instance is ejected or its link suspect: such a caller had better dial.
   */
  next(purpose?: string): DialedInstance | null {
    const [first] = this.#balance(purpose)
    if (!first || this.#doubt(first, undefined) > 0) return null
    return this.#instanceStats.of(first.servicePublicKey)
  }

  /** The measurements of an instance, for callers that report what becomes of its streams. */
  statOf(servicePublicKey: string): DialedInstance {
    return this.#instanceStats.of(servicePublicKey)
  }

  /**
   * Opens a stream to an instance.
   *
   * @throws NO_INSTANCE, which says what became of each, or the signal's reason
   */
  async dial<S extends Dialed = LinkStream>(options: DialOptions<S> = {}): Promise<S> {
    const candidates = this.#order(options)
    const failures: Failure[] = []
    let stream = await this.#race(candidates, options, failures)
    if (!stream && areLeaving(failures)) {
      const successors = await this.#successorsOf(failures, options)
      stream = await this.#race(successors, options, failures)
    }
    if (stream) {
      this.stats.dialed++
      return stream
    }
    this.stats.failed++
    throw this.#noInstance(failures, options.purpose)
  }

  #race<S extends Dialed>(
    candidates: Candidate[],
    { purpose = BYTES, signal, open }: DialOptions<S>,
    failures: Failure[]
  ): Promise<S | null> {
    const isAlone = candidates.length === 1
    const race = new Race<Candidate, S>({
      candidates,
      attempt: (candidate, signal) => this.#attempt(candidate, { purpose, signal, open, isAlone }),
      stagger: this.#hedgeAfter,
      timeout: this.#dialTimeout,
      signal,
      onfailed: (candidate, error) => {
        this.stats.failedAttempts++
        failures.push({ candidate, error })
      },
      // Nothing was sent on it yet, so it can simply be reset.
      onlate: (stream) => stream.destroy()
    })
    return race.run()
  }

  /**
   * The balancer's order, except that those come later whose link has fallen silent, then those that are
   * ejected, and last those to avoid. So if all are, all are tried.
   */
  #order({ avoid, purpose, only }: Pick<DialOptions, 'avoid' | 'purpose' | 'only'>): Candidate[] {
    const all = this.#balance(purpose)
    const ordered = only ? all.filter(({ servicePublicKey }) => servicePublicKey === only) : all
    if (ordered.length === 1) return ordered
    const doubts = ordered.map((candidate) => this.#doubt(candidate, avoid))
    if (doubts.every((doubt) => doubt === 0)) return ordered
    return [0, 1, 2, 3].flatMap((level) => ordered.filter((_, i) => doubts[i] === level))
  }

  #balance(purpose: string = BYTES): Candidate[] {
    const context = this.#context
    context.dial++
    const known = this.#resolve()
    const areSpeaking = known.every((candidate) => isSpeaking(candidate, purpose))
    const candidates = areSpeaking
      ? known
      : known.filter((candidate) => isSpeaking(candidate, purpose))
    return this.#balancer(candidates, context)
  }

  #doubt({ servicePublicKey }: Candidate, avoid: ReadonlySet<string> | undefined): number {
    if (avoid?.has(servicePublicKey)) return 3
    if (this.#instanceStats.of(servicePublicKey).ejection.isEjected) return 2
    return this.#pool.isSuspect(servicePublicKey) ? 1 : 0
  }

  #attempt<S extends Dialed>(
    candidate: Candidate,
    { purpose, signal, open, isAlone }: AttemptOptions<S>
  ): Promise<S> {
    const { key, load, ejection } = this.#instanceStats.of(candidate.servicePublicKey)
    const beganAt = performance.now()
    // How long it takes to make a link, or to find a stream that was kept, does not predict the next open.
    const isMeasured = !open && this.#isLinked(candidate)
    load.inFlight++
    ejection.begin()
    const opening = (open ?? (this.#open as unknown as Open<S>))(key, {
      purpose,
      timeout: this.#openTimeout,
      signal,
      // With no other candidate it is worth asking again over a new link, because a dead link may be all that is wrong.
      insist: isAlone
    })
    return opening.then(
      (stream) => {
        ejection.succeeded()
        if (isMeasured) load.measured(performance.now() - beganAt)
        whenUnused(stream, () => load.inFlight--)
        return stream
      },
      (error) => {
        load.inFlight--
        this.#judge(ejection, signal, performance.now() - beganAt)
        throw error
      }
    )
  }

  /**
   * Reports an attempt that did not succeed to the instance's ejection. That our client hung up says nothing. To be
   * overtaken counts as a failure only after the time in which instances are to answer.
   */
  #judge(ejection: DialedInstance['ejection'], { aborted, reason }: Signal, took: number) {
    if (!aborted) return ejection.failed()
    if (reason === OVERTAKEN) this.stats.overtaken++
    if (reason === OVERTAKEN && took >= this.#hedgeAfter) ejection.failed()
    else ejection.abandoned()
  }

  /**
   * Waits a little for instances that were not tried. An instance that is leaving may have been replaced by one that
   * the directory has not heard of yet.
   */
  #successorsOf(
    failures: Failure[],
    { avoid, purpose, signal, only }: Pick<DialOptions, 'avoid' | 'purpose' | 'signal' | 'only'>
  ): Promise<Candidate[]> {
    const tried = new Set(failures.map(({ candidate }) => candidate.servicePublicKey))
    return new Promise((resolve, reject) => {
      const find = () =>
        this.#order({ avoid, purpose, only }).filter((one) => !tried.has(one.servicePublicKey))
      const settle = () => {
        clearTimeout(timer)
        stop?.()
        signal?.removeEventListener('abort', onabort)
        resolve(find())
      }
      const onabort = () => {
        reject(signal?.reason)
        settle()
      }
      const timer = setTimeout(settle, SUCCESSION_MS)
      const stop = this.#watch?.(() => find().length > 0 && settle())
      signal?.addEventListener('abort', onabort, { once: true })
      if (!stop || find().length > 0) settle()
    })
  }

  readonly #open: Open<LinkStream> = (key, options) => this.#pool.open(key, options)

  #isLinked({ servicePublicKey }: Candidate): boolean {
    return this.#pool.pathOf?.(servicePublicKey) !== null
  }

  #noInstance(failures: Failure[], purpose: string = BYTES): SeaportError {
    if (failures.length === 0) {
      return SeaportError.NO_INSTANCE(
        this.#resolve().length === 0
          ? `nobody serves ${this.#role} now`
          : `no instance of ${this.#role} ${purpose === BYTES ? 'has a backend' : `speaks ${purpose}`}`
      )
    }
    const each = failures.map(
      ({ candidate, error }) =>
        `${candidate.role}@${candidate.version} ${candidate.servicePublicKey.slice(0, 8)}… ${error.message}`
    )
    return SeaportError.NO_INSTANCE(
      `no instance of ${this.#role} could be reached: ${each.join('; ')}`,
      failures.at(-1)?.error
    )
  }
}

function isSpeaking({ speaks }: Candidate, purpose: string): boolean {
  return speaks === undefined ? purpose === BYTES : speaks.includes(purpose)
}

function areLeaving(failures: Failure[]): boolean {
  return failures.length > 0 && failures.every(({ error }) => error.code === 'REFUSED')
}

/** Calls back once, when a stream is closed, or given back for the next one to use (as HTTP agents do). */
function whenUnused(stream: Dialed, callback: () => void) {
  if (stream instanceof LinkStream) return stream.whenClosed(callback)
  if ('whenUnused' in stream) return stream.whenUnused(callback)
  const onunused = () => {
    stream.off('close', onunused)
    stream.off('free', onunused)
    callback()
  }
  stream.on('close', onunused)
  stream.on('free', onunused)
}
