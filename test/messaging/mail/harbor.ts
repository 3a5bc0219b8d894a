import type { EventEmitter } from 'node:events'
import type { Test } from 'tap'
import type {
  LetterReceipt,
  Mail,
  MailEvents,
  MailMessage,
  SentLetter
} from '../../../lib/index.js'
import { KeyPair, Peer, type PeerOptions, Registry } from '../../../lib/index.js'
import { Testbed } from '../../testbed.js'

/** Retries that a test need not wait for. */
export const SOON = { backoffs: [100], retries: [10, 10, 10, 10] }

/** A registry, and peers of it. */
export async function mailHarbor(t: Test, { isPrivate = false } = {}) {
  const testbed = await Testbed.make(t)
  const { bootstrap } = testbed
  const seed = KeyPair().publicKey
  const registry = Registry({ seed, dir: await testbed.dir(), bootstrap, private: isPrivate })
  t.teardown(() => registry.destroy())
  await registry.setup()
  const { registryPublicKey } = registry
  const options = async () => ({ registryPublicKey, bootstrap, dir: await testbed.dir(), ...SOON })
  /** One that is set up. */
  const peer = async (extra: Partial<PeerOptions> = {}) => {
    const peer = Peer({ ...(await options()), ...extra })
    t.teardown(() => peer.destroy())
    await peer.setup()
    return peer
  }
  return { testbed, seed, registry, options, peer }
}

/** Collects what comes, and resolves once there is as much. */
export function collect(peer: Peer | Mail) {
  const messages: MailMessage[] = []
  const waiting = new Set<() => void>()
  const source: EventEmitter<MailEvents> = peer as Mail
  source.on('message', (message) => {
    messages.push(message)
    for (const check of waiting) check()
  })
  const count = (n: number) =>
    new Promise<MailMessage[]>((resolve) => {
      const check = () => messages.length >= n && resolve(messages)
      waiting.add(check)
      check()
    })
  return { messages, count }
}

/** The receipts of a letter, from now on. */
export function receiptsOf(letter: SentLetter): LetterReceipt[] {
  const receipts: LetterReceipt[] = []
  letter.on('receipt', (receipt) => receipts.push(receipt))
  return receipts
}
