import { SeaportError } from '../../core/errors.js'

/** Limits of one browser. */
export interface BrowserLimits {
  /** How long it may take to send its first frame, in ms. Default: 5 s. */
  helloTimeout: number
  /** How many things it may say a second. Default: 100. */
  rate: number
  /** How many things it may say at once. Default: 200. */
  burst: number
  /** How many bytes it may leave unread before it is cut. Default: 1 MiB. */
  unreadBytes: number
  /** How many messages it may leave unread before it is cut. Default: 1 000. */
  unreadMessages: number
}

/** Limits of all browsers at a gateway. */
export interface ChannelLimits extends BrowserLimits {
  /** How many pages there may be at the gateway. Default: 65 000. */
  sessions: number
  /** How many of them may come from one client address, or from one IPv6 network (/64). Default: 1 000. */
  sessionsPerAddress: number
  /** How often browsers are pinged, in ms. Default: 25 s. */
  pingInterval: number
  /** How long browsers may be silent, in ms. Default: 40 s. */
  silence: number
}

const BROWSER_LIMITS: BrowserLimits = {
  helloTimeout: 5000,
  rate: 100,
  burst: 200,
  unreadBytes: 1024 * 1024,
  unreadMessages: 1000
}
export const CHANNEL_LIMITS: ChannelLimits = {
  ...BROWSER_LIMITS,
  sessions: 65_000,
  sessionsPerAddress: 1000,
  pingInterval: 25_000,
  silence: 40_000
}

/** @throws USAGE */
export function checkChannelLimits(limits: Partial<ChannelLimits> = {}) {
  for (const [name, limit] of Object.entries(limits)) {
    if (limit > 0) continue
    throw SeaportError.USAGE(`the limit ${name} is a number above 0, not ${limit}`)
  }
}
