import { setTimeout as sleep } from 'node:timers/promises'
import { SeaportError } from '../../core/errors.js'
import { toHex } from '../../core/keys.js'
import { Journal, type JournalFile } from './journal.js'
import { Recovery } from './recovery.js'
import type { State } from './state.js'
import type { Head } from './statements.js'
import { overLine, readStored } from './stored.js'
import { claimBy, TakeOver, type TakeOverOptions } from './take-over.js'

/** The journal of another instance, which no running process had locked. */
export interface OtherJournal extends JournalFile {
  /** Hex. */
  key: string
}

export interface NewcomerOptions extends TakeOverOptions {
  state: State
  /** The key of the only instance to take over from, in hex; null for any that runs or ran. */
  only: string | null
  /** Keys of the instances of the role that are there, in hex. */
  running: () => readonly string[]
  /** Journals of other instances in our folder. The caller has to release them. */
  journals: () => Iterable<OtherJournal>
  /** The journal of one instance, if it is in our folder and no running process has it locked. */
  journal: (key: string) => OtherJournal | null
  /** The path of the journal of one instance if it is in our folder, even if it is locked. */
  journalPath: (key: string) => string | null
  /** Keys, in hex, of instances whose journal is in our folder and locked by a running process. */
  heldJournals: () => readonly string[]
  /** Whether a key is or was an instance of this role. */
  isKnown: (owner: string) => boolean
  onnotice: (notice: SeaportError) => void
  /** How long watchers may take to offer their copies, in ms. */
  searchTime?: number | undefined
}

const SEARCH_MS = 2000
const UNLOCKED_WITHIN_MS = 500
const LOCK_INTERVAL_MS = 20
/** How often to check whether the instance that was asked has died, in ms. */
const DEATH_INTERVAL_MS = 50

/** A newcomer that takes over from the running instance, or goes on with the state of one that died. */
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
   * Takes over from the running instance. Call it when everything is ready to be registered.
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
      await this.#noteOver(best.head)
      return false
    }
    if (hadOwn && !best) return false
    state.heedOffers(this.#recovery)
    return true
  }

  /** Goes on with the latest copy that a watcher has offered. Call it when we are registered as joining. */
  async search(signal: AbortSignal) {
    const { state, searchTime = SEARCH_MS } = this.#options
    await sleep(searchTime, undefined, { signal }).catch(() => {})
    state.heedOffers(null)
    const { best } = this.#recovery
    if (best && !signal.aborted) await state.adopt(best)
  }

  /**
   * Tells the former instance that we are registered, so that it leaves.
   *
   * @throws CONFLICT if it has taken its state back, because we came too late
   */
  async finish() {
    await this.#takeOver?.finish()
    // The former instance may have died before it was told of us.
    const { state } = this.#options
    if (state.succession) await this.#noteOver(state.succession.former)
  }

  async #fromRunning(): Promise<boolean> {
    const { only, running, state, keyPair } = this.#options
    const own = toHex(keyPair.publicKey)
    const found = only === null ? running() : [only]
    let refusal: unknown = null
    let isLost = false
    const silent: string[] = []
    for (const key of found.filter((one) => one !== own)) {
      const takeOver = new TakeOver(key, this.#options)
      try {
        const heritage = await this.#begin(key, takeOver)
        if (heritage === 'lost') {
          isLost = true
          const { partial } = takeOver
          if (partial) this.#recovery.add(partial)
          silent.push(key)
          continue
        }
        if (heritage) await state.adopt(heritage)
        this.#takeOver = takeOver
        return true
      } catch (error) {
        refusal ??= error
      }
    }
    if (refusal && !this.#recovery.best && !isLost) throw refusal
    // It may have died while we asked. Its links end a moment before its journal is unlocked.
    const until = performance.now() + (isLost ? UNLOCKED_WITHIN_MS : 0)
    while (!(await this.#fromJournals())) {
      if (performance.now() >= until) {
        const isThere = await this.#fromSilent([...silent, ...(await this.#unlisted(found))])
        if (!isThere && refusal && !this.#recovery.best) throw refusal
        return isThere
      }
      await sleep(LOCK_INTERVAL_MS)
    }
    const { best } = this.#recovery
    if (refusal && !best) throw refusal
    if (!best) return false
    await state.adopt(best)
    await this.#noteOver(best.head)
    return true
  }

  /**
   * Asks an instance to hand over. Meanwhile it watches the lock of its journal: a dead process loses that long before
   * links to it are given up.
   */
  async #begin(key: string, takeOver: TakeOver) {
    const death = new AbortController()
    const timer = setInterval(() => {
      const file = this.#options.journal(key)
      file?.release()
      if (file) death.abort()
    }, DEATH_INTERVAL_MS)
    try {
      return await takeOver.begin(death.signal)
    } finally {
      clearInterval(timer)
    }
  }

  /** Instances that have their journal in our folder locked, but are not listed any more and cannot be reached. */
  async #unlisted(listed: readonly string[]): Promise<string[]> {
    const { only, heldJournals, keyPair } = this.#options
    if (only !== null) return []
    const known = new Set([...listed, toHex(keyPair.publicKey)])
    const unlisted = heldJournals().filter((key) => !known.has(key))
    const silent = unlisted.map((key) => new TakeOver(key, this.#options).isSilent())
    const answers = await Promise.all(silent)
    return unlisted.filter((_, i) => answers[i])
  }

  /**
   * Reads the journals of instances that neither answer nor have died, because they are frozen or cut off. When one
   * returns it is told that we go on.
   */
  async #fromSilent(keys: readonly string[]): Promise<boolean> {
    const { state, journalPath } = this.#options
    let isThere = false
    for (const key of keys) {
      const path = journalPath(key)
      if (path !== null && (await this.#readJournal(key, path))) isThere = true
    }
    const { best } = this.#recovery
    if (!isThere || !best) return false
    await state.adopt(best)
    return true
  }

  /**
   * Reads the journals of instances in our folder that do not run.
   *
   * @returns whether the instance that we are to take over from is among them
   */
  async #fromJournals(): Promise<boolean> {
    const { journals, only, running } = this.#options
    const runs = new Set(running())
    let hasDied = false
    for (const { key, path, release } of journals()) {
      try {
        if (only !== null && key !== only) continue
        // An instance that is listed and holds no lock has died just now. If there is one, those that died long ago do
        // not count.
        if (only === null && !runs.has(key) && runs.size > 0) continue
        if (await this.#readJournal(key, path)) hasDied = true
      } finally {
        release()
      }
    }
    return hasDied
  }

  /**
   * Reads the journal of an instance.
   *
   * @returns whether it has a state that nobody else goes on with. Never rejects
   */
  async #readJournal(key: string, path: string): Promise<boolean> {
    const { scope, onnotice } = this.#options
    try {
      const { lines, isDamaged } = await Journal.read(path)
      const stored = readStored(lines, scope)
      if (isDamaged) {
        const text = `the end of the journal of ${key} was damaged (${path}), and is not gone on with`
        onnotice(SeaportError.STORAGE_FAILED(text))
      }
      if (!stored || stored.over !== null || stored.head.owner !== key) return false
      const { head, map } = stored
      const claim = claimBy(this.#options, key)
      this.#recovery.add({ head, entries: [...map.entries()], claim })
      return true
    } catch (error) {
      onnotice(error as SeaportError)
      return false
    }
  }

  /** Notes in the former owner's journal that we have its state, so that it does not go on with it if it comes back. */
  async #noteOver({ owner, term }: Head) {
    const { journal: take, keyPair, scope, onnotice } = this.#options
    const file = take(owner)
    if (!file) return
    try {
      const { journal, lines } = await Journal.open(file)
      const stored = readStored(lines, scope)
      // It may have begun anew since then, with a state of its own.
      const isOurs = stored && stored.over === null && stored.head.term <= term
      if (isOurs) await journal.append([overLine(toHex(keyPair.publicKey))])
      await journal.close()
    } catch (error) {
      file.release()
      onnotice(error as SeaportError)
    }
  }
}
