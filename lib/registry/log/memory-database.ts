import { StreamxReadable } from './hypercore.js'

interface Range {
  gte?: Buffer
  lt?: Buffer
  reverse?: boolean
}

/** What all sessions of one database share. */
interface State {
  /** By key, in hex, which sorts as the bytes do. */
  readonly values: Map<string, Buffer>
  /** The keys in order; null once one has come or gone. */
  order: string[] | null
  opened: boolean
  closing: boolean
}

type Operation = (state: State) => void

/**
 * The part of RocksDB that Hypercore's storage uses, in the memory of this process: for who can keep nothing on a
 * disk. What it holds ends with the process.
 */
export class MemoryDatabase {
  /** Storage looks here for what a crash left behind, and finds nothing. */
  readonly path = '/dev/null/memory'
  /** Storage asks it whether a session is closed, before it reads. */
  _index = 0
  readonly _state: State
  readonly _snapshot: object | null

  constructor(state?: State, snapshot: object | null = null) {
    this._state = state ?? { values: new Map(), order: null, opened: false, closing: false }
    this._snapshot = snapshot
  }

  get opened(): boolean {
    return this._state.opened
  }

  get closed(): boolean {
    return this._index === -1 || this._state.closing
  }

  async ready() {
    this._state.opened = true
  }

  async close() {
    this._index = -1
  }

  /** All of it is one family of columns. */
  columnFamily(): MemoryDatabase {
    return this.session()
  }

  session(): MemoryDatabase {
    return new MemoryDatabase(this._state, this._snapshot)
  }

  /** The values as they are now, whatever is written later. */
  snapshot(): MemoryDatabase {
    if (this._snapshot) return this.session()
    const state = { ...this._state, values: new Map(this._state.values) }
    return new MemoryDatabase(state, {})
  }

  read(): Reads {
    return new Reads(this._state)
  }

  write(): Writes {
    return new Writes(this._state)
  }

  async get(key: Buffer): Promise<Buffer | null> {
    return this._state.values.get(toKey(key)) ?? null
  }

  iterator({ gte, lt, reverse = false }: Range): StreamxReadable {
    const keys = keysBetween(this._state, gte && toKey(gte), lt && toKey(lt))
    if (reverse) keys.reverse()
    return StreamxReadable.from(entriesOf(keys, this._state))
  }

  async compactRange() {}

  async flush() {}

  async suspend() {}

  async resume() {}
}

/** Reads that are answered together. */
class Reads {
  readonly #state: State
  readonly #waiting: (() => void)[] = []

  constructor(state: State) {
    this.#state = state
  }

  get(key: Buffer): Promise<Buffer | null> {
    return new Promise((resolve) => {
      this.#waiting.push(() => resolve(this.#state.values.get(toKey(key)) ?? null))
    })
  }

  tryFlush() {
    for (const answer of this.#waiting.splice(0)) answer()
  }

  async flush() {
    this.tryFlush()
  }

  destroy() {
    this.tryFlush()
  }
}

/** Changes that are made together. */
class Writes {
  readonly #state: State
  readonly #operations: Operation[] = []

  constructor(state: State) {
    this.#state = state
  }

  /** @param value a text, as RocksDB takes it, too */
  tryPut(key: Buffer, value: Buffer | string) {
    // What is kept must not keep the larger buffer that it is a part of.
    const own = Buffer.from(value as Buffer)
    this.#operations.push((state) => put(state, toKey(key), own))
  }

  tryDelete(key: Buffer) {
    this.#operations.push((state) => remove(state, toKey(key)))
  }

  tryDeleteRange(start: Buffer, end: Buffer) {
    this.#operations.push((state) => {
      for (const key of keysBetween(state, toKey(start), toKey(end))) remove(state, key)
    })
  }

  tryFlush() {
    for (const change of this.#operations.splice(0)) change(this.#state)
  }

  async flush() {
    this.tryFlush()
  }

  destroy() {
    this.#operations.length = 0
  }
}

function toKey(bytes: Buffer): string {
  return bytes.toString('hex')
}

function put(state: State, key: string, value: Buffer) {
  if (!state.values.has(key)) state.order = null
  state.values.set(key, value)
}

function remove(state: State, key: string) {
  if (state.values.delete(key)) state.order = null
}

function keysBetween(state: State, start = '', end?: string): string[] {
  state.order ??= [...state.values.keys()].sort()
  const { order } = state
  const to = end === undefined ? order.length : placeOf(end, order)
  return order.slice(placeOf(start, order), to)
}

/** How many of the sorted keys come before this one. */
function placeOf(key: string, order: readonly string[]): number {
  let low = 0
  let high = order.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((order[middle] as string) < key) low = middle + 1
    else high = middle
  }
  return low
}

function entriesOf(keys: readonly string[], { values }: State) {
  return keys.map((key) => ({ key: Buffer.from(key, 'hex'), value: values.get(key) }))
}
