import { EventEmitter } from 'node:events'
import { request } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import { leave } from './leave.js'

/** How a service checks its backend. */
export type Check = { kind: 'tcp' } | { kind: 'http'; path: string } | { kind: 'none' }

/** The health of a backend, as the service's record states it. */
export type Health = 'passing' | 'failing'

export interface CheckOptions {
  /**
   * How to check the backend: `tcp` (it has to take connections), `http:/path` (it has to answer with 2xx or 3xx) or
   * `none`. An instance that fails is listed as failing and tried last. Default: `tcp`.
   */
  check?: string | undefined
  /** The Host field of `http:/path` checks, for a backend that serves several hosts. Default: `localhost`. */
  checkHost?: string | undefined
  /** Between two checks, in ms. */
  checkInterval?: number | undefined
  /** Failed checks in a row until a passing backend counts as failing. */
  checkFailures?: number | undefined
  /** Passed checks in a row until a failing backend counts as passing. */
  checkPasses?: number | undefined
}

export interface HealthCheckOptions extends CheckOptions {
  /** Connects to the backend in the same way as for a consumer's stream. */
  connect: (options: { signal: Signal }) => Promise<Duplex>
}

interface HealthEvents {
  /** The health has changed; `reason` says what is wrong if it is failing now. */
  change: [health: Health, reason: SeaportError | null]
}

const CHECK = 'tcp'
const CHECK_HOST = 'localhost'
/** A name or an address, with or without a port. */
const HOST = /^([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?$/i
const INTERVAL_MS = 5000
/** Checks that are rarer are of no use. */
const MAX_INTERVAL_MS = 600_000
const FAILURES = 2
const PASSES = 2
/**
 * `CONFIRM_AFTER` is the part of the interval after which a check that contradicts the known health is repeated. The
 * constant below it is the part that one check may take. So even if every check hangs until its timeout, the default
 * thresholds are reached within two intervals.
 */
const CONFIRM_AFTER = 1 / 10
const CHECK_TIMEOUT = 2 / 5
const MAX_CHECK_TIMEOUT_MS = 5000
/** The statuses of a web server that is well: 2xx, and redirections. */
const HTTP_OK = /^[23]/

/**
 * Reads `tcp`, `http:/path` or `none`.
 *
 * @throws USAGE
 */
export function parseCheck(text: string): Check {
  if (text === 'tcp' || text === 'none') return { kind: text }
  const path = /^http:(\/(?!\/)[\x21-\x7e]*)$/.exec(text)?.[1]
  if (path !== undefined) return { kind: 'http', path }
  throw SeaportError.USAGE(
    `a check is tcp, http:/path (as in http:/health) or none, not ${JSON.stringify(text)}`
  )
}

/** @throws USAGE */
function parseCheckHost(text: string | undefined, { kind }: Check): string {
  if (text === undefined) return CHECK_HOST
  if (kind !== 'http') {
    throw SeaportError.USAGE('a check has a host only if it is http:/path (as in http:/health)')
  }
  if (HOST.test(text)) return text
  throw SeaportError.USAGE(
    `the host of a check is a name, as in api.example.com, not ${JSON.stringify(text)}`
  )
}

/**
 * Checks a backend at intervals. A result that contradicts what is known changes nothing until another check, made
 * soon after, has confirmed it.
 */
export class HealthCheck extends EventEmitter<HealthEvents> {
  readonly stats = { checks: 0, failures: 0 }

  readonly #check: Check
  readonly #host: string
  readonly #connect: HealthCheckOptions['connect']
  readonly #interval: number
  readonly #thresholds: Record<Health, number>
  #health: Health = 'passing'
  /** How many outcomes in a row have contradicted the known health. */
  #contradictions = 0
  #run: AbortController | null = null
  #timer: NodeJS.Timeout | undefined
  #isChecking = false

  /** @throws USAGE */
  constructor({
    connect,
    check = CHECK,
    checkHost,
    checkInterval = INTERVAL_MS,
    checkFailures = FAILURES,
    checkPasses = PASSES
  }: HealthCheckOptions) {
    super()
    if (!(checkInterval > 0 && checkInterval <= MAX_INTERVAL_MS)) {
      throw SeaportError.USAGE(
        `checks are at most ${MAX_INTERVAL_MS / 1000} s apart, not ${checkInterval / 1000} s`
      )
    }
    this.#check = parseCheck(check)
    this.#host = parseCheckHost(checkHost, this.#check)
    this.#connect = connect
    this.#interval = checkInterval
    this.#thresholds = { passing: checkFailures, failing: checkPasses }
  }

  get health(): Health {
    return this.#health
  }

  /** Begins, and resolves with what the first check found. */
  async start(): Promise<{ health: Health; reason: SeaportError | null }> {
    this.stop()
    this.#run = new AbortController()
    if (this.#check.kind === 'none') return { health: this.#health, reason: null }
    const { signal } = this.#run
    const reason = await this.#look(signal)
    this.#health = reason ? 'failing' : 'passing'
    this.#contradictions = 0
    if (!signal.aborted) this.#lookAfter(this.#interval)
    return { health: this.#health, reason }
  }

  stop() {
    clearTimeout(this.#timer)
    this.#run?.abort(SeaportError.CLOSED('the check was stopped'))
    this.#run = null
  }

  /** A stream was refused by the backend. The next check is made at once, to find out why. */
  suspect() {
    if (this.#health === 'passing') this.recheck()
  }

  /** The next check is made at once. */
  recheck() {
    if (this.#contradictions === 0 && !this.#isChecking) this.#lookAfter(0)
  }

  #lookAfter(delay: number) {
    const signal = this.#run?.signal
    if (!signal || this.#check.kind === 'none') return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(async () => {
      const reason = await this.#look(signal)
      if (!signal.aborted) this.#take(reason)
    }, delay)
  }

  #take(reason: SeaportError | null) {
    const found: Health = reason ? 'failing' : 'passing'
    this.#contradictions = found === this.#health ? 0 : this.#contradictions + 1
    const isUnconfirmed =
      this.#contradictions > 0 && this.#contradictions < this.#thresholds[this.#health]
    const isChanged = this.#contradictions > 0 && !isUnconfirmed
    if (isChanged) {
      this.#health = found
      this.#contradictions = 0
    }
    this.#lookAfter(isUnconfirmed ? this.#interval * CONFIRM_AFTER : this.#interval)
    if (isChanged) this.emit('change', found, reason)
  }

  /** Checks the backend once. Resolves with what is wrong, or null. Never rejects. */
  async #look(stop: AbortSignal): Promise<SeaportError | null> {
    const timeout = Math.min(this.#interval * CHECK_TIMEOUT, MAX_CHECK_TIMEOUT_MS)
    const late = SeaportError.CHECK_FAILED(`the backend did not answer within ${timeout} ms`)
    const limit = new AbortController()
    const timer = setTimeout(() => limit.abort(late), timeout)
    const signal = AbortSignal.any([stop, limit.signal])
    this.#isChecking = true
    this.stats.checks++
    try {
      await this.#ask(signal)
      return null
    } catch (error) {
      this.stats.failures++
      return signal.aborted ? (signal.reason as SeaportError) : failed(error)
    } finally {
      this.#isChecking = false
      clearTimeout(timer)
    }
  }

  async #ask(signal: AbortSignal) {
    const stream = await this.#connect({ signal })
    stream.on('error', () => {})
    try {
      if (this.#check.kind === 'http') {
        await get({ path: this.#check.path, host: this.#host }, stream, signal)
      }
    } finally {
      leave(stream)
    }
  }
}

/** Requests a path, and looks at nothing but the status of the answer. */
function get(
  { path, host }: { path: string; host: string },
  stream: Duplex,
  signal: AbortSignal
): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { host, connection: 'close', 'user-agent': 'hyperseaport-check' }
    const ask = request({ path, headers, signal, createConnection: () => stream })
    ask.on('error', reject)
    ask.on('response', (response) => {
      response.on('error', () => {}).resume()
      if (HTTP_OK.test(`${response.statusCode}`)) resolve()
      else reject(SeaportError.CHECK_FAILED(`GET ${path} was answered with ${response.statusCode}`))
    })
    ask.end()
  })
}

function failed(error: unknown): SeaportError {
  if (error instanceof SeaportError) return error
  return SeaportError.CHECK_FAILED(
    `the backend's answer is not HTTP (${(error as Error)?.message})`,
    error
  )
}
