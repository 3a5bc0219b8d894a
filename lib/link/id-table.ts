/** The places of an empty table. A table always has at least twice as many places as values. */
const MIN_CAPACITY = 64

/**
 * Values by number, where each number is used once and most are given in a row. A Map would do; `Bag` says what it
 * costs. This is a hash table with open addressing and linear probing. A deletion moves later values up, so that it
 * leaves no gap (Knuth, The Art of Computer Programming 3, section 6.4, algorithm R).
 */
export class IdTable<T> {
  size = 0
  #ids: number[] = []
  #values: (T | undefined)[] = []
  #mask = 0

  constructor() {
    this.clear()
  }

  get(id: number): T | undefined {
    return this.#values[this.#find(id)]
  }

  set(id: number, value: T) {
    const index = this.#find(id)
    if (this.#values[index] === undefined) this.size++
    this.#ids[index] = id
    this.#values[index] = value
    if (2 * this.size > this.#values.length) this.#grow()
  }

  delete(id: number) {
    let gap = this.#find(id)
    if (this.#values[gap] === undefined) return
    this.size--
    for (
      let index = this.#next(gap);
      this.#values[index] !== undefined;
      index = this.#next(index)
    ) {
      const wayFromHome = (index - this.#home(this.#ids[index] as number)) & this.#mask
      if (wayFromHome < ((index - gap) & this.#mask)) continue
      this.#ids[gap] = this.#ids[index] as number
      this.#values[gap] = this.#values[index]
      gap = index
    }
    this.#values[gap] = undefined
  }

  values(): T[] {
    return this.#values.filter((value) => value !== undefined)
  }

  clear() {
    this.size = 0
    this.#reserve(MIN_CAPACITY)
  }

  /** The index where a number stands, or would stand. */
  #find(id: number): number {
    let index = this.#home(id)
    while (this.#values[index] !== undefined && this.#ids[index] !== id) index = this.#next(index)
    return index
  }

  /** Where a number belongs. Each side of a link gives every other number, so the lowest bit says nothing. */
  #home(id: number): number {
    return (id >>> 1) & this.#mask
  }

  #next(index: number): number {
    return (index + 1) & this.#mask
  }

  #reserve(capacity: number) {
    this.#mask = capacity - 1
    this.#ids = new Array(capacity).fill(0)
    this.#values = new Array(capacity).fill(undefined)
  }

  #grow() {
    const [ids, values] = [this.#ids, this.#values]
    this.#reserve(2 * values.length)
    values.forEach((value, i) => {
      if (value === undefined) return
      const index = this.#find(ids[i] as number)
      this.#ids[index] = ids[i] as number
      this.#values[index] = value
    })
  }
}
