import { setTimeout as sleep } from 'node:timers/promises'
import type { SeaportError } from '../../core/errors.js'
import { toHex } from '../../core/keys.js'
import { Journal, type JournalFile } from './journal.js'
import { Recovery } from './recovery.js'
import type { State } from './state.js'
import { overLine, readStored } from './stored.js'
import { claimBy, TakeOver, type TakeOverOptions } from './take-over.js'

/** A journal of another instance, which no running process holds. */
export interface OtherJournal extends JournalFile {
  /** Hex. */
  key: string
}

export interface NewcomerOptions extends TakeOverOptions {
  state: State
  /** The only instance to take over from, in hex; null for whichever runs, or ran. */
  only: string | null
  /** Instances of the role that are there, in hex. */
  running: () => readonly string[]
  /** Journals of others in our folder. Whoever takes one releases it. */
  journals: () => Iterable<OtherJournal>
  /** Whether a key is or was an instance of this role. */
  isKnown: (owner: string) => boolean
  onnotice: (notice: SeaportError) => void
  /** How long watchers have to offer what they have, in ms. */
  searchTime?: number | undefined
}

const SEARCH_MS = 2000
const UNLOCKED_WITHIN_MS = 500
const LOCK_INTERVAL_MS = 20

/** A newcomer that takes over from the running instance, or goes on with what one that died has left. */
export class Newcomer {
  readonly #options: NewcomerOptions
  readonly #recovery: Recovery
  #takeOver: TakeOver | null = null

  constructor(options: NewcomerOptions) {
    const { scope, only, isKnown, keyPair } = options
    this.#options = options
    const own = toHex(keyPair.publicKey)
    this.#recovery = new Recovery({
      scope,
      isKnown: (owner) =>
        only === null ? owner === own || isKnown(owner) : owner === only || owner === own,
      claimOf: (owner) => claimBy(options, owner)
    })
  }

  /**
   * Takes over from who runs. To be called when all is ready to be registered.
   *
   * @returns whether nothing was found, so that watchers are to be asked, by `search`
   * @throws NOT_ALLOWED, BUSY, REFUSED; STORAGE_FAILED, STORAGE_LOCKED
   */
  async prepare(): Promise<boolean> {
    const { state } = this.#options
    const hadOwn = state.size > 0
    const hasDied = await this.#fromJournals()
    if (!hasDied && (await this.#fromRunning())) return false
    const { best } = this.#recovery
    if (hasDied && best) {
      await state.adopt(best)
      await this.#noteOver(best.head.owner)
      return false
    }
    if (hadOwn && !best) return false
    state.heedOffers(this.#recovery)
    return true
  }

  /** Goes on with the latest that a watcher has offered. To be called when we are registered as joining. */
  async search(signal: AbortSignal) {
    const { state, searchTime = SEARCH_MS } = this.#options
    await sleep(searchTime, undefined, { signal }).catch(() => {})
    state.heedOffers(null)
    const { best } = this.#recovery
    if (best && !signal.aborted) await state.adopt(best)
  }

  /** We are registered: who ran before leaves. */
  async finish() {
    await this.#takeOver?.finish()
  }

  async #fromRunning(): Promise<boolean> {
    const { only, running, state, keyPair } = this.#options
    const own = toHex(keyPair.publicKey)
    const found = only === null ? running() : [only]
    let refusal: unknown = null
    let isLost = false
    for (const key of found.filter((one) => one !== own)) {
      const takeOver = new TakeOver(key, this.#options)
      try {
        const heritage = await takeOver.begin()
        if (heritage === 'lost') {
          isLost = true
          const { partial } = takeOver
          if (partial) this.#recovery.add(partial)
          continue
        }
        if (heritage) await state.adopt(heritage)
        this.#takeOver = takeOver
        return true
      } catch (error) {
        refusal ??= error
      }
    }
    if (refusal && !this.#recovery.best) throw refusal
    // It may have died while we asked. Its links go a moment before the lock of its journal does.
    const until = performance.now() + (isLost ? UNLOCKED_WITHIN_MS : 0)
    while (!(await this.#fromJournals())) {
      if (performance.now() >= until) return false
      await sleep(LOCK_INTERVAL_MS)
    }
    const { best } = this.#recovery
    if (!best) return false
    await state.adopt(best)
    await this.#noteOver(best.head.owner)
    return true
  }

  /**
   * Reads what instances in our folder have left that do not run.
   *
   * @returns whether the one that we are to take over from is among them
   */
  async #fromJournals(): Promise<boolean> {
    const { journals, only, scope, running, onnotice } = this.#options
    const runs = new Set(running())
    let hasDied = false
    for (const { key, path, release } of journals()) {
      try {
        if (only !== null && key !== only) continue
        const stored = readStored(await Journal.read(path), scope)
        if (!stored || stored.over !== null || stored.head.owner !== key) continue
        // Whoever is in the directory and holds no lock has died just now. Others died long ago.
        if (only === null && !runs.has(key) && runs.size > 0) continue
        hasDied = true
        const { head, map } = stored
        this.#recovery.add({
          head,
          entries: [...map.entries()],
          claim: claimBy(this.#options, key)
        })
      } catch (error) {
        onnotice(error as SeaportError)
      } finally {
        release()
      }
    }
    return hasDied
  }

  /** So that its owner, should it come back, does not go on with what is ours. */
  async #noteOver(owner: string) {
    const { journals, keyPair, onnotice } = this.#options
    for (const file of journals()) {
      if (file.key !== owner) {
        file.release()
        continue
      }
      try {
        const { journal } = await Journal.open(file)
        await journal.append([overLine(toHex(keyPair.publicKey))])
        await journal.close()
      } catch (error) {
        file.release()
        onnotice(error as SeaportError)
      }
    }
  }
}
