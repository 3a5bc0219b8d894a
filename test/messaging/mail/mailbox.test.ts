import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { boxKeyOf } from '../../../lib/core/sealed-box.js'
import { Admin, type LetterReceipt, Peer } from '../../../lib/index.js'
import { encodeBody } from '../../../lib/messaging/body.js'
import {
  decodeLetter,
  encodeLetter,
  type LetterTerms,
  writeLetter
} from '../../../lib/messaging/mail/letter.js'
import { Mailbox, type MailboxOptions } from '../../../lib/messaging/mail/mailbox.js'
import { isReceiptSigned, type Receipt, signReceipt } from '../../../lib/messaging/mail/receipt.js'
import { Segments } from '../../../lib/messaging/mail/segments.js'
import { restWhile } from '../../rest.js'
import { collect, mailHarbor, receiptsOf } from './harbor.js'

const registry = KeyPair().publicKey
const [alice, bob, keeper] = [KeyPair(), KeyPair(), KeyPair()]
const NOW = Date.UTC(2030, 0, 1)
const HOUR = 3_600_000
const MIB = 1024 * 1024

async function mailboxOf(t: Test, options: Partial<MailboxOptions> = {}, dir?: string) {
  const folder = dir ?? (await mkdtemp(join(tmpdir(), 'hyperseaport-mail-')))
  const segments = new Segments(folder, { maxBytes: MIB })
  t.teardown(async () => {
    await segments.close()
    await rm(folder, { recursive: true, force: true })
  })
  const clock = { now: NOW }
  const mailbox = new Mailbox({
    registry,
    keyPair: keeper,
    segments,
    maxBytes: MIB,
    mayWrite: () => true,
    now: () => clock.now,
    ...options
  })
  await mailbox.load()
  return { mailbox, clock, segments, folder }
}

function write(extra: Partial<LetterTerms> = {}) {
  return encodeLetter(
    writeLetter({
      registry,
      keyPair: alice,
      id: toHex(randomBytes(32)),
      to: toHex(bob.publicKey),
      sealTo: boxKeyOf(bob.publicKey),
      sentAt: NOW,
      expiresAt: NOW + HOUR,
      type: '',
      body: encodeBody('hello'),
      ...extra
    })
  )
}

async function lettersTo({ publicKey }: KeyPair, mailbox: Mailbox) {
  const letters: Buffer[] = []
  for await (const letter of mailbox.lettersTo(toHex(publicKey))) letters.push(letter)
  return letters
}

t.test(
  'a mailbox signs that it keeps a letter, and gives all in the order of writing',
  async (t) => {
    const { mailbox, segments, folder } = await mailboxOf(t)
    const [later, earlier] = [write({ sentAt: NOW + 2 }), write({ sentAt: NOW + 1 })]
    const receipt = await mailbox.keep(later)
    t.match(receipt, {
      status: 'queued',
      from: toHex(keeper.publicKey),
      id: decodeLetter(later).id
    })
    t.ok(isReceiptSigned(registry, receipt))
    await mailbox.keep(earlier)
    await mailbox.keep(earlier)
    t.equal(mailbox.stats.letters, 2)
    await segments.close()
    const { mailbox: again } = await mailboxOf(t, {}, folder)
    t.same(await lettersTo(bob, again), [earlier, later], 'also after a restart')
    t.same(await lettersTo(alice, again), [])
  }
)

t.test(
  'a letter is dropped on its receiver’s receipt, on its writer’s word, and when it expires',
  async (t) => {
    const { mailbox, clock } = await mailboxOf(t)
    const [one, two, three] = [write(), write(), write()]
    for (const letter of [one, two, three]) await mailbox.keep(letter)
    const { id } = decodeLetter(one)
    const fields = {
      id,
      to: toHex(alice.publicKey),
      status: 'delivered',
      code: '',
      at: NOW
    } as const
    await mailbox.settle(signReceipt(registry, alice, fields))
    await mailbox.settle({ ...signReceipt(registry, alice, fields), from: toHex(bob.publicKey) })
    await mailbox.settle(signReceipt(registry, bob, { ...fields, status: 'queued' }))
    t.equal(mailbox.stats.letters, 3, 'others’ words count for nothing')
    await mailbox.settle(signReceipt(registry, bob, fields))
    t.equal(mailbox.stats.letters, 2)
    await mailbox.recall(decodeLetter(two).id, toHex(bob.publicKey))
    t.equal(mailbox.stats.letters, 2)
    await mailbox.recall(decodeLetter(two).id, toHex(alice.publicKey))
    t.same(await lettersTo(bob, mailbox), [three])
    clock.now = NOW + 2 * HOUR
    await mailbox.sweep()
    t.match(mailbox.stats, { letters: 0, bytes: 0, expired: 1 })
  }
)

t.test('a mailbox keeps so much, of one writer, for one receiver and in all', async (t) => {
  const limits = { receiverLetters: 3, senderLetters: 2 }
  const { mailbox } = await mailboxOf(t, { limits, maxBytes: 3000 })
  await mailbox.keep(write())
  await mailbox.keep(write())
  await t.rejects(mailbox.keep(write()), { code: 'LIMIT_REACHED' }, 'of one writer')
  await mailbox.keep(write({ keyPair: KeyPair() }))
  await mailbox.keep(write({ keyPair: KeyPair() }))
  t.match(
    mailbox.stats,
    { letters: 3, dropped: 1 },
    'for one receiver, where who has most gives way'
  )
  await t.rejects(mailbox.keep(write({ keyPair: KeyPair() })), { code: 'LIMIT_REACHED' })
  const other = { keyPair: KeyPair(), to: toHex(KeyPair().publicKey) }
  const body = encodeBody(Buffer.alloc(2000))
  await t.rejects(mailbox.keep(write({ ...other, body })), { code: 'LIMIT_REACHED' }, 'in all')
  await mailbox.keep(write(other))
  t.match(mailbox.stats, { letters: 4, refused: 3 })
})

t.test(
  'a mailbox keeps no forged, foreign or expired letter, and none of who may not write',
  async (t) => {
    const { mailbox } = await mailboxOf(t, { mayWrite: (from) => from === toHex(alice.publicKey) })
    const forged = { ...decodeLetter(write({ keyPair: bob })), from: toHex(alice.publicKey) }
    for (const [letter, code] of [
      [encodeLetter(forged), 'BAD_SIGNATURE'],
      [write({ registry: bob.publicKey }), 'BAD_SIGNATURE'],
      [write({ keyPair: bob }), 'BAD_SIGNATURE'],
      [write({ sentAt: NOW + HOUR, expiresAt: NOW + 2 * HOUR }), 'BAD_DATE'],
      [write({ sentAt: NOW - 2 * HOUR, expiresAt: NOW - HOUR }), 'EXPIRED'],
      [Buffer.from('none'), 'BAD_MESSAGE']
    ] as const) {
      await t.rejects(mailbox.keep(letter), { code })
    }
  }
)

t.test(
  'who is away has its letters from mailboxes when it is back, in order, once, and though their writer left',
  async (t) => {
    const { peer, options } = await mailHarbor(t)
    const [one, two, writer] = [
      await peer({ store: MIB }),
      await peer({ store: MIB }),
      await peer()
    ]
    const keyPair = KeyPair()
    await restWhile(() => writer.peers().length < 2)
    const queued: Receipt['from'][] = []
    const letters = []
    for (const n of [1, 2, 3]) {
      const letter = await writer.send(keyPair.publicKey, n)
      const receipts = receiptsOf(letter)
      await restWhile(() => receipts.length < 2)
      queued.push(...receipts.map(({ by }) => `${by}`))
      t.ok(receipts.every(({ status }) => status === 'queued'))
      letters.push(letter)
    }
    t.same(new Set(queued), new Set([one.key, two.key]))
    await writer.destroy()
    const back = Peer({ ...(await options()), keyPair })
    t.teardown(() => back.destroy())
    const { messages, count } = collect(back)
    await back.setup()
    await count(3)
    const given = () => [one, two].map((peer) => peer.getStats().mail.mailbox?.given)
    await restWhile(() => given().some((letters) => letters !== 3))
    t.same(
      messages.map(({ body, from }) => [body, from]),
      [1, 2, 3].map((n) => [n, writer.key])
    )
  }
)

t.test(
  'a full mailbox drops from whoever has most in it, and signs for nobody in vain',
  async (t) => {
    const { mailbox } = await mailboxOf(t, { maxBytes: 4000 })
    const [first, ...more] = [write(), write(), write(), write(), write(), write()]
    for (const letter of [first, ...more] as Buffer[]) {
      await mailbox.keep(letter).catch(() => {})
    }
    const { letters: most } = mailbox.stats
    t.ok(most < 6, `${most} fit`)
    await t.rejects(mailbox.keep(write()), { code: 'LIMIT_REACHED' }, 'not at its own cost')
    await mailbox.keep(write({ keyPair: KeyPair() }))
    t.match(mailbox.stats, { letters: most, dropped: 1 })
    t.same((await lettersTo(bob, mailbox))[0], first, 'the last one went')
  }
)

t.test('what was ended is not kept again, whoever hands it over', async (t) => {
  const { mailbox } = await mailboxOf(t)
  const [one, two] = [write(), write()]
  await mailbox.keep(one)
  await mailbox.recall(decodeLetter(one).id, toHex(alice.publicKey))
  await t.rejects(mailbox.keep(one), { code: 'RECALLED' })
  await mailbox.recall(decodeLetter(two).id, toHex(bob.publicKey))
  await mailbox.keep(two)
  t.equal(mailbox.stats.letters, 1, 'others take nothing back')
})

t.test('letters move as mailboxes come and go, so that three keep each', async (t) => {
  const { peer } = await mailHarbor(t)
  const keepers = [await peer({ store: MIB, handover: 50 })]
  const writer = await peer()
  await restWhile(() => writer.peers().length < 1)
  const letters = []
  for (let i = 0; i < 5; i++) {
    const letter = await writer.send(KeyPair().publicKey, i)
    const receipts = receiptsOf(letter)
    await restWhile(() => receipts.length < 1)
    letters.push(letter)
  }
  await writer.destroy()
  const total = () =>
    keepers.reduce((sum, keeper) => sum + (keeper.getStats().mail.mailbox?.letters ?? 0), 0)
  keepers.push(await peer({ store: MIB, handover: 50 }), await peer({ store: MIB, handover: 50 }))
  await restWhile(() => total() !== 15)
  keepers.push(await peer({ store: MIB, handover: 50 }), await peer({ store: MIB, handover: 50 }))
  const moved = () => keepers.some((keeper) => (keeper.getStats().mail.mailbox?.moved ?? 0) > 0)
  await restWhile(() => !moved() || total() !== 15)
  t.pass('who is not among the three any more gives away what the three have')
  await keepers.shift()?.destroy()
  await restWhile(() => total() !== 15)
})

t.test(
  'a blocked key’s letters leave their mailbox when its receiver has refused them',
  async (t) => {
    const { peer, options } = await mailHarbor(t)
    const keyPair = KeyPair()
    const keeper = await peer({ store: MIB })
    const writer = await peer()
    const dir = (await options()).dir
    const receiver = await peer({ keyPair, dir })
    await receiver.block(writer.key)
    await receiver.destroy()
    await restWhile(() => writer.peers().some(({ key }) => key === receiver.key))
    const letter = await writer.send(keyPair.publicKey, 'x')
    const receipts = receiptsOf(letter)
    await restWhile(() => receipts.length < 1)
    t.equal(receipts[0]?.by, keeper.key)
    const { messages } = collect(await peer({ keyPair, dir }))
    await t.rejects(letter.delivered, { code: 'NOT_ALLOWED' })
    await restWhile(() => keeper.getStats().mail.mailbox?.letters !== 0)
    t.same(messages, [])
  }
)

t.test(
  'a receipt travels as a letter when its writer is away, and waits for it in mailboxes',
  async (t) => {
    const { peer, options } = await mailHarbor(t)
    const [reader, author] = [KeyPair(), KeyPair()]
    const keeper = await peer({ store: MIB })
    const { dir } = await options()
    const writer = await peer({ keyPair: author, dir })
    await restWhile(() => writer.peers().length < 1)
    const { id, ...letter } = await writer.send(reader.publicKey, 'x')
    t.ok(letter)
    await restWhile(() => keeper.getStats().mail.mailbox?.letters !== 1)
    await writer.destroy()
    const receiver = await peer({ keyPair: reader })
    const { count } = collect(receiver)
    await count(1)
    // The receipt has taken the letter's place.
    await restWhile(() => keeper.getStats().mail.mailbox?.given !== 1)
    await restWhile(() => keeper.getStats().mail.mailbox?.letters !== 1)
    await receiver.destroy()
    const back = Peer({ ...(await options()), keyPair: author, dir })
    t.teardown(() => back.destroy())
    const { messages } = collect(back)
    const receipts: LetterReceipt[] = []
    back.on('receipt', (receipt) => receipts.push(receipt))
    await back.setup()
    await restWhile(() => receipts.every(({ status }) => status === 'queued'))
    t.match(receipts.at(-1), { id, status: 'delivered', by: receiver.key })
    t.same(messages, [], 'which nobody reads as a letter')
    t.same(await back.outbox(), [])
  }
)

t.test('a letter that is taken back is kept nowhere', async (t) => {
  const { peer } = await mailHarbor(t)
  const [keeper, writer] = [await peer({ store: MIB }), await peer()]
  await restWhile(() => writer.peers().length < 1)
  const letter = await writer.send(KeyPair().publicKey, 'x')
  const receipts = receiptsOf(letter)
  await restWhile(() => receipts.length < 1)
  t.equal(keeper.getStats().mail.mailbox?.letters, 1)
  await writer.recall(letter.id)
  await restWhile(() => keeper.getStats().mail.mailbox?.letters !== 0)
  t.equal(keeper.getStats().mail.mailbox?.recalled, 1)
})

t.test(
  'what a key wrote before it was put out is delivered with a mark, and nothing that it writes later',
  async (t) => {
    const { seed, peer, options, testbed } = await mailHarbor(t, { isPrivate: true })
    const admin = Admin({ seed, bootstrap: testbed.bootstrap, dir: await testbed.dir() })
    t.teardown(() => admin.destroy())
    await admin.setup()
    const [one, two, three] = [KeyPair(), KeyPair(), KeyPair()]
    for (const { publicKey } of [one, two, three]) {
      await admin.grant(publicKey, { consume: ['couchdb'] })
    }
    const mailbox = await peer({ keyPair: one, store: MIB })
    const writer = await peer({ keyPair: two })
    await restWhile(() => writer.peers().length < 1)
    const letter = await writer.send(three.publicKey, 'before')
    const receipts = receiptsOf(letter)
    await restWhile(() => receipts.length < 1)
    await writer.destroy()
    await admin.revoke(two.publicKey)
    const reader = Peer({ ...(await options()), keyPair: three })
    t.teardown(() => reader.destroy())
    const { messages, count } = collect(reader)
    await reader.setup()
    await count(1)
    t.match(messages, [{ body: 'before', from: writer.key, revoked: true }])
    await restWhile(() => mailbox.getStats().mail.mailbox?.letters !== 0)
    t.equal(reader.getStats().mail.outbox.waiting?.letters, 0, 'no receipt is left to bring')
  }
)
