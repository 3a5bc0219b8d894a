import { SeaportError } from '../../core/errors.js'
import type { Address, SecretStream } from '../../core/holepunch.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import { Race } from '../../core/race.js'
import { type DirectReach, dialableAddresses } from './address.js'
import { type ConnectDirectOptions, connectDirect } from './handshake.js'

export interface DirectConnectorOptions {
  /** The consumer's identity. Asked for with each connection. */
  keyPair: () => KeyPair
  /** Where a service says that it listens, as `host:port`. Must be quick. */
  addressesOf: (remotePublicKey: Buffer) => readonly string[]
  /** Which of these may be connected to. */
  reach?: DirectReach | undefined
  /** For each address, in ms. */
  timeout?: number
  /** How long an address has to answer before the next is tried too, in ms. */
  stagger?: number
  /** How long an address that failed is left alone, in ms, by how often it failed in a row. */
  backoffs?: number[]
  now?: () => number
  random?: () => number
}

/** A connection that was made, and how long that took in ms. */
export interface DirectConnection {
  connection: SecretStream
  rtt: number
}

const TIMEOUT_MS = 2000
/** Enough for a handshake on a LAN. RFC 8305 has 250 ms, but also resolves names. */
const STAGGER_MS = 50
const BACKOFFS_MS = [1000, 5000, 15_000, 60_000]
const BACKOFF_JITTER = 0.25
/** A connection that lasted this long, in ms, shows that its address is right. */
const SOUND_AFTER_MS = 60_000
/** Addresses that failed; the oldest are forgotten. */
const MAX_REMEMBERED = 4096

interface Failure {
  times: number
  /** When to try again. */
  until: number
}

/**
 * Connects to services by TCP, at the addresses of their records. One that failed is left alone for a
 * while, and so is one whose connection broke soon.
 */
export class DirectConnector {
  readonly #options: DirectConnectorOptions
  readonly #backoffs: number[]
  readonly #now: () => number
  readonly #random: () => number
  /** By service and address: what answers at an address may be somebody else. */
  readonly #failures = new Map<string, Failure>()

  constructor(options: DirectConnectorOptions) {
    this.#options = options
    this.#backoffs = options.backoffs ?? BACKOFFS_MS
    this.#now = options.now ?? (() => performance.now())
    this.#random = options.random ?? Math.random
  }

  /** Whether there is an address that is worth a try now. */
  isDue(remotePublicKey: Buffer): boolean {
    return this.#due(remotePublicKey).length > 0
  }

  /**
   * Connects to a service, at the first address where it answers.
   *
   * @throws LINK_LOST, which says what became of each, or the signal's reason
   */
  async connect(remotePublicKey: Buffer, signal: AbortSignal): Promise<DirectConnection> {
    const { stagger = STAGGER_MS, timeout = TIMEOUT_MS } = this.#options
    const keyPair = this.#options.keyPair()
    const candidates = this.#due(remotePublicKey)
    const failures: string[] = []
    const race = new Race<Address, DirectConnection>({
      candidates,
      attempt: (address, signal) =>
        this.#connect(address, { remotePublicKey, keyPair, timeout, signal }),
      stagger,
      signal,
      onfailed: (_address, { text }) => failures.push(text),
      onlate: ({ connection }) => connection.destroy()
    })
    const winner = await race.run()
    if (winner) return winner
    const why = candidates.length === 0 ? 'no address is worth a try now' : failures.join('; ')
    throw SeaportError.LINK_LOST(`no direct path: ${why}`)
  }

  async #connect(address: Address, options: ConnectDirectOptions): Promise<DirectConnection> {
    const id = idOf(options.remotePublicKey, address)
    const startedAt = this.#now()
    const connection = await connectDirect(address, options).catch((error) => {
      if (!options.signal.aborted) this.#remember(id)
      throw error
    })
    const connectedAt = this.#now()
    connection.once('close', () => this.#onclose(id, this.#now() - connectedAt))
    return { connection, rtt: connectedAt - startedAt }
  }

  #due(remotePublicKey: Buffer): Address[] {
    const { addressesOf, reach = 'any' } = this.#options
    const addresses = addressesOf(remotePublicKey)
    if (addresses.length === 0) return []
    return dialableAddresses(reach, addresses).filter((address) => {
      const failure = this.#failures.get(idOf(remotePublicKey, address))
      return !failure || failure.until <= this.#now()
    })
  }

  #onclose(id: string, lifetime: number) {
    if (lifetime >= SOUND_AFTER_MS) this.#failures.delete(id)
    else this.#remember(id)
  }

  #remember(id: string) {
    const times = this.#failures.get(id)?.times ?? 0
    const backoff = this.#backoffs[Math.min(times, this.#backoffs.length - 1)] ?? 0
    const jitter = 1 + BACKOFF_JITTER * (this.#random() * 2 - 1)
    this.#failures.delete(id)
    this.#failures.set(id, { times: times + 1, until: this.#now() + backoff * jitter })
    for (const oldest of this.#failures.keys()) {
      if (this.#failures.size <= MAX_REMEMBERED) break
      this.#failures.delete(oldest)
    }
  }
}

function idOf(key: Buffer, { host, port }: Address): string {
  return `${toHex(key)} ${host}:${port}`
}
