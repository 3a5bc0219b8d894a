import { randomBytes } from 'node:crypto'
import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { boxKeyOf } from '../../../lib/core/sealed-box.js'
import { encodeBody } from '../../../lib/messaging/body.js'
import { Forwarder, type ForwarderOptions } from '../../../lib/messaging/mail/forwarder.js'
import {
  decodeLetter,
  encodeLetter,
  type LetterTerms,
  writeLetter
} from '../../../lib/messaging/mail/letter.js'
import { encodeMemberFrame } from '../../../lib/messaging/mail/member-frames.js'
import { encodeReceipt, type Receipt, signReceipt } from '../../../lib/messaging/mail/receipt.js'

const registry = KeyPair().publicKey
const SIZE = 60 * 1024
/** For a search that finds nobody. */
const BRIEF = { seekTimeout: 200 }

interface Node {
  name: string
  keyPair: KeyPair
  forwarder: Forwarder
  /** The ids of letters that came. */
  letters: string[]
  receipts: Receipt[]
  isDead: boolean
}

/** Members in memory, of whom only some are connected. */
function members(edges: string, options: Partial<ForwarderOptions> = {}) {
  const nodes = new Map<string, Node>()
  const traffic = { frames: 0, bytes: 0 }
  const links = edges.split(' ').map((edge) => edge.split('-') as [string, string])
  const holders = new Map<string, string>()
  const neighboursOf = (name: string) =>
    links
      .filter((link) => link.includes(name))
      .map(([one, other]) => nodes.get(one === name ? other : one) as Node)
      .filter(({ isDead }) => !isDead && !nodes.get(name)?.isDead)
      .map((node) => ({
        key: node.name,
        send: (frame: Buffer) => {
          traffic.frames++
          traffic.bytes += frame.byteLength
          const from = neighboursOf(node.name).find(({ key }) => key === name)
          setImmediate(() => from && !node.isDead && node.forwarder.receive(from, frame))
          return true
        }
      }))
  for (const name of new Set(links.flat())) {
    const keyPair = KeyPair()
    const key = toHex(keyPair.publicKey)
    const forwarder = new Forwarder({
      registry,
      neighbours: () => neighboursOf(name),
      holderOf: (key) => holders.get(key) ?? null,
      mayWrite: () => true,
      takenTimeout: 10_000,
      hopTimeout: 10_000,
      seekTimeout: 10_000,
      ...options
    })
    const node: Node = { name, keyPair, forwarder, letters: [], receipts: [], isDead: false }
    nodes.set(name, node)
    holders.set(key, name)
    forwarder.attach(key, {
      take: async (bytes) => {
        const { id, from } = decodeLetter(bytes)
        node.letters.push(id)
        const fields = { id, to: from, status: 'delivered', code: '', at: 1 } as const
        return signReceipt(registry, keyPair, fields)
      },
      onreceipt: (receipt) => node.receipts.push(receipt)
    })
  }
  const of = (name: string) => nodes.get(name) as Node
  return { of, traffic, neighboursOf, all: [...nodes.values()] }
}

function write(from: Node, to: Node, terms: Partial<LetterTerms> = {}) {
  const id = toHex(randomBytes(32))
  const letter = writeLetter({
    registry,
    keyPair: from.keyPair,
    id,
    to: toHex(to.keyPair.publicKey),
    sealTo: boxKeyOf(to.keyPair.publicKey),
    sentAt: Date.now(),
    expiresAt: Date.now() + 60_000,
    type: '',
    body: encodeBody(Buffer.alloc(SIZE)),
    ...terms
  })
  return { id: terms.id ?? id, bytes: encodeLetter(letter) }
}

/** Until all that is under way has come. */
async function settle() {
  for (let i = 0; i < 50; i++) await new Promise(setImmediate)
}

t.test('a letter goes by who is in between, and its receipt comes back the same way', async (t) => {
  for (const edges of ['a-b b-c', 'a-b b-d d-c', 'a-b b-d d-e e-c']) {
    const { of, traffic } = members(edges)
    const [a, c] = [of('a'), of('c')]
    const { id, bytes } = write(a, c)
    await a.forwarder.send(bytes)
    await settle()
    t.same(c.letters, [id], edges)
    t.match(a.receipts, [{ id, status: 'delivered', from: toHex(c.keyPair.publicKey) }])
    const hops = edges.split(' ').length
    t.ok(traffic.bytes <= hops * 66 * 1024 + 100 * 20, `${traffic.bytes} bytes over ${hops} hops`)
    const { frames } = traffic
    await a.forwarder.send(write(a, c).bytes)
    await settle()
    t.equal(c.letters.length, 2)
    t.ok(traffic.frames - frames <= hops * 3, 'the way is known then')
  }
})

t.test('in a ring and in a mesh of 20 a letter comes once, over few connections', async (t) => {
  const ring = members('a-b b-c c-d d-e e-f f-a')
  const mesh = members(
    Array.from({ length: 20 }, (_, i) =>
      [1, 3, 7].map((step) => `n${i}-n${(i + step) % 20}`).join(' ')
    ).join(' ')
  )
  for (const [net, from, to] of [[ring, 'a', 'd'] as const, [mesh, 'n0', 'n10'] as const]) {
    const { id, bytes } = write(net.of(from), net.of(to))
    await net.of(from).forwarder.send(bytes)
    await settle()
    t.same(net.of(to).letters, [id])
    t.equal(net.of(from).receipts.length, 1)
    t.ok(net.traffic.bytes <= 5 * 66 * 1024 + 100 * 60 * 2, `${net.traffic.bytes} bytes`)
  }
})

t.test('a letter goes so many hops and no further, and circles end', async (t) => {
  const { of, traffic } = members('a-b b-c c-d d-e e-f')
  const { bytes } = write(of('a'), of('f'))
  await t.rejects(of('a').forwarder.send(bytes), { code: 'LINK_LOST' })
  await t.rejects(of('a').forwarder.send(bytes, 0), { code: 'LINK_LOST' })
  await of('a').forwarder.send(write(of('a'), of('f')).bytes, 5)
  await settle()
  t.equal(of('f').letters.length, 1)

  const ring = members('a-b b-c c-a', BRIEF)
  const nobody = { ...of('f'), keyPair: KeyPair() }
  await t.rejects(ring.of('a').forwarder.send(write(ring.of('a'), nobody).bytes, 8))
  await settle()
  t.ok(ring.traffic.frames < 30, `${ring.traffic.frames} frames`)
  t.ok(traffic.frames < 60)
})

t.test('who dies on the way is gone around when the letter is repeated', async (t) => {
  const { of } = members('a-b b-c a-d d-c')
  const [a, c] = [of('a'), of('c')]
  await a.forwarder.send(write(a, c).bytes)
  await settle()
  const way = of('b').forwarder.stats.passed === 1 ? of('b') : of('d')
  way.isDead = true
  await a.forwarder.send(write(a, c).bytes)
  await settle()
  t.equal(c.letters.length, 2)
})

t.test('one who says that a letter was taken and lets it vanish is gone around, too', async (t) => {
  const { of } = members('a-b b-c a-d d-c', { hopTimeout: 0 })
  const [a, b, c, d] = [of('a'), of('b'), of('c'), of('d')]
  const liar = b.forwarder.receive.bind(b.forwarder)
  b.forwarder.receive = (from, frame) => {
    if (frame[0] !== 3) return liar(from, frame)
    const { id } = decodeLetter(frame.subarray(2))
    from.send(encodeMemberFrame({ type: 'taken', id }))
  }
  const { id, bytes } = write(a, c)
  for (let i = 0; i < 3 && c.letters.length === 0; i++) {
    await a.forwarder.send(bytes)
    await settle()
  }
  t.same(c.letters, [id])
  t.equal(d.forwarder.stats.passed, 1)
})

t.test('who does not pass on takes its own letters all the same', async (t) => {
  const { of, all } = members('a-b b-c', BRIEF)
  for (const { forwarder } of all) forwarder.forwards = false
  await t.rejects(of('a').forwarder.send(write(of('a'), of('c')).bytes), { code: 'LINK_LOST' })
  await of('a').forwarder.send(write(of('a'), of('b')).bytes)
  t.equal(of('b').letters.length, 1)
})

t.test('forged, foreign and expired letters and receipts go no further', async (t) => {
  const { of, neighboursOf } = members('a-b b-c')
  const [a, b, c] = [of('a'), of('b'), of('c')]
  const mallory = { ...a, keyPair: KeyPair() }
  const forged = decodeLetter(write(mallory, c).bytes)
  const from = toHex(a.keyPair.publicKey)
  const old = Date.now() - 3_600_000
  const [toB] = neighboursOf('a')
  for (const bytes of [
    encodeLetter({ ...forged, from }),
    write(a, c, { registry: mallory.keyPair.publicKey }).bytes,
    write(a, c, { sentAt: old, expiresAt: old + 1 }).bytes,
    Buffer.from('no letter')
  ]) {
    toB?.send(encodeMemberFrame({ type: 'letter', hops: 3, letter: bytes }))
  }
  await settle()
  t.equal(b.forwarder.stats.dropped, 4)

  const { id, bytes } = write(a, c)
  await a.forwarder.send(bytes)
  await settle()
  const lie = signReceipt(registry, mallory.keyPair, {
    id,
    to: from,
    status: 'refused',
    code: 'NOT_ALLOWED',
    at: 1
  })
  const [fromC] = neighboursOf('c')
  const claimed = { ...lie, from: toHex(c.keyPair.publicKey) }
  fromC?.send(encodeMemberFrame({ type: 'receipt', receipt: encodeReceipt(claimed) }))
  fromC?.send(encodeMemberFrame({ type: 'receipt', receipt: Buffer.from('none') }))
  await settle()
  t.equal(a.receipts.length, 1, 'the true one')
  t.equal(b.forwarder.stats.dropped, 6)
})

t.test('a flooder is held to its quota, and spends nothing of others', async (t) => {
  const limits = { senderRate: 1, senderBurst: 5, neighbourRate: 50, seekRate: 10 }
  const { of, neighboursOf } = members('a-b m-b b-c', { limits })
  const [a, b, c, m] = [of('a'), of('b'), of('c'), of('m')]
  const [toB] = neighboursOf('m')
  // All are written before the first is sent: quotas refill with time.
  const letters = Array.from({ length: 20 }, () => write(m, c, { body: encodeBody('x') }).bytes)
  const forgeries = Array.from({ length: 200 }, () => {
    const fresh = { ...m, keyPair: KeyPair() }
    const letter = decodeLetter(write(fresh, c, { body: encodeBody('x') }).bytes)
    return encodeLetter({ ...letter, from: toHex(a.keyPair.publicKey) })
  })
  const flood = (letters: Buffer[]) => {
    for (const letter of letters) {
      toB?.send(encodeMemberFrame({ type: 'letter', hops: 3, letter }))
    }
  }
  flood(letters)
  await settle()
  t.equal(c.letters.length, 5, 'of one writer')
  flood(forgeries)
  await settle()
  t.ok(b.forwarder.stats.dropped <= 100, 'of one neighbour, whatever keys it makes')
  const question = '01'.repeat(7)
  for (let i = 0; i < 200; i++) {
    const nobody = toHex(randomBytes(32))
    const asked = question + i.toString(16).padStart(2, '0')
    toB?.send(encodeMemberFrame({ type: 'seek', question: asked, to: nobody, hops: 4 }))
  }
  await settle()
  t.ok(b.forwarder.stats.limited >= 200)
  await a.forwarder.send(write(a, c).bytes)
  await settle()
  t.equal(c.letters.length, 6, 'others go through')
})

t.test('of one writer so many bytes are passed on, too', async (t) => {
  const { of } = members('a-b b-c', { limits: { senderBytes: 100 * 1024 } })
  const [a, b, c] = [of('a'), of('b'), of('c')]
  for (let i = 0; i < 3; i++) await a.forwarder.send(write(a, c).bytes)
  await t.rejects(a.forwarder.send(write(a, c).bytes), { code: 'LINK_LOST' })
  await settle()
  t.equal(c.letters.length, 3)
  t.equal(b.forwarder.stats.limited, 1)
})

t.test('what is no frame is refused, and what is of a later version is passed by', async (t) => {
  const { of, neighboursOf } = members('a-b')
  const [toA] = neighboursOf('b')
  if (!toA) throw new Error('no neighbour')
  const { forwarder } = of('a')
  for (const bad of [
    Buffer.from([1]),
    Buffer.from([2, 0]),
    Buffer.from([4, 1]),
    Buffer.alloc(90, 6)
  ]) {
    t.throws(() => forwarder.receive(toA, bad), { code: 'BAD_MESSAGE' })
  }
  t.doesNotThrow(() => forwarder.receive(toA, Buffer.from([99, 1])))
  t.doesNotThrow(() => forwarder.receive(toA, Buffer.alloc(0)))
})
