import type { Duplex } from 'node:stream'
import { type Balanced, type Balancer, roundRobin } from './balancer.js'
import { SeaportError } from './errors.js'
import type { LinkPool } from './link/pool.js'

/** An instance that may be dialed. */
export interface Candidate extends Balanced {
  /** Hex. */
  servicePublicKey: string
  role: string
  version: string
}

export interface DialerOptions {
  /** What is dialed, `role@range`, as it is called in errors. */
  role: string
  /** The instances that match now, the best first. Must be quick: it is asked for every dial. */
  resolve: () => readonly Candidate[]
  pool: Pick<LinkPool, 'open' | 'isSuspect'>
  balancer?: Balancer
  /** How long an instance may take to answer, in ms. */
  openTimeout?: number
  /** How long one dial goes on to further instances, in ms. Each attempt is bounded by itself. */
  dialTimeout?: number
}

export interface DialOptions {
  /** Ends the dial, and whatever attempt is under way. */
  signal?: AbortSignal
  /** Instances to try only when no other is left, by key in hex. */
  avoid?: ReadonlySet<string>
  /** Opens the stream to the instance whose turn it is. Default: the pool does. */
  open?: LinkPool['open']
}

/** What became of one attempt. */
interface Failure {
  candidate: Candidate
  error: SeaportError
}

/** Long enough to find two unreachable keys on the DHT, and go on. */
const DIAL_TIMEOUT_MS = 10_000

/**
 * Turns `role@range` into an open stream: asks the directory, lets the balancer order what it knows,
 * and tries one instance after the other until one is connected. None is tried twice in one dial.
 */
export class Dialer {
  readonly stats = {
    /** Streams that were connected. */
    dialed: 0,
    /** Attempts that failed, of dials that went on to another instance or gave up. */
    failedAttempts: 0,
    /** Dials that found no instance. */
    failed: 0
  }

  readonly #role: string
  readonly #resolve: DialerOptions['resolve']
  readonly #pool: DialerOptions['pool']
  readonly #balancer: Balancer
  readonly #openTimeout: number | undefined
  readonly #dialTimeout: number
  #dials = 0

  constructor({
    role,
    resolve,
    pool,
    balancer = roundRobin,
    openTimeout,
    dialTimeout = DIAL_TIMEOUT_MS
  }: DialerOptions) {
    this.#role = role
    this.#resolve = resolve
    this.#pool = pool
    this.#balancer = balancer
    this.#openTimeout = openTimeout
    this.#dialTimeout = dialTimeout
  }

  /**
   * Opens a stream to an instance.
   *
   * @throws NO_INSTANCE, which says what became of each, or the signal's reason
   */
  async dial({ signal, avoid, open }: DialOptions = {}): Promise<Duplex> {
    const deadline = performance.now() + this.#dialTimeout
    const failures: Failure[] = []
    for (const candidate of this.#order(avoid)) {
      signal?.throwIfAborted()
      if (failures.length > 0 && performance.now() > deadline) break
      try {
        const stream = await this.#attempt(candidate, signal, open)
        this.stats.dialed++
        return stream
      } catch (error) {
        signal?.throwIfAborted()
        this.stats.failedAttempts++
        failures.push({ candidate, error: error as SeaportError })
      }
    }
    this.stats.failed++
    throw this.#noInstance(failures)
  }

  /** The balancer's order, except that those whose link has fallen silent, or to avoid, come last. */
  #order(avoid: ReadonlySet<string> | undefined): Candidate[] {
    const ordered = this.#balancer(this.#resolve(), this.#dials++)
    const isLast = ({ servicePublicKey }: Candidate) =>
      avoid?.has(servicePublicKey) || this.#pool.isSuspect(Buffer.from(servicePublicKey, 'hex'))
    return [...ordered.filter((candidate) => !isLast(candidate)), ...ordered.filter(isLast)]
  }

  #attempt(
    { servicePublicKey }: Candidate,
    signal: AbortSignal | undefined,
    open: LinkPool['open'] = (key, options) => this.#pool.open(key, options)
  ): Promise<Duplex> {
    return open(Buffer.from(servicePublicKey, 'hex'), {
      timeout: this.#openTimeout,
      signal
    })
  }

  #noInstance(failures: Failure[]): SeaportError {
    if (failures.length === 0) return SeaportError.NO_INSTANCE(`nobody serves ${this.#role} now`)
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
