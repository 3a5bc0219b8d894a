import { randomBytes } from 'node:crypto'
import type { Body } from './body.js'
import { TOKEN_BYTES } from './frames.js'

interface Parked {
  peer: string
  body: Body
  timer: NodeJS.Timeout
}

const MAX_BYTES = 256 * 1024 * 1024
const KEPT_MS = 10_000

/** Keeps answers that are too large for a conversation until the caller fetches them on a stream of their own. */
export class ParkedAnswers {
  readonly #parked = new Map<string, Parked>()
  #bytes = 0

  /** @returns the token to fetch it with, or null if there is no room */
  park(peer: string, body: Body): Buffer | null {
    const { byteLength } = body.bytes
    if (this.#bytes + byteLength > MAX_BYTES) return null
    const token = randomBytes(TOKEN_BYTES)
    const name = token.toString('hex')
    const timer = setTimeout(() => this.#remove(name), KEPT_MS)
    this.#bytes += byteLength
    this.#parked.set(name, { peer, body, timer })
    return token
  }

  /** Gives an answer to the peer that it is for, once. */
  take(peer: string, token: Buffer): Body | null {
    const name = token.toString('hex')
    const parked = this.#parked.get(name)
    if (parked?.peer !== peer) return null
    this.#remove(name)
    return parked.body
  }

  close() {
    for (const name of [...this.#parked.keys()]) this.#remove(name)
  }

  #remove(name: string) {
    const parked = this.#parked.get(name)
    if (!parked) return
    clearTimeout(parked.timer)
    this.#bytes -= parked.body.bytes.byteLength
    this.#parked.delete(name)
  }
}
