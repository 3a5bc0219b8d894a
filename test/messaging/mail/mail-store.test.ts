import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { seal, unseal } from '../../../lib/core/sealed-box.js'
import { encodeBody } from '../../../lib/messaging/body.js'
import { LetterBox, type Slip } from '../../../lib/messaging/mail/letter-box.js'
import { MailStore } from '../../../lib/messaging/mail/mail-store.js'
import { Outbox } from '../../../lib/messaging/mail/outbox.js'
import type { OutboxSlip } from '../../../lib/messaging/mail/outbox-slip.js'
import { PREKEY_MS, Prekeys } from '../../../lib/messaging/mail/prekeys.js'
import { SeenIds } from '../../../lib/messaging/mail/seen-ids.js'

const LIMITS = { maxLetters: 3, maxBytes: 1000 }
const DAY = 24 * 60 * 60 * 1000
const NOW = Date.UTC(2030, 0, 1)
const id = (n: number) => n.toString(16).padStart(64, '0')

async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'hyperseaport-mail-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return join(dir, 'mail')
}

async function open(t: Test, dir: string): Promise<MailStore> {
  const store = new MailStore(dir)
  await store.open()
  t.teardown(() => store.close())
  return store
}

t.test('letters are there again, in order, after the store was closed', async (t) => {
  const dir = await folder(t)
  const store = await open(t, dir)
  const box = new LetterBox<Slip & { to: string }>(store, 'outbox', LIMITS)
  for (const n of [9, 3]) {
    await box.put(id(n), { order: box.nextOrder(NOW), to: `${n}` }, encodeBody({ n }))
  }
  const { stats } = box
  await store.close()
  const again = new LetterBox<Slip & { to: string }>(await open(t, dir), 'outbox', LIMITS)
  await again.load()
  t.same(
    again.list().map(([, { to }]) => to),
    ['9', '3']
  )
  t.same(await again.body(id(3)), encodeBody({ n: 3 }))
  t.same(again.stats, stats)
  await again.change(id(9), { order: 1, to: 'changed' })
  t.equal(again.slip(id(9))?.to, 'changed')
  await again.remove(id(9))
  t.equal(await again.body(id(9)), null)
  t.ok(again.nextOrder(0) > NOW, 'what comes next comes last')
})

t.test('a box holds so many letters and so many bytes', async (t) => {
  const box = new LetterBox(await open(t, await folder(t)), 'inbox', LIMITS)
  t.ok(box.hasRoom(1000))
  t.notOk(box.hasRoom(1001))
  for (const n of [1, 2, 3]) await box.put(id(n), { order: n }, encodeBody('x'))
  t.notOk(box.hasRoom(1))
  await box.remove(id(2))
  t.ok(box.hasRoom(1))
})

t.test('a letter that was changed keeps its place', async (t) => {
  const box = new LetterBox<Slip & { to: string }>(await open(t, await folder(t)), 'inbox', LIMITS)
  for (const n of [1, 2]) await box.put(id(n), { order: n, to: '' }, encodeBody(n))
  await box.change(id(1), { order: 1, to: 'changed' })
  t.same(
    box.list().map(([id]) => id),
    [id(1), id(2)]
  )
})

t.test('a letter whose change could not be written is there as it was', async (t) => {
  const store = await open(t, await folder(t))
  const box = new LetterBox<Slip & { to: string }>(store, 'outbox', LIMITS)
  await box.put(id(1), { order: 1, to: 'somebody' }, encodeBody('x'))
  const { stats } = box
  store.apply = () => Promise.reject(new Error('no space'))
  await t.rejects(box.change(id(1), { order: 1, to: 'somebody else' }), /no space/)
  t.equal(box.slip(id(1))?.to, 'somebody')
  t.same(await box.body(id(1)), encodeBody('x'))
  await t.rejects(box.put(id(2), { order: 2, to: '' }, encodeBody('y')), /no space/)
  t.notOk(box.has(id(2)))
  t.same(box.stats, stats)
})

t.test(
  'a writer is told what became of a letter, also where that cannot be written down',
  async (t) => {
    const store = await open(t, await folder(t))
    const box = new LetterBox<OutboxSlip>(store, 'outbox', LIMITS)
    let now = NOW
    const outbox = new Outbox({
      registry: KeyPair().publicKey,
      keyPair: KeyPair(),
      box,
      prekeyOf: () => null,
      instances: () => [],
      deliver: () => new Promise(() => {}),
      now: () => now
    })
    t.teardown(() => outbox.close())
    outbox.start()
    const letter = await outbox.send({ key: id(9) }, 'hello', { ttl: 1000 })
    store.apply = () => Promise.reject(new Error('no space'))
    const failure = once(outbox, 'failed')
    const receipt = once(outbox, 'receipt')
    now += 1001
    t.match(await failure, [{ message: 'no space' }])
    t.match(await receipt, [{ id: letter.id, status: 'expired' }])
    await t.rejects(letter.delivered, { code: 'EXPIRED' })
  }
)

t.test('one process has the mail of a key at a time', async (t) => {
  const dir = await folder(t)
  await open(t, dir)
  await t.rejects(new MailStore(dir).open(), { code: 'KEY_IN_USE' })
  await t.rejects(new MailStore('/proc/none/of/this').open(), { code: 'STORAGE_FAILED' })
})

t.test('what is closed cannot be read', async (t) => {
  const store = new MailStore(await folder(t))
  await store.open()
  await store.close()
  await t.rejects(async () => store.get('seen', id(1)), { code: 'CLOSED' })
})

t.test('what was written survives a process that is killed at once', async (t) => {
  const dir = await folder(t)
  const url = new URL('../../../lib/messaging/mail/mail-store.js', import.meta.url)
  const program = `
    const { MailStore } = await import(${JSON.stringify(url.href)})
    const store = new MailStore(${JSON.stringify(dir)})
    await store.open()
    await store.apply([
      { table: 'outbox', key: '01', value: Buffer.from('a') },
      { table: 'seen', key: '01', value: Buffer.from('b') }
    ])
    process.kill(process.pid, 'SIGKILL')`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'inherit', 'inherit']
  })
  const [, signal] = await once(child, 'exit')
  t.equal(signal, 'SIGKILL')
  const store = await open(t, dir)
  t.same(await store.get('outbox', '01'), Buffer.from('a'))
  t.same(await store.get('seen', '01'), Buffer.from('b'))
})

t.test(
  'an id that was seen is remembered with its receipt until its letter is of no use',
  async (t) => {
    const dir = await folder(t)
    const store = await open(t, dir)
    const seen = new SeenIds(store, 2)
    t.equal(await seen.get(id(1)), null)
    await store.apply(seen.adding(id(1), NOW + 1000))
    await store.apply(seen.adding(id(2), NOW + DAY))
    t.ok(seen.isFull)
    t.same(await seen.get(id(1)), Buffer.alloc(0), 'seen, and not answered yet')
    await store.apply(seen.answering(id(1), Buffer.from('receipt')))
    await store.close()
    const again = new SeenIds(await open(t, dir), 2)
    await again.load()
    t.equal(again.size, 2)
    t.same(await again.get(id(1)), Buffer.from('receipt'))
    t.same(await again.sweep(NOW + 2000), [], 'clocks may differ')
    t.same(await again.sweep(NOW + DAY / 2), [id(1)])
    t.equal(await again.get(id(1)), null)
    t.equal(again.size, 1)
  }
)

t.test(
  'prekeys are new every day, and old ones open letters as long as those may come',
  async (t) => {
    const dir = await folder(t)
    const keyPair = KeyPair()
    const store = await open(t, dir)
    const prekeys = new Prekeys(store, keyPair)
    await prekeys.load(NOW)
    const first = prekeys.current
    t.notOk(await prekeys.renew(NOW + PREKEY_MS - 1))
    t.ok(await prekeys.renew(NOW + PREKEY_MS))
    t.not(prekeys.current, first)
    const sealed = seal(Buffer.from('old'), Buffer.from(first, 'hex'))
    const opens = ({ all }: Prekeys) => all.some((pair) => unseal(sealed, pair) !== null)
    await store.close()
    const again = new Prekeys(await open(t, dir), keyPair)
    await again.load(NOW + 31 * DAY)
    t.ok(opens(again), 'after a restart, a month later')
    await again.renew(NOW + 32 * DAY)
    t.notOk(opens(again), 'and then no more')
  }
)

t.test(
  'what was forgotten leaves the disk, and so does its place in the order of expiry',
  async (t) => {
    const dir = await folder(t)
    const id = randomBytes(32)
    // Beside these there are logs of the last changes.
    const tables = () => readdirSync(dir).filter((name) => name.endsWith('.sst'))
    const isOnDisk = () => tables().some((name) => readFileSync(join(dir, name)).includes(id))
    const first = new MailStore(dir)
    await first.open()
    await new SeenIds(first).remember(toHex(id), NOW, randomBytes(100))
    await first.compact('seen')
    await first.close()
    t.ok(isOnDisk())
    const store = new MailStore(dir)
    await store.open()
    t.same(await new SeenIds(store).sweep(NOW + DAY), [toHex(id)])
    await store.close()
    t.notOk(isOnDisk())
  }
)
