/**
 * One end of the row `mail`. Arguments: what it is, where the other end is, bootstrap, registry's public key, folder,
 * seconds. It prints `at=` where it can be written to, or reports what it measured.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, connect as dial } from 'node:net'
import { connect } from 'nats'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { boxKeyOf, boxKeyPairOf } from '../../lib/core/sealed-box.js'
import { Peer } from '../../lib/index.js'
import { encodeBody } from '../../lib/messaging/body.js'
import {
  decodeLetter,
  encodeLetter,
  isLetterSigned,
  openLetter,
  writeLetter
} from '../../lib/messaging/mail/letter.js'
import { Mailbox } from '../../lib/messaging/mail/mailbox.js'
import { Segments } from '../../lib/messaging/mail/segments.js'
import { percentile } from '../statistics.js'
import { report } from './tcp.js'

const MANY = 64
const WARM_UP_MS = 1000
const BODY = 'x'.repeat(1022)
const [what, at = '', bootstrap = '', registryPublicKey = '', dir = '', given = '1'] =
  process.argv.slice(2)
const ms = Number(given) * 1000

/** Keeps so many under way, and tells how long each took. */
async function load(width: number, forMs: number, act: () => Promise<unknown>) {
  const latencies: number[] = []
  const since = performance.now()
  const one = async () => {
    while (performance.now() - since < forMs) {
      const start = performance.now()
      await act()
      latencies.push(performance.now() - start)
    }
  }
  await Promise.all(Array.from({ length: width }, one))
  return { latencies, rate: latencies.length / ((performance.now() - since) / 1000) }
}

async function measure(act: () => Promise<unknown>) {
  await load(MANY, WARM_UP_MS, act)
  const one = await load(1, ms / 2, act)
  const many = await load(MANY, ms / 2, act)
  await report({ p50: percentile(one.latencies, 0.5), rate: many.rate })
}

/** How many are stored a second, so many under way. */
async function putRate(put: () => Promise<void>): Promise<number> {
  const store = async (count: number) => {
    let left = count
    const one = async () => {
      while (left-- > 0) await put()
    }
    await Promise.all(Array.from({ length: MANY }, one))
  }
  await store(WARM_UP_PUTS)
  const since = performance.now()
  await store(STORED)
  return STORED / ((performance.now() - since) / 1000)
}

function letterOf(keyPair: KeyPair, to: Buffer, registry: Buffer): Buffer {
  const [id, sentAt] = [toHex(randomBytes(32)), Date.now()]
  const expiresAt = sentAt + 3_600_000
  const fields = { id, to: toHex(to), sealTo: boxKeyOf(to), sentAt, expiresAt, type: '' }
  return encodeLetter(writeLetter({ registry, keyPair, ...fields, body: encodeBody(BODY) }))
}

const ends: Record<string, () => Promise<unknown>> = {
  async reader() {
    const peer = Peer({ registryPublicKey, bootstrap, dir })
    peer.on('message', async () => {})
    await peer.setup()
    process.stdout.write(`at=${peer.key}\n`)
    await once(process, 'SIGTERM')
  },
  direct: () => writeTo(true),
  'one hop': () => writeTo(false),
  async 'bare server'() {
    // It answers each letter with as many bytes as a receipt has.
    const server = createServer((socket) => {
      let waiting = 0
      socket.on('data', ({ byteLength }) => {
        waiting += byteLength
        for (; waiting >= LETTER_BYTES; waiting -= LETTER_BYTES) socket.write(RECEIPT)
      })
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    process.stdout.write(`at=${(server.address() as { port: number }).port}\n`)
    await once(process, 'SIGTERM')
  },
  async bare() {
    const socket = dial(Number(at), '127.0.0.1').setNoDelay()
    await once(socket, 'connect')
    const waiting: (() => void)[] = []
    let bytes = 0
    socket.on('data', ({ byteLength }) => {
      bytes += byteLength
      for (; bytes >= RECEIPT.byteLength; bytes -= RECEIPT.byteLength) waiting.shift()?.()
    })
    const letter = Buffer.alloc(LETTER_BYTES)
    await measure(() => {
      socket.write(letter)
      return new Promise<void>((resolve) => waiting.push(resolve))
    })
  },
  async cryptography() {
    const [alice, bob, registry] = [KeyPair(), KeyPair(), KeyPair().publicKey]
    const keys = [boxKeyPairOf(bob)]
    await measure(async () => {
      const bytes = letterOf(alice, bob.publicKey, registry)
      const isOpened = openLetter(decodeLetter(bytes), keys) !== null
      if (!isLetterSigned(registry, bytes) || !isOpened) throw new Error('forged')
    })
  },
  async mailbox() {
    const [keyPair, registry] = [KeyPair(), KeyPair().publicKey]
    const segments = new Segments(dir, { maxBytes: 2 ** 30 })
    const mailbox = new Mailbox({
      ...{ registry, keyPair, segments, maxBytes: 2 ** 30, mayWrite: () => true },
      limits: {
        senderLetters: 1e6,
        senderBytes: 2 ** 30,
        receiverLetters: 1e6,
        receiverBytes: 2 ** 30
      }
    })
    await mailbox.load()
    // They are written by others, and so before the clock runs.
    const letters = Array.from({ length: WARM_UP_PUTS + STORED }, () =>
      letterOf(keyPair, KEY, registry)
    )
    await report({
      puts: await putRate(async () => void (await mailbox.keep(letters.pop() ?? NONE)))
    })
  },
  async jetstream() {
    const nats = await connect({ servers: at })
    const manager = await nats.jetstreamManager()
    await manager.streams.add({ name: 'letters', subjects: ['letters'] })
    const stream = nats.jetstream()
    const letter = Buffer.alloc(LETTER_BYTES, 1)
    await report({
      puts: await putRate(async () => void (await stream.publish('letters', letter)))
    })
    await nats.close()
  }
}

const STORED = 20_000
/** Whoever stores for months is warm: code is compiled, and threads have started. */
const WARM_UP_PUTS = 4000
const NONE = Buffer.alloc(0)
const KEY = KeyPair().publicKey
const LETTER_BYTES = letterOf(KeyPair(), KEY, KEY).byteLength
const RECEIPT = Buffer.alloc(169)

async function writeTo(links: boolean) {
  const peer = Peer({ registryPublicKey, bootstrap, dir, links })
  await peer.setup()
  await measure(async () => (await peer.send(at, BODY)).delivered)
  await peer.destroy()
}

await ends[what ?? '']?.()
process.exit()
