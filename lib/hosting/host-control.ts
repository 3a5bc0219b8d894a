import { Consumer } from '../consumer.js'
import type { PortlessEntry } from '../consumer-entry.js'
import { SeaportError } from '../core/errors.js'
import type { KeyPair } from '../core/keys.js'
import { MAX_TIMEOUT_MS } from '../messaging/limits.js'
import type { MemberOptions } from '../registry/replica/participant.js'
import { HOST_ROLE } from '../registry/trust/rights.js'
import type { HostAnswer } from './app-status.js'
import type { KnownHost } from './fleet.js'
import { isHostReport } from './host-commands.js'
import type { LogLines, LogTerms } from './log-lines.js'
import type { Release } from './release.js'
import { noHost, ofHost } from './spread-release.js'

export interface HostControlOptions extends Omit<MemberOptions, 'registryPublicKey'> {
  registryPublicKey: Buffer
  keyPair: KeyPair | undefined
  verb: string
  /** How long to look for hosts, in ms. */
  timeout: number
  /** The known hosts. */
  hosts: () => readonly KnownHost[]
}

const ANSWER_MS = 1000
const LOGS_MS = 10 * 60_000

/** Talks to the hosts of a registry, by the commands of their role. */
export class HostControl {
  readonly #options: HostControlOptions
  #opening: Promise<PortlessEntry> | null = null
  #consumer: { destroy(): Promise<void> } | null = null

  constructor(options: HostControlOptions) {
    this.#options = options
  }

  /** Asks a host for its report, and waits for a second. Never rejects. */
  async ask(host: KnownHost): Promise<HostAnswer> {
    try {
      const entry = await this.#open()
      const since = performance.now()
      const options = { instance: host.host, timeout: ANSWER_MS }
      const report: unknown = await entry.send('status', null, options)
      const latency = performance.now() - since
      return isHostReport(report)
        ? { host, report, latency }
        : { host, report: null, latency: null }
    } catch {
      return { host, report: null, latency: null }
    }
  }

  /**
   * Asks a host to fetch a release, from us or from others that have it. Only the signal ends it early.
   *
   * @throws the error of the host, or the signal's reason
   */
  async fetch(host: string, app: string, release: string, signal: AbortSignal): Promise<unknown> {
    const entry = await this.#open()
    const options = { instance: host, timeout: MAX_TIMEOUT_MS, signal }
    return entry.send('fetch', { app, release }, options)
  }

  /**
   * Fetches the document of a release from any host.
   *
   * @throws NO_INSTANCE
   */
  async release(app: string, hash: string): Promise<Release> {
    const entry = await this.#open()
    for (const { host } of this.#options.hosts()) {
      const options = { instance: host, timeout: ANSWER_MS }
      const asked = entry.send('release', { app, release: hash }, options)
      const release = (await asked.catch(() => null)) as Release | null
      if (release) return release
    }
    throw SeaportError.NO_INSTANCE(`no host that has the release of ${app} answers`)
  }

  /** Yields lines of the logs of an app, from all hosts. */
  async logs(
    app: string,
    terms: LogTerms
  ): Promise<{ name: string; items: AsyncGenerator<LogLines, void, void> }[]> {
    const entry = await this.#open()
    const options = terms.follow ? {} : { timeout: LOGS_MS }
    return this.#options.hosts().map(({ host, name }) => ({
      name,
      items: saidBy(entry.stream('logs', { app, ...terms }, { ...options, instance: host }))
    }))
  }

  async close() {
    await this.#consumer?.destroy()
  }

  /** @throws NO_INSTANCE, NOT_GRANTED */
  #open(): Promise<PortlessEntry> {
    this.#opening ??= this.#connect().catch((error) => {
      this.#opening = null
      throw error
    })
    return this.#opening
  }

  async #connect(): Promise<PortlessEntry> {
    const { hosts, ...options } = this.#options
    if (hosts().length === 0) throw noHost()
    const consumer = Consumer([`${HOST_ROLE}@*`], {
      ...options,
      listen: false,
      serve: false,
      versions: 'all'
    })
    this.#consumer = consumer
    const [entry] = await consumer.setup()
    return entry as PortlessEntry
  }
}

/** What a host yields, and the error that it has thrown itself. */
async function* saidBy(items: AsyncIterable<unknown>): AsyncGenerator<LogLines, void, void> {
  try {
    for await (const item of items) yield item as LogLines
  } catch (error) {
    throw ofHost(error as SeaportError)
  }
}
