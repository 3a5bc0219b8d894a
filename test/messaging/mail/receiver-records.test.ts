import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { SeaportError } from '../../../lib/core/errors.js'
import { crypto } from '../../../lib/core/holepunch.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { LastRecords } from '../../../lib/messaging/mail/last-records.js'
import { MailStore } from '../../../lib/messaging/mail/mail-store.js'
import type { Mailbox } from '../../../lib/messaging/mail/mailbox.js'
import { serveMailbox } from '../../../lib/messaging/mail/mailbox-stream.js'
import { NamedMailboxes } from '../../../lib/messaging/mail/named-mailboxes.js'
import { ReceiverRecords } from '../../../lib/messaging/mail/receiver-records.js'
import { Directory } from '../../../lib/registry/replica/directory.js'
import { Participant } from '../../../lib/registry/replica/participant.js'
import { type ServiceRecord, signRecord } from '../../../lib/registry/trust/record.js'
import { streamPair } from '../../link/pair.js'
import { restWhile } from '../../rest.js'
import { collect, mailHarbor, receiptsOf } from './harbor.js'

const registry = KeyPair().publicKey
const bob = KeyPair()
const bobKey = toHex(bob.publicKey)
const MIB = 1024 * 1024
const DAY = 24 * 60 * 60 * 1000

async function storeOf(t: Test): Promise<MailStore> {
  const folder = await mkdtemp(join(tmpdir(), 'hyperseaport-mail-'))
  const store = new MailStore(folder)
  await store.open()
  t.teardown(async () => {
    await store.close()
    await rm(folder, { recursive: true, force: true })
  })
  return store
}

function lastRecords(store: MailStore, max = 10, notices: SeaportError[] = []) {
  return new LastRecords(store, { registry, max, onnotice: (notice) => notices.push(notice) })
}

function recordOf(keyPair: KeyPair, seq: number, prekey = 'ab'.repeat(32)): ServiceRecord {
  return signRecord(registry, keyPair, {
    ...{ role: 'peer', version: '1.0.0', tags: [], status: 'passing', direct: [] },
    ...{ holder: 'cd'.repeat(32), seq, prekey }
  })
}

t.test(
  'mailboxes hand out the last record that they saw, and what its owner did not sign counts for nothing',
  async (t) => {
    const [old, fresh] = [lastRecords(await storeOf(t)), lastRecords(await storeOf(t))]
    const liar = { get: async () => ({ ...recordOf(KeyPair(), 3), key: bobKey }) }
    const kept = new Map<string, Pick<LastRecords, 'get'>>(
      Object.entries({ old, new: fresh, liar })
    )
    await old.add(recordOf(bob, 1))
    await fresh.add(recordOf(bob, 2, 'ef'.repeat(32)))
    await fresh.add(recordOf(bob, 1))
    const directory = new Directory()
    let asked = 0
    const records = new ReceiverRecords({
      ...{ registry, directory, last: null },
      open: async (name) => {
        asked++
        const [near, far] = await (await streamPair(t)).openBare()
        serveMailbox(far, '', {} as Mailbox, kept.get(name) as LastRecords)
        return near
      }
    })
    t.equal(await records.learn(bobKey, []), null)
    const learned = await records.learn(bobKey, ['liar', 'old', 'new'])
    t.match(learned, { seq: 2, prekey: 'ef'.repeat(32) })
    t.match(records.get(bobKey), { seq: 2 }, 'it is remembered')
    t.match(await records.learn(bobKey, ['old']), { seq: 2 })
    t.equal(asked, 3)
    const stranger = toHex(KeyPair().publicKey)
    t.equal(await records.learn(stranger, ['old']), null)
    t.equal(await records.learn(stranger, ['old']), null)
    t.equal(asked, 4, 'nor is it asked for again at once')
    directory.apply('log', [[bobKey, recordOf(bob, 7)]])
    directory.setLive('log', true)
    t.match(records.get(bobKey), { seq: 7 }, 'what the registry knows comes first')
  }
)

t.test('a mailbox keeps so many records, and forgets those that were signed first', async (t) => {
  const store = await storeOf(t)
  const last = lastRecords(store, 2)
  const owners = [KeyPair(), KeyPair(), KeyPair()]
  for (const [i, owner] of owners.entries()) await last.add(recordOf(owner, i + 1))
  const keys = owners.map(({ publicKey }) => toHex(publicKey))
  const kept = async (records: LastRecords) =>
    Promise.all(keys.map(async (key) => (await records.get(key)) !== null))
  t.same(await kept(last), [false, true, true])
  const again = lastRecords(store, 2)
  await again.load()
  t.equal(again.size, 2)
  await again.add(recordOf(owners[0] as KeyPair, 9))
  t.same(await kept(again), [true, false, true])
})

t.test(
  'records on disk are checked as if a stranger had written them: bad ones are dropped and told, and do no harm',
  async (t) => {
    const store = await storeOf(t)
    const owners = Array.from({ length: 5 }, () => KeyPair())
    const [good, cut, other, forged, ahead] = owners as [
      KeyPair,
      KeyPair,
      KeyPair,
      KeyPair,
      KeyPair
    ]
    const put = (owner: KeyPair, json: string) =>
      store.apply([{ table: 'records', key: toHex(owner.publicKey), value: Buffer.from(json) }])
    await put(good, JSON.stringify(recordOf(good, 1)))
    await put(cut, JSON.stringify(recordOf(cut, 1)).slice(0, 100))
    await put(other, JSON.stringify(recordOf(good, 1)))
    await put(forged, JSON.stringify({ ...recordOf(forged, 1), prekey: '01'.repeat(32) }))
    await put(ahead, JSON.stringify({ ...recordOf(ahead, 1), seq: 1000 }))
    const notices: SeaportError[] = []
    const last = lastRecords(store, 10, notices)
    await last.load()
    t.match(notices, [{ code: 'STORAGE_FAILED', text: /^2 of the last records/ }])
    t.equal(last.size, 3)
    t.match(await last.get(toHex(good.publicKey)), { seq: 1 })
    t.equal(await last.get(toHex(forged.publicKey)), null)
    await last.add(recordOf(ahead, 2))
    t.match(
      await last.get(toHex(ahead.publicKey)),
      { seq: 2 },
      'none keeps its owner’s next one out'
    )
    t.equal(notices.length, 3)
    const again = lastRecords(store, 10, notices)
    await again.load()
    t.equal(again.size, 2)
    t.equal(notices.length, 3, 'they are told once')
  }
)

t.test('a mailbox that is named stays so until it was away for days', async (t) => {
  const store = await storeOf(t)
  const named = new NamedMailboxes(store)
  const [one, two, three, four] = ['01', '02', '03', '04'].map((byte) => byte.repeat(32)) as [
    string,
    string,
    string,
    string
  ]
  t.ok(await named.renew([one, two], 3, 0))
  t.notOk(await named.renew([two, one], 3, DAY))
  t.ok(await named.renew([four, three, two], 3, DAY))
  t.same(named.keys, [one, two, four], 'nobody who comes later takes a place that is taken')
  const again = new NamedMailboxes(store)
  await again.load()
  t.same(again.keys.sort(), [one, two, four])
  t.ok(await again.renew([four, three, two], 3, 5 * DAY))
  t.same(again.keys.sort(), [two, three, four])
})

t.test(
  'nobody takes over letters by making keys: mailboxes that the record of their receiver names come first',
  async (t) => {
    const { peer, registry, testbed } = await mailHarbor(t)
    const first = await peer({ store: MIB })
    const reader = await peer({ handover: 10 })
    const { registryPublicKey } = registry
    const participant = Participant.acquire({
      ...{ registry: Buffer.from(registryPublicKey, 'hex'), bootstrap: testbed.bootstrap },
      ...{ dir: await testbed.dir(), verb: 'test' }
    })
    t.teardown(() => participant.release())
    await participant.ready()
    const { directory } = participant.replica
    const named = () => {
      const entry = directory.entry(reader.key)
      return entry && 'mailboxes' in entry && entry.mailboxes
    }
    await restWhile(() => !named())
    t.same(named(), [first.key])
    await reader.destroy()
    const weight = (key: string) => toHex(crypto.hash(Buffer.from(reader.key + key, 'hex')))
    const ground: KeyPair[] = []
    while (ground.length < 3) {
      const keyPair = KeyPair()
      if (weight(toHex(keyPair.publicKey)) > weight(first.key)) ground.push(keyPair)
    }
    for (const keyPair of ground) await peer({ store: MIB, keyPair })
    const writer = await peer()
    await restWhile(() => writer.peers().length < 4)
    const receipts = receiptsOf(await writer.send(reader.key, 'x'))
    await restWhile(() => receipts.length < 3)
    t.equal(receipts[0]?.by, first.key)
  }
)

t.test(
  'a letter from a mailbox that its receiver cannot open is sealed once more, though writer and receiver never meet',
  async (t) => {
    const { peer, options } = await mailHarbor(t)
    const [reader, author] = [KeyPair(), KeyPair()]
    const keeper = await peer({ store: MIB })
    const kept = () => keeper.getStats().mail.mailbox
    const { dir } = await options()
    await (await peer({ keyPair: reader })).destroy()
    const writer = await peer({ keyPair: author, dir })
    await restWhile(() => writer.peers().length < 1)
    const { id } = await writer.send(reader.publicKey, 'x')
    await restWhile(() => kept()?.letters !== 1)
    await writer.destroy()
    // In another folder it has other prekeys. What it says of the letter takes the letter's place.
    const lost = await options()
    const once = await peer({ keyPair: reader, dir: lost.dir })
    await restWhile(() => kept()?.given !== 1 || kept()?.letters !== 1)
    await once.destroy()
    const again = await peer({ keyPair: author, dir })
    await restWhile(() => kept()?.given !== 2 || kept()?.letters !== 1)
    t.match(await again.outbox(), [{ id }])
    await again.destroy()
    const { count } = collect(await peer({ keyPair: reader, dir: lost.dir }))
    t.match(await count(1), [{ id, body: 'x' }])
  }
)
