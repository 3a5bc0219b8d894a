import { once } from 'node:events'
import { KeyPair, SeaportError } from '../lib/identity.js'
import type { LetterReceipt, MailMessage, Peer } from '../lib/index.js'
import { DIRECT_REACHES } from '../lib/options.js'
import { printable, printableJson } from '../lib/printing.js'
import type { Flag } from './declaration.js'
import {
  COMMON_FLAGS,
  DIR_FLAG,
  FORWARD_FLAG,
  forwardOption,
  NETWORK_FLAGS,
  networkOptions,
  REGISTRY_PUBLIC_KEY_FLAG
} from './flags.js'
import type { Lifetime } from './lifetime.js'
import type { Settings } from './settings.js'
import { say } from './talk.js'

/** Flags of the verbs that write and read letters. */
export const MAILING_FLAGS = {
  registryPublicKey: REGISTRY_PUBLIC_KEY_FLAG,
  seed: {
    describe: "The peer's own seed or @file",
    otherwise: 'the process key, which is kept for this registry'
  },
  direct: {
    describe: 'Which addresses to listen on by TCP, beside the DHT: off, lan or any',
    otherwise: 'lan, or loopback if the DHT node is there'
  },
  forward: FORWARD_FLAG,
  dir: DIR_FLAG,
  ...NETWORK_FLAGS,
  ...COMMON_FLAGS
} satisfies Record<string, Flag>

/** What the verb `peer` says of its peer: the wizard's answers, in place of settings, and more. */
export interface PeerAnswers {
  registryPublicKey?: Buffer
  name?: string
  /** In bytes. */
  store?: number | undefined
  /** Whether it says what may need a person's attention; else only with --verbose. */
  isLasting?: boolean
}

/**
 * A peer whose mail is open. A registrar is looked for meanwhile, and for as long as it takes: what is written is on
 * disk in any case.
 */
export async function openPeer(
  settings: Settings,
  lifetime: Lifetime,
  {
    registryPublicKey = settings.key('registryPublicKey'),
    name,
    store,
    isLasting = false
  }: PeerAnswers = {}
): Promise<Peer> {
  const seed = settings.key('seed', undefined)
  const { Peer } = await import('../lib/peer.js')
  const peer = lifetime.own(
    Peer({
      registryPublicKey,
      name,
      store,
      keyPair: seed && KeyPair(seed),
      direct: settings.word('direct', DIRECT_REACHES, undefined),
      dir: settings.path('dir', undefined),
      forward: forwardOption(settings),
      timeout: Infinity,
      ...networkOptions(settings)
    })
  )
  peer.on('denied', ({ message }) => say(message))
  peer.on('notice', ({ message }) => {
    if (isLasting || settings.on('verbose')) say(message)
  })
  const failed = new Promise<never>((_, reject) => {
    peer.setup().catch((error) => {
      // Whoever stops it knows.
      if (error instanceof SeaportError && error.code === 'CLOSED') return
      reject(error)
    })
  })
  await Promise.race([once(peer, 'connecting'), failed, lifetime.untilStopped()])
  failed.catch((error) => say(`${error.message}`))
  return peer
}

/**
 * What a letter that has no final receipt waits for, and what would help.
 *
 * @param state the last that was heard of it; null if nothing was
 * @param isThere whether a registrar has our record
 */
export function whyItWaits(state: LetterReceipt | null, isThere: boolean): string {
  const { status = 'queued', code = '', by = null } = state ?? {}
  if (status === 'unreachable') {
    return `its receiver is there, but neither a link nor other members lead to it (${code})`
  }
  if (by !== null) return `a mailbox keeps it until its receiver is there: ${by}`
  if (code === 'NO_INSTANCE')
    return 'nobody serves this role and takes letters, so it waits on this disk alone'
  if (code === 'NO_MAILBOX') {
    return 'its receiver is away and nobody keeps letters, so it waits on this disk alone; a peer with --store 1GiB would keep it'
  }
  if (code !== '') {
    return `its receiver is away and no mailbox took it (${code}), so it waits on this disk alone`
  }
  if (isThere) return 'its receiver has not signed yet that it came'
  return 'no registrar has answered yet, so it waits on this disk alone'
}

/** A letter on one line. */
export function lineOf({ from, body, sentAt, revoked }: MailMessage): string {
  const text = typeof body === 'string' ? printable(body) : printableJson(shown(body))
  return `${sentAt.toISOString()} ${from}${revoked ? ' (put out since)' : ''} ${text}`
}

/** The same as JSON. */
export function jsonOf({ body, sentAt, ...message }: MailMessage): string {
  return printableJson({ ...message, sentAt: sentAt.toISOString(), body: shown(body) })
}

function shown(body: unknown): unknown {
  if (body === undefined) return null
  return body instanceof Uint8Array ? { base64: Buffer.from(body).toString('base64') } : body
}
