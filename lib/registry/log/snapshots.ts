import { promisify } from 'node:util'
import { deflateRaw, inflateRaw } from 'node:zlib'
import { SeaportError } from '../../core/errors.js'
import { crypto } from '../../core/holepunch.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import { type Snapshot, signSnapshot } from '../trust/snapshot.js'
import type { LogValue } from './log-value.js'
import type { Storage } from './storage.js'

/** JSON in one block, before it is deflated to about a quarter of that. */
const TEXT_BYTES = 256 * 1024
/** One value more than fits may be in a block. A larger block was not written by us. */
const MAX_TEXT_BYTES = 2 * TEXT_BYTES
/** Records are mostly keys and signatures: more effort finds little more. */
const LEVEL = 1

const deflate = promisify<string, { level: number }, Buffer>(deflateRaw)
const inflate = promisify<Buffer, { maxOutputLength: number }, Buffer>(inflateRaw)

export interface ReadOptions {
  /** Whether to ask others for blocks that are not on disk. */
  wait?: boolean
  /** How long to wait while no block comes at all, in ms. Default: for ever. */
  stall?: number
}

/**
 * The snapshots that a participant has on disk: of each log one, and the one before. Each is a core of its own, of blocks of deflated lines of JSON, and so is
 * fetched from whoever has it, checked and passed on as the logs are.
 */
export class Snapshots {
  readonly #storage: Storage

  constructor(storage: Storage) {
    this.#storage = storage
  }

  /** The snapshot of a log that is on disk as a whole, null if there is none. */
  held(logKey: string): Snapshot | null {
    return this.#storage.memory.snapshots[logKey] ?? null
  }

  /** Writes a snapshot of our own log. `hold` has to follow. */
  async write(
    registry: KeyPair,
    logKey: string,
    length: number,
    values: readonly LogValue[]
  ): Promise<Snapshot> {
    const core = this.#storage.store.get({ keyPair: crypto.keyPair() })
    try {
      await core.ready()
      const key = toHex(core.key)
      await this.#begin(key, logKey)
      for (const text of texts(values)) await core.append(await deflate(text, { level: LEVEL }))
      const { length: blocks } = core
      return signSnapshot(registry, { logKey, length, key, blocks, values: values.length })
    } finally {
      await core.close()
    }
  }

  /**
   * Reads the values of a snapshot, as JSON and block by block; what is not on disk is fetched from others.
   *
   * @throws BAD_MESSAGE if a block is not what we write, CLOSED if one does not come
   */
  async *read(snapshot: Snapshot, options: ReadOptions): AsyncGenerator<string[]> {
    for await (const block of this.#blocks(snapshot, options))
      yield (await textOf(block)).split('\n')
  }

  /** Fetches a snapshot without reading it, so that others can have it from us. */
  async fetch(snapshot: Snapshot, options: ReadOptions) {
    for await (const _ of this.#blocks(snapshot, options));
  }

  /**
   * Keeps a snapshot that is there as a whole, in the place of the one before. That one stays until the next
   * comes, or the next run, for those who are reading it.
   */
  async hold(snapshot: Snapshot) {
    const { key, logKey } = snapshot
    const { memory } = this.#storage
    const before = this.held(logKey)
    if (before?.key === key) return
    const old = Object.keys(memory.strays).filter((stray) => memory.strays[stray] === logKey)
    memory.snapshots[logKey] = snapshot
    delete memory.strays[key]
    if (before) memory.strays[before.key] = logKey
    await this.#storage.save()
    for (const stray of old) if (stray !== key) await this.#drop(stray)
  }

  /** Deletes the snapshot of a log. */
  async forget(logKey: string) {
    const { memory } = this.#storage
    const held = this.held(logKey)
    if (!held) return
    delete memory.snapshots[logKey]
    memory.strays[held.key] = logKey
    await this.#drop(held.key)
  }

  /** Deletes what earlier runs began to fetch or write, and did not finish. */
  async sweep() {
    for (const key of Object.keys(this.#storage.memory.strays)) await this.#drop(key)
  }

  async *#blocks(
    { key, logKey, blocks }: Snapshot,
    { wait = true, stall = 0 }: ReadOptions
  ): AsyncGenerator<Buffer> {
    const core = this.#storage.store.get({ key: Buffer.from(key, 'hex') })
    let downloaded = 0
    core.on('download', () => downloaded++)
    try {
      await core.ready()
      if (wait) {
        await this.#begin(key, logKey)
        core.download({ start: 0, end: blocks })
      }
      for (let i = 0; i < blocks; ) {
        const before = downloaded
        const block = await core.get(i, { wait, timeout: stall }).catch(nothing)
        if (block) {
          yield block
          i++
        } else if (downloaded === before) throw missing(i, blocks)
      }
    } finally {
      await core.close()
    }
  }

  /**
   * Remembers that blocks of a snapshot are on disk from now on, so that they are deleted if it is never held.
   */
  async #begin(key: string, logKey: string) {
    const { memory } = this.#storage
    if (memory.strays[key] || this.held(logKey)?.key === key) return
    memory.strays[key] = logKey
    await this.#storage.save()
  }

  async #drop(key: string) {
    const core = this.#storage.store.get({ key: Buffer.from(key, 'hex') })
    try {
      await core.ready()
      await core.clear(0, core.length)
    } finally {
      await core.close()
    }
    delete this.#storage.memory.strays[key]
  }
}

function* texts(values: readonly LogValue[]): Generator<string> {
  let lines: string[] = []
  let size = 0
  for (const value of values) {
    const line = JSON.stringify(value)
    lines.push(line)
    size += line.length
    if (size < TEXT_BYTES) continue
    yield lines.join('\n')
    lines = []
    size = 0
  }
  if (lines.length > 0) yield lines.join('\n')
}

async function textOf(block: Buffer): Promise<string> {
  try {
    return (await inflate(block, { maxOutputLength: MAX_TEXT_BYTES })).toString()
  } catch (cause) {
    throw SeaportError.BAD_MESSAGE(`a snapshot has a malformed block (${(cause as Error).message})`)
  }
}

function missing(i: number, blocks: number): SeaportError {
  return SeaportError.CLOSED(`block ${i} of ${blocks} of a snapshot does not come`)
}

function nothing(): null {
  return null
}
