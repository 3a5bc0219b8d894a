import { setTimeout as sleep } from 'node:timers/promises'
import type { SeaportError } from '../../core/errors.js'
import { MAIL } from '../../core/purpose.js'
import type { LinkPool } from '../../link/pool.js'
import type { LinkStream } from '../../link/stream.js'
import type { Directory } from '../../registry/replica/directory.js'
import { type Forwarder, HOPS } from './forwarder.js'
import { sendLetter, type TakeLetter } from './mail-stream.js'
import type { Receipt } from './receipt.js'
import { Recent } from './recent.js'

/** How long a link to the receiver may take, in ms. Random hole punching may need that long. */
const LINK_TIMEOUT_MS = 10_000
/** How long a link is waited for before other ways are tried, in ms. */
const LINK_HEAD_START_MS = 1000
/** How long letters to a receiver go by way of others at once after a link was of no use, in ms. */
const DETOUR_MS = 60_000
/** Codes by which the receiver itself refuses letters. Any other way would end with the same. */
const FINAL = ['REFUSED', 'NOT_GRANTED', 'NOT_ALLOWED', 'CLOSED']

export interface DeliveryOptions {
  /** Our own key, hex. */
  key: string
  pool: LinkPool
  forwarder: Forwarder
  directory: Directory
  /** Whether letters go over links at all. */
  links?: boolean | undefined
  hops?: number | undefined
  signal: AbortSignal
  /** Takes a letter to ourselves. */
  take: TakeLetter
}

/** Brings a letter to its receiver, over a link or by way of others. */
export class Delivery {
  readonly #options: DeliveryOptions
  /** Receivers to which a link was of no use. */
  readonly #detours = new Recent<true>({ max: 10_000, ttl: DETOUR_MS })

  constructor(options: DeliveryOptions) {
    this.#options = options
  }

  /**
   * Delivers a letter: over a link if there is one within a second, else by way of others, and else over a link that
   * comes later.
   *
   * @param to the receiver's key, hex
   * @param onreceipt called with a receipt that comes later, whose signature is not checked yet
   * @returns the receipt; null if there is none yet
   * @throws LINK_LOST, OPEN_TIMEOUT, and what the receiver refuses the letter with
   */
  async deliver(
    to: string,
    letter: Buffer,
    onreceipt: (receipt: Receipt) => void
  ): Promise<Receipt | null> {
    const { key, directory, forwarder, links = true, pool, take } = this.#options
    if (to === key) {
      return take(letter, (receipt) => {
        onreceipt(receipt)
        return true
      })
    }
    if (!links) return this.#byOthers(to, letter)
    // A receiver without a record takes no links, but a way to it may have been heard of a moment ago.
    const isOnlyHeardOf = directory.get(to) === null && forwarder.knowsWayTo(to)
    const isDetour = (this.#detours.get(to) || isOnlyHeardOf) && pool.pathOf(to) === null
    if (isDetour) {
      const isTaken = await this.#byOthers(to, letter).then(
        () => true,
        () => false
      )
      if (isTaken) return null
    }
    const linking = this.open(to, MAIL)
    const first = await Promise.race([
      linking.catch((error: SeaportError) => {
        if (FINAL.includes(error.code)) throw error
        return null
      }),
      sleep(LINK_HEAD_START_MS, null, { ref: false })
    ])
    if (first) return sendLetter(first, letter, { onreceipt })
    try {
      await this.#byOthers(to, letter)
    } catch {
      return sendLetter(await linking, letter, { onreceipt })
    }
    // The letter was delivered by way of others, so the link is not needed.
    linking.then(
      (stream) => stream.destroy(),
      () => {}
    )
    return null
  }

  /** Opens a stream to a key over a link. */
  open(to: string, purpose: string): Promise<LinkStream> {
    const { pool, signal } = this.#options
    return pool.open(Buffer.from(to, 'hex'), {
      purpose,
      signal: AbortSignal.any([signal, AbortSignal.timeout(LINK_TIMEOUT_MS)]),
      insist: true
    })
  }

  /** @throws LINK_LOST if there is no way */
  async #byOthers(to: string, letter: Buffer): Promise<null> {
    const { forwarder, hops = HOPS } = this.#options
    await forwarder.send(letter, hops)
    this.#detours.set(to, true)
    return null
  }
}
