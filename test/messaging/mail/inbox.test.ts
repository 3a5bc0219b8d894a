import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { boxKeyOf } from '../../../lib/core/sealed-box.js'
import { encodeBody } from '../../../lib/messaging/body.js'
import { CALL_LETTER } from '../../../lib/messaging/mail/call-letters.js'
import {
  Inbox,
  type InboxOptions,
  type InboxSlip,
  type MailMessage
} from '../../../lib/messaging/mail/inbox.js'
import {
  encodeLetter,
  type LetterTerms,
  MAX_TTL_MS,
  writeLetter
} from '../../../lib/messaging/mail/letter.js'
import { BOX_LIMITS, LetterBox } from '../../../lib/messaging/mail/letter-box.js'
import { MailStore } from '../../../lib/messaging/mail/mail-store.js'
import { Outbox } from '../../../lib/messaging/mail/outbox.js'
import { Prekeys } from '../../../lib/messaging/mail/prekeys.js'
import { isReceiptSigned, type Receipt, signReceipt } from '../../../lib/messaging/mail/receipt.js'
import { SeenIds } from '../../../lib/messaging/mail/seen-ids.js'
import { restWhile } from '../../rest.js'
import { deferred } from '../bay.js'

const registry = KeyPair().publicKey
const [alice, bob, mallory] = [KeyPair(), KeyPair(), KeyPair()]
const NOW = Date.UTC(2030, 0, 1)
const HOUR = 3_600_000

async function store(t: Test): Promise<MailStore> {
  const dir = await mkdtemp(join(tmpdir(), 'hyperseaport-mail-'))
  const store = new MailStore(dir)
  await store.open()
  t.teardown(async () => {
    await store.close()
    await rm(dir, { recursive: true, force: true })
  })
  return store
}

/** Bob's inbox, whose handler tells what it was given. */
async function inboxOf(t: Test, options: Partial<InboxOptions> = {}) {
  const kept = await store(t)
  const handled: MailMessage[] = []
  const prekeys = new Prekeys(kept, bob)
  await prekeys.load(NOW)
  const clock = { now: NOW }
  const inbox = new Inbox({
    registry,
    keyPair: bob,
    box: new LetterBox(kept, 'inbox', BOX_LIMITS),
    seen: new SeenIds(kept),
    prekeys,
    denialOf: () => null,
    handler: () => async (message) => handled.push(message),
    onnotice: () => {},
    now: () => clock.now,
    ...options
  })
  t.teardown(() => inbox.close())
  /** Resolves with the receipt, whenever it comes. */
  const bring = (letter: Buffer) =>
    new Promise<Receipt>((resolve, reject) => {
      const tell = (receipt: Receipt) => {
        resolve(receipt)
        return true
      }
      inbox.receive(letter, tell).then((receipt) => receipt && resolve(receipt), reject)
    })
  return { inbox, handled, bring, clock, prekeys }
}

function terms(extra: Partial<LetterTerms> = {}): LetterTerms {
  return {
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
  }
}

const write = (extra: Partial<LetterTerms> = {}) => encodeLetter(writeLetter(terms(extra)))

t.test(
  'what is no letter to us is dropped and counted, and nothing is signed for it',
  async (t) => {
    const { inbox, bring, handled } = await inboxOf(t)
    const forged = { ...writeLetter(terms({ keyPair: mallory })), from: toHex(alice.publicKey) }
    const taken = { ...writeLetter(terms({ keyPair: mallory })), box: writeLetter(terms()).box }
    const resigned = writeLetter(terms({ keyPair: mallory }))
    const bad: [Buffer, string][] = [
      [encodeLetter(forged), 'BAD_SIGNATURE'],
      [encodeLetter(taken), 'BAD_SIGNATURE'],
      [write({ registry: mallory.publicKey }), 'BAD_SIGNATURE'],
      [write({ to: toHex(mallory.publicKey) }), 'BAD_MESSAGE'],
      [write({ sentAt: NOW + HOUR, expiresAt: NOW + 2 * HOUR }), 'BAD_DATE'],
      [write({ expiresAt: NOW + MAX_TTL_MS + 1 }), 'BAD_DATE'],
      [write({ body: { kind: 'json', bytes: Buffer.from('{') } }), 'BAD_MESSAGE'],
      [write({ body: { kind: 'json', bytes: Buffer.alloc(1000, '[') } }), 'BAD_MESSAGE'],
      [Buffer.from('letter'), 'BAD_MESSAGE']
    ]
    for (const [letter, code] of bad) await t.rejects(bring(letter), { code }, code)
    t.equal(inbox.stats.dropped, bad.length)
    t.equal((await bring(encodeLetter(resigned))).status, 'delivered', 'its own words it may send')
    t.equal(handled.length, 1)
  }
)

t.test('a letter that comes ten thousand times is handled once', async (t) => {
  const { inbox, bring, handled } = await inboxOf(t)
  const letter = write()
  const first = bring(letter)
  const ignored = () => false
  await Promise.all(Array.from({ length: 100 }, () => inbox.receive(letter, ignored)))
  t.match(await first, { status: 'delivered' })
  for (let i = 0; i < 99; i++) {
    await Promise.all(Array.from({ length: 100 }, () => bring(letter)))
  }
  t.equal(handled.length, 1)
  t.equal(inbox.stats.taken, 1)
})

t.test('a letter that comes again while its handler ends has its receipt once', async (t) => {
  const kept = await store(t)
  const [box, seen] = [new LetterBox<InboxSlip>(kept, 'inbox', BOX_LIMITS), new SeenIds(kept)]
  const [handling, looking, handled] = [deferred(), deferred(), deferred()]
  const byLetter: Receipt[] = []
  const { inbox, bring } = await inboxOf(t, {
    box,
    seen,
    handler: () => () => handling.promise,
    tellByLetter: (receipt) => byLetter.push(receipt)
  })
  const letter = write()
  t.equal(await inbox.receive(letter, () => false), null, 'whoever brought it is gone')
  const { get } = seen
  seen.get = async (id) => {
    const known = await get.call(seen, id)
    looking.resolve()
    await handled.promise
    return known
  }
  const again = bring(letter)
  await looking.promise
  handling.resolve()
  await restWhile(() => box.list().length > 0)
  await new Promise(setImmediate)
  seen.get = get
  handled.resolve()
  t.match(await again, { status: 'delivered' })
  t.same(byLetter, [])
})

t.test(
  'the ids of letters are forgotten once they are of use no more, and not before',
  async (t) => {
    const { bring, clock, handled } = await inboxOf(t)
    const letter = write()
    const receipt = await bring(letter)
    clock.now = NOW + 2 * HOUR
    t.same(await bring(letter), receipt, 'it is remembered yet')
    t.match(await bring(write()), { status: 'refused', code: 'EXPIRED' })
    t.equal(handled.length, 1)
  }
)

t.test('what cannot be opened is refused with a code, and so is who may not write', async (t) => {
  const { bring } = await inboxOf(t, {
    denialOf: (from) => (from === toHex(mallory.publicKey) ? 'NOT_GRANTED' : null)
  })
  const elsewhere = write({ sealTo: boxKeyOf(mallory.publicKey) })
  const refused = await bring(elsewhere)
  t.match(refused, { status: 'refused', code: 'UNREADABLE', from: toHex(bob.publicKey) })
  t.ok(isReceiptSigned(registry, refused))
  t.match(await bring(write({ keyPair: mallory })), { code: 'NOT_GRANTED' })
})

t.test('a letter that was sealed to a prekey is read', async (t) => {
  const { bring, prekeys, handled } = await inboxOf(t)
  await bring(write({ sealTo: Buffer.from(prekeys.current, 'hex') }))
  t.match(handled, [{ body: 'hello', from: toHex(alice.publicKey) }])
})

t.test(
  'letters of one writer are handled one after the other, those of two side by side',
  async (t) => {
    const running = new Set<string>()
    let both = () => {}
    const overlap = new Promise<void>((resolve) => {
      both = resolve
    })
    const { bring } = await inboxOf(t, {
      handler: () => async (message) => {
        t.notOk(running.has(message.from))
        running.add(message.from)
        if (running.size === 2) both()
        await overlap
        await new Promise(setImmediate)
        running.delete(message.from)
      }
    })
    const letters = [write(), write(), write({ keyPair: mallory })]
    await Promise.all(letters.map(bring))
  }
)

/** Alice's outbox, whose letters come to whoever answers them. */
async function outboxTo(t: Test, answer: (attempt: number, letter: Buffer) => Receipt | null) {
  let attempts = 0
  const outbox = new Outbox({
    registry,
    keyPair: alice,
    box: new LetterBox(await store(t), 'outbox', BOX_LIMITS),
    prekeyOf: () => toHex(mallory.publicKey),
    instances: () => [],
    deliver: async (_to, letter) => answer(++attempts, letter),
    now: Date.now,
    backoffs: [1]
  })
  t.teardown(() => outbox.close())
  return outbox
}

t.test('receipts that somebody else signed, or for something else, are passed by', async (t) => {
  let id = ''
  const of = (keyPair: KeyPair, extra: object = {}) =>
    signReceipt(registry, keyPair, {
      id,
      to: toHex(alice.publicKey),
      status: 'delivered',
      code: '',
      at: NOW,
      ...extra
    })
  const forged = [
    () => of(mallory),
    () => ({ ...of(mallory), from: toHex(bob.publicKey) }),
    () => of(bob, { id: '01'.repeat(32) }),
    () => of(bob, { status: 'queued' }),
    () => signReceipt(mallory.publicKey, bob, { ...of(bob) })
  ]
  const outbox = await outboxTo(t, (attempt) => (forged[attempt - 1] ?? (() => of(bob)))())
  const letter = await outbox.send({ key: toHex(bob.publicKey) }, 'hello')
  id = letter.id
  await letter.delivered
  t.equal(outbox.stats.attempts, forged.length + 1)
})

t.test(
  'a letter that its receiver cannot open is sealed once more, to its lasting key',
  async (t) => {
    const { bring } = await inboxOf(t)
    const letters: Buffer[] = []
    const answers: Receipt[] = []
    const real = new Outbox({
      registry,
      keyPair: alice,
      box: new LetterBox(await store(t), 'outbox', BOX_LIMITS),
      prekeyOf: () => toHex(boxKeyOf(mallory.publicKey)),
      instances: () => [],
      deliver: async (_to, letter) => {
        letters.push(letter)
        const answer = await bring(letter)
        answers.push(answer)
        return answer
      },
      now: () => NOW,
      backoffs: [1]
    })
    t.teardown(() => real.close())
    const letter = await real.send({ key: toHex(bob.publicKey) }, 'hello')
    await letter.delivered
    t.same(
      answers.map(({ code }) => code),
      ['UNREADABLE', '']
    )
    t.equal(letters.length, 2)
  }
)

t.test(
  'of a key that was put out only what mailboxes have kept is taken, with a mark, and no command',
  async (t) => {
    const revokedAt = NOW - 1000
    const told: Receipt[] = []
    const { inbox, handled, bring } = await inboxOf(t, {
      denialOf: (_, keptSince = Infinity) => (keptSince < revokedAt ? null : 'NOT_GRANTED'),
      isRevoked: () => true,
      tellByLetter: (receipt) => told.push(receipt)
    })
    const [before, later] = [write({ sentAt: NOW - 2000 }), write()]
    t.match(await bring(before), { status: 'refused', code: 'NOT_GRANTED' }, 'its own word')
    t.match(await inbox.receive(later, () => false, false), { code: 'NOT_GRANTED' })
    const call = write({ sentAt: NOW - 2000, type: CALL_LETTER })
    t.match(await inbox.receive(call, () => false, false), { code: 'NOT_GRANTED' })
    t.equal(await inbox.receive(before, () => false, false), null)
    await restWhile(() => handled.length === 0)
    t.match(handled, [{ body: 'hello', revoked: true }])
    await inbox.close()
    t.same(told, [], 'no letter goes to it')
  }
)
