import { setTimeout as sleep } from 'node:timers/promises'
import { SeaportError } from '../../core/errors.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import type { LinkStream } from '../../link/stream.js'
import type { CallContext } from '../call-context.js'
import { Commands } from '../commands.js'
import { ParkedAnswers } from '../parked-answers.js'
import { Responder } from '../responder.js'
import { Passed } from '../run.js'
import type { State } from './state.js'
import {
  ANY_WHO_MAY_SERVE,
  type Claim,
  MAX_SNAPSHOT_BYTES,
  parseClaim,
  parseHead,
  parseSuccession,
  type Scope,
  signClaim,
  verifyClaim,
  verifyHead
} from './statements.js'
import { MAX_LOST_NAMES } from './take-over.js'

export interface HandOverOptions {
  scope: Scope
  state: State
  keyPair: KeyPair
  /** Whether a private registry lets a key serve this role at a version. */
  mayServe: (key: string, version: string) => boolean
  /** Whether a live registrar shows a record of a key; null if there is no live registrar. */
  isRegistered: (key: string) => boolean | null
  /** Called with the key, in hex, of the instance that goes on with the state. */
  onmoved: (key: string) => void
  onnotice: (notice: SeaportError) => void
  /** How long writes wait before they are refused, and after what time an unfinished hand-over is taken back, in ms. */
  writeWait?: number | undefined
  takeBackAfter?: number | undefined
}

const WRITE_WAIT_MS = 1000
const TAKE_BACK_AFTER_MS = 10_000
const RETRY_MS = 1000
/** How often to look for the record of a newcomer that says that it is registered, in ms. */
const SEEN_INTERVAL_MS = 50
/** How many streams newcomers may have at a time. */
const MAX_STREAMS = 8
const IDLE_MS = 30_000

interface Current {
  peer: string
  /** Our word that the newcomer goes on; null before that. Nothing is written here once it is given. */
  over: Claim | null
  isTaken: boolean
  /** Settles when it has left, or the state was taken back, after the newcomer has said that it is registered. */
  ending?: Promise<void>
}

/**
 * The running side of a hot swap. It gives a newcomer its state, stops writing, and is told when the newcomer is
 * registered. Until then it may take the state back. Each question may be repeated on another stream, so a lost link
 * costs nothing.
 */
export class HandOver {
  readonly #options: HandOverOptions
  readonly #commands = new Commands({ onfirst: () => {} })
  readonly #parked = new ParkedAnswers()
  readonly #streams = new Map<LinkStream, string>()
  #current: Current | null = null
  /** The key, in hex, of a newcomer from which the state was taken back. It may still try to go on. */
  #takenBackFrom: string | null = null
  #writeTimer: NodeJS.Timeout | null = null
  #takeBackTimer: NodeJS.Timeout | null = null
  readonly #closing = new AbortController()

  constructor(options: HandOverOptions) {
    this.#options = options
    this.#commands
      .handle('takeover', (data, context) => this.#passing(() => this.#begin(data, context)))
      .handle('ready', (data, context) => this.#passing(() => this.#over(data, context)))
      .handle('taken', (_data, context) => this.#passing(() => this.#taken(context)))
      .handle('yield', (data, context) => this.#passing(() => this.#yield(data, context)))
  }

  /** Takes a stream of a newcomer that has proven its key. */
  take(stream: LinkStream, key: Buffer) {
    if (this.#streams.size >= MAX_STREAMS && !this.#displace()) {
      return stream.destroy(SeaportError.LIMIT_REACHED('it is being taken over already'))
    }
    const peer = toHex(key)
    this.#streams.set(stream, peer)
    const timer = setTimeout(
      () => stream.destroy(SeaportError.DEADLINE('the hand-over took too long')),
      IDLE_MS
    )
    new Responder(stream, {
      peer,
      commands: this.#commands,
      denialOf: () => null,
      parked: this.#parked,
      maxFrame: MAX_SNAPSHOT_BYTES,
      onemit: () => {},
      onclose: () => {
        clearTimeout(timer)
        this.#streams.delete(stream)
        this.#onlost(peer)
      }
    })
  }

  close() {
    if (this.#writeTimer) clearTimeout(this.#writeTimer)
    if (this.#takeBackTimer) clearTimeout(this.#takeBackTimer)
    this.#closing.abort()
    this.#parked.close()
    for (const stream of this.#streams.keys()) {
      stream.destroy(SeaportError.CLOSED('the service was destroyed'))
    }
  }

  /**
   * Ends the oldest stream that is not of the present newcomer, so that strangers who only hold streams keep nobody
   * out.
   */
  #displace(): boolean {
    for (const [stream, peer] of this.#streams) {
      if (peer === this.#current?.peer) continue
      stream.destroy(SeaportError.LIMIT_REACHED('others want to take over as well'))
      return true
    }
    return false
  }

  /** Runs a step so that its errors reach the newcomer with their own codes. */
  async #passing<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act()
    } catch (error) {
      if (error instanceof SeaportError)
        throw new Passed(error.withExecuted(error.executed ?? 'no'))
      throw error
    }
  }

  async #begin(data: unknown, { peer }: CallContext) {
    const { claim, version } = (data ?? {}) as { [field: string]: unknown }
    this.#check(peer, claim ? parseClaim(claim) : null, String(version))
    const current = this.#current
    if (current && current.peer !== peer) {
      throw SeaportError.BUSY(`${current.peer} is taking over already`)
    }
    if (!current) this.#options.state.track()
    if (this.#takenBackFrom === peer) this.#takenBackFrom = null
    this.#current ??= { peer, over: null, isTaken: false }
    return this.#options.state.snapshot()
  }

  async #over(data: unknown, { peer }: CallContext) {
    const { scope, state, keyPair, writeWait = WRITE_WAIT_MS } = this.#options
    const current = this.#currentOf(peer)
    const { rev } = (data ?? {}) as { rev?: unknown }
    if (!Number.isSafeInteger(rev)) throw SeaportError.BAD_INPUT('a newcomer says its revision')
    if (!current.over) {
      // It is noted before anything is awaited, so that a newcomer that is lost meanwhile is not forgotten, and neither is
      // that writes wait.
      current.over = signClaim(scope, { key: peer, from: toHex(keyPair.publicKey) }, keyPair)
      this.#writeTimer = setTimeout(
        () => state.refuse(SeaportError.REFUSED('the state is being handed over')),
        writeWait
      )
      this.#takeBackLater(this.#options.takeBackAfter ?? TAKE_BACK_AFTER_MS)
    }
    await state.pause()
    return state.changesSince(rev as number, current.over)
  }

  async #taken({ peer }: CallContext) {
    this.#checkNotTakenBack(peer)
    const current = this.#currentOf(peer)
    if (!current.over) throw SeaportError.BAD_INPUT('nothing was handed over yet')
    current.ending ??= this.#endWhenSeen(current)
    await current.ending
    this.#checkNotTakenBack(peer)
    return null
  }

  /** Ends it once the record of the newcomer is seen, which may be a moment after its word. Without a record it may lie. */
  async #endWhenSeen(current: Current) {
    while (this.#options.isRegistered(current.peer) === false) {
      await sleep(SEEN_INTERVAL_MS, undefined, { signal: this.#closing.signal })
      if (this.#current !== current) return
    }
    await this.#end(current)
  }

  /**
   * Yields to an instance that went on with our state while we were silent, if its term is later.
   *
   * @returns the names that we wrote meanwhile and it does not have
   */
  async #yield(data: unknown, { peer }: CallContext): Promise<{ lost: string[] }> {
    const { scope, state, keyPair, onnotice } = this.#options
    const { version, ...fields } = (data ?? {}) as { [field: string]: unknown }
    const [head, succession] = [parseHead(fields.head), parseSuccession(fields.succession)]
    this.#checkNotTakenBack(peer)
    const own = toHex(keyPair.publicKey)
    const ours = state.head
    const { former, claim } = succession ?? {}
    if (!former || head.owner !== peer || former.owner !== own || head.term <= former.term) {
      throw SeaportError.BAD_INPUT('this is no succession to our state')
    }
    // It did not go on with our present state, which is from a later term or was handed over before.
    if (!ours || ours.term > former.term || this.#current?.isTaken) return { lost: [] }
    verifyHead(scope, head)
    verifyHead(scope, former)
    if (claim?.signer === own && claim.key === peer && claim.from === own) verifyClaim(scope, claim)
    else this.#check(peer, claim ?? null, String(version))
    const current = this.#current?.peer === peer ? this.#current : null
    this.#current = current ?? { peer, over: null, isTaken: false }
    await this.#end(this.#current)
    const lost = state.changedSince(former.rev)
    if (lost.length > 0) {
      onnotice(
        SeaportError.CONFLICT(
          `${peer} goes on with this state as it was at revision ${former.rev}, and has not what was written here since: ${lost.slice(0, MAX_LOST_NAMES).join(', ')}`
        )
      )
    }
    return { lost: lost.slice(0, MAX_LOST_NAMES) }
  }

  /** @throws CONFLICT */
  #checkNotTakenBack(peer: string) {
    if (this.#takenBackFrom !== peer) return
    throw SeaportError.CONFLICT(
      'what was handed over was taken back meanwhile, as it came too late: take over again'
    )
  }

  #currentOf(peer: string): Current {
    const current = this.#current
    if (current?.peer === peer) return current
    throw SeaportError.BAD_INPUT('ask for the state first')
  }

  /** @throws NOT_ALLOWED */
  #check(peer: string, claim: Claim | null, version: string) {
    const { scope, state, keyPair, mayServe } = this.#options
    const { successors } = state
    if (successors.includes(peer)) return
    if (successors.includes(ANY_WHO_MAY_SERVE) && mayServe(peer, version)) return
    const isOurs = claim?.key === peer && claim.from === toHex(keyPair.publicKey)
    if (claim && isOurs && successors.includes(claim.signer)) return verifyClaim(scope, claim)
    throw SeaportError.NOT_ALLOWED(
      `the running instance does not name ${peer} as its successor: start it with successors, or take over with the same process key`
    )
  }

  async #end(current: Current) {
    if (current.isTaken) return
    current.isTaken = true
    if (this.#writeTimer) clearTimeout(this.#writeTimer)
    if (this.#takeBackTimer) clearTimeout(this.#takeBackTimer)
    const { state, onmoved, onnotice } = this.#options
    await state.handedOver(current.peer).catch(onnotice)
    onmoved(current.peer)
  }

  #onlost(peer: string) {
    const current = this.#current
    if (!current || current.over || current.isTaken || current.peer !== peer) return
    if ([...this.#streams.values()].includes(peer)) return
    this.#options.state.untrack()
    this.#current = null
  }

  #takeBackLater(after: number) {
    this.#takeBackTimer = setTimeout(() => void this.#takeBack(), after)
  }

  /** Never rejects. */
  async #takeBack() {
    const { state, isRegistered, onnotice } = this.#options
    const current = this.#current
    if (!current || current.isTaken) return
    const isThere = isRegistered(current.peer)
    if (isThere === true) return this.#end(current)
    // Without a live registrar nobody can tell whether the newcomer goes on.
    if (isThere === null) return this.#takeBackLater(RETRY_MS)
    try {
      if (this.#writeTimer) clearTimeout(this.#writeTimer)
      await state.takeBack()
      this.#current = null
      this.#takenBackFrom = current.peer
      onnotice(
        SeaportError.CONFLICT(
          `${current.peer} did not take over what it was given; it is taken back`
        )
      )
    } catch (error) {
      onnotice(error as SeaportError)
      this.#takeBackLater(RETRY_MS)
    }
  }
}
