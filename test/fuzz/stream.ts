import type { SeaportError } from '../../lib/core/errors.js'
import { MEMORY } from '../../lib/link/memory.js'
import { type Carrier, LinkStream } from '../../lib/link/stream.js'
import { LINK_BUDGET, Window } from '../../lib/link/window.js'
import { settled } from './line.js'

/** A stream whose other end is this program. */
export function stream(): LinkStream {
  const quiet = { schedule() {}, cut() {}, finish() {} }
  const carrier: Carrier = { path: 'dht', memory: MEMORY, ...quiet }
  const window = new Window({ left: LINK_BUDGET })
  return new LinkStream({ id: 1, purpose: '', carrier, credit: window.size, window })
}

/** Feeds a stream, and tells what it was cut with. */
export async function feed(stream: LinkStream, pieces: Buffer[]): Promise<void> {
  let reason: SeaportError | null = null
  stream.whenClosed((why) => {
    reason ??= why
  })
  for (const piece of pieces) {
    stream.receiveData(piece)
    await settled()
  }
  if (reason) throw reason
}
