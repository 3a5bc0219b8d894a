import { SeaportError } from '../lib/identity.js'

/** More than a command or a letter may have. */
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024

type Bytes = AsyncIterable<Buffer>

/** Passes on what comes, until that is more than it may be: it might have no end. */
export async function* bounded(
  input: Bytes,
  maxBytes: number,
  refuse: () => SeaportError
): AsyncGenerator<Buffer, void, void> {
  let size = 0
  for await (const piece of input) {
    size += piece.byteLength
    if (size > maxBytes) throw refuse()
    yield piece
  }
}

/** What is to be sent, from stdin. It throws TOO_LARGE while it is read. */
export function messageIn(input: Bytes): Bytes {
  return bounded(input, MAX_MESSAGE_BYTES, () =>
    SeaportError.TOO_LARGE('what is on stdin has more than 64 MiB, which no message may have')
  )
}
