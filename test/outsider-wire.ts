/** A number as compact-encoding writes it. */
export function uint(value: number): Buffer {
  if (value <= 0xfc) return Buffer.of(value)
  const bytes = Buffer.alloc(5)
  bytes[0] = 0xfe
  bytes.writeUInt32LE(value, 1)
  return bytes
}

/** Reads what `uint` and its like have written. */
export class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isOver(): boolean {
    return this.#at >= this.#bytes.byteLength
  }

  byte(): number {
    return this.#bytes[this.#at++] ?? 0
  }

  uint(): number {
    const first = this.byte()
    if (first <= 0xfc) return first
    const width = first === 0xfd ? 2 : 4
    this.#at += width
    return this.#bytes.readUIntLE(this.#at - width, width)
  }

  /** A length, and as many bytes. */
  bytes(): Buffer {
    const length = this.uint()
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  text(): string {
    return this.bytes().toString()
  }
}
