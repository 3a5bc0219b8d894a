import { c, type Encoding } from '../core/holepunch.js'
import { isPurpose, MAX_PURPOSES } from '../core/purpose.js'

/** What each side of a link says first on the channel of its streams. */
export interface ChannelHandshake {
  /** Counts the frames and fields that were added since `hyperseaport/streams/2` began. */
  revision: number
  /** The purposes of streams that it takes. */
  speaks: readonly string[]
}

export const REVISION = 0

/**
 * On the wire: the revision, how many purposes follow, and these as strings. Whatever a later revision appends
 * is passed by, and so is a purpose that cannot be one here.
 */
export const handshakeEncoding: Encoding<ChannelHandshake> = {
  preencode(state, { revision, speaks }) {
    c.uint.preencode(state, revision)
    c.uint.preencode(state, speaks.length)
    for (const purpose of speaks) c.string.preencode(state, purpose)
  },
  encode(state, { revision, speaks }) {
    c.uint.encode(state, revision)
    c.uint.encode(state, speaks.length)
    for (const purpose of speaks) c.string.encode(state, purpose)
  },
  decode(state) {
    const revision = c.uint.decode(state)
    const speaks: string[] = []
    for (let left = c.uint.decode(state); left > 0; left--) {
      const purpose = c.string.decode(state)
      if (isPurpose(purpose) && speaks.length < MAX_PURPOSES) speaks.push(purpose)
    }
    return { revision, speaks }
  }
}
