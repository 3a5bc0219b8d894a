import type { ChannelOptions, Protomux } from '../../core/holepunch.js'

/** The protocol in which Hypercore says which blocks somebody has. */
const PROTOCOL = 'hypercore/alpha'
/**
 * How many blocks more than we have of a core a peer may say that it has. It is as many as Hypercore asks about at once, so
 * that what is not listened to now is asked about when it is needed.
 */
const MAX_AHEAD = 2 ** 21
/** Which blocks a peer has are so many to one message that it may send: they keep us busy for 0.03 ms. */
const BLOCKS_PER_MESSAGE = 1024

/** That somebody has these blocks, or has them no more. */
interface Range {
  drop: boolean
  start: number
  length: number
}

/** Which of these blocks somebody has. */
interface Bits {
  start: number
  bitfield: Uint32Array
}

interface ChannelOfCore {
  readonly userData?: { readonly core?: { readonly state?: { readonly length: number } } }
}

type OnMessage = (message: unknown, channel: ChannelOfCore) => unknown

/**
 * Bounds what peers say about blocks. Hypercore keeps a bit for each block that a peer says it has, up to 2^53 of them, and
 * looks at each place in between: a message of 15 bytes would take all memory, or the processor for good.
 *
 * @param spend called with how many messages something counts for beside itself; what it throws ends the connection
 */
export function boundAnnouncements(mux: Protomux, spend: (messages: number) => void) {
  const createChannel = mux.createChannel.bind(mux)
  mux.createChannel = <H>(options: ChannelOptions<H>) => {
    const { protocol, messages = [] } = options
    if (protocol !== PROTOCOL) return createChannel(options)
    const bounded = messages.map(({ onmessage, ...rest }) => {
      const take: OnMessage = (message, channel) => {
        const fitting = fitted(message as object, channel, spend)
        return fitting && onmessage?.(fitting, channel)
      }
      return { ...rest, onmessage: take }
    })
    return createChannel({ ...options, messages: bounded })
  }
}

/** What of a message is listened to; null if nothing is. */
function fitted(
  message: object,
  channel: ChannelOfCore,
  spend: (messages: number) => void
): object | null {
  if (!isRange(message) && !isBits(message)) return message
  const { start } = message
  const length = isRange(message) ? message.length : message.bitfield.length * 32
  // Hypercore keeps a number for all of the first blocks.
  if (isRange(message) && start === 0 && !message.drop) return message
  const end = (channel.userData?.core?.state?.length ?? 0) + MAX_AHEAD
  if (start >= end) return null
  const blocks = Math.min(length, end - start)
  spend(Math.floor(blocks / BLOCKS_PER_MESSAGE))
  return isRange(message)
    ? { ...message, length: blocks }
    : { ...message, bitfield: message.bitfield.subarray(0, Math.floor(blocks / 32)) }
}

function isRange(message: object): message is Range {
  return 'drop' in message && 'start' in message
}

function isBits(message: object): message is Bits {
  return 'bitfield' in message && 'start' in message
}
