/** Where a value of a bag is, which changes. */
export interface Place<T> {
  readonly value: T
  index: number
}

/**
 * A collection in no order, for what comes and goes with each connection. Sets and Maps are not for that: they
 * grow by leaving their table for a new one, which the old one points to. Once one of them is in the old
 * generation of V8's heap, where all is after a quiet while, each new table and what is in it follow, and
 * stay until the whole heap is collected: a fifth of the CPU of a connection.
 */
export class Bag<T> {
  readonly #places: Place<T>[] = []

  get size(): number {
    return this.#places.length
  }

  /** @returns what `delete` takes */
  add(value: T): Place<T> {
    const place = { value, index: this.#places.length }
    this.#places.push(place)
    return place
  }

  /**
   * The last one takes its place.
   *
   * @returns whether it was there
   */
  delete(place: Place<T>): boolean {
    const { index } = place
    if (this.#places[index] !== place) return false
    const last = this.#places.pop() as Place<T>
    if (last === place) return true
    this.#places[index] = last
    last.index = index
    return true
  }

  /** Those that are in it now. */
  values(): T[] {
    return this.#places.map(({ value }) => value)
  }
}
